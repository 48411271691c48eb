import styles from "./avatar.module.scss";

/** Two letters that stand for a person: of the name, else of the address. */
export function initials(name: string, email: string): string {
    const words = (name.trim() || email.split("@")[0] || "?").split(/[\s._-]+/).filter(Boolean);
    const letters = words.length > 1 ? [words[0], words[words.length - 1]].map((word) => [...(word ?? "")][0] ?? "") : [...(words[0] ?? "?")].slice(0, 2);
    return letters.join("").toUpperCase();
}

export function Avatar({ name = "", email, size = "small" }: { name?: string; email: string; size?: "small" | "large" }) {
    return (
        <span className={[styles.avatar, size === "large" && styles.large].filter(Boolean).join(" ")} aria-hidden>
            {initials(name, email)}
        </span>
    );
}

/** Who has access, as overlapping circles; the third and more are a number. */
export function Avatars({ emails, label }: { emails: string[]; label: string }) {
    return (
        <span className={styles.stack} role="img" aria-label={label} title={emails.join("\n")}>
            {emails.slice(0, 2).map((email) => (
                <Avatar key={email} email={email} />
            ))}
            {emails.length > 2 && (
                <span className={styles.avatar} aria-hidden>
                    +{emails.length - 2}
                </span>
            )}
        </span>
    );
}
