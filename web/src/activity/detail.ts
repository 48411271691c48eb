const NAMED = /^(?:Added|Uploaded|Restored|Retried|Removed|Moved|Download of) (.*?)(?: for good| to the trash| prepared)?$/s;

/**
 * What an event was about, in no language: names and addresses. The log's own sentences are English; they serve where
 * nothing else is known.
 */
export function detail(event: string, description: string, documentName: string | null, roles: Record<string, string> = {}): string {
    // their titles say it all
    if (event === "signed_up" || event === "account_closed") return "";
    const email = /[^\s@]+@[^\s@]+/.exec(description)?.[0];
    if (event === "renamed") {
        const [, before, after] = /^Renamed (.*) to (.*)$/s.exec(description) ?? [];
        if (before && after) return `${before} → ${after}`;
    }
    if (event.startsWith("role_")) {
        const role = /the role (\S+)/.exec(description)?.[1];
        if (role) return [roles[role] ?? role, email].filter(Boolean).join(" · ");
    }
    const job = /^(?:Retried|Cancelled) job (\d+)/.exec(description)?.[1];
    if (job) return `#${job}`;
    if (event.startsWith("share")) return [documentName, email].filter(Boolean).join(" · ") || description;
    if (event === "failed") return [documentName, description].filter(Boolean).join(" · ");
    return NAMED.exec(description)?.[1] ?? documentName ?? description;
}
