/** The addresses in what somebody typed or pasted; `wrong` holds what is none. */
export function splitAddresses(text: string): { good: string[]; wrong: string[] } {
    const good: string[] = [];
    const wrong: string[] = [];
    for (const raw of text.split(/[\s,;]+/)) {
        const one = raw.replace(/^<|>$/g, "").toLowerCase();
        if (one === "") continue;
        const list = /^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(one) ? good : wrong;
        if (!list.includes(one)) list.push(one);
    }
    return { good, wrong };
}

export type Expiry = "never" | "1" | "7" | "30" | "date";

/** When a share ends: so many days from now, or at the end of a day; null: when it is removed. */
export function endOf(expiry: Expiry, date: string, now = Date.now()): string | null {
    if (expiry === "never") return null;
    if (expiry === "date") return new Date(`${date}T23:59:59`).toISOString();
    return new Date(now + Number(expiry) * 86_400_000).toISOString();
}
