/** One Web Lock an upload, held from its beginning to its end: two tabs never send the same one. */
const held = new Map<string, () => void>();
const awaited = new Map<string, AbortController>();

const nameOf = (key: string) => `instashare.upload.${key}`;

function keep(key: string): Promise<void> {
    return new Promise((release) => {
        held.set(key, release);
    });
}

/** Takes the lock if it is free; true as well where the browser has no locks (a page that is not served safely). */
export async function hold(key: string): Promise<boolean> {
    if (held.has(key) || !navigator.locks) return true;
    return new Promise((answer) => {
        navigator.locks
            .request(nameOf(key), { ifAvailable: true }, (lock) => {
                answer(lock !== null);
                return lock ? keep(key) : undefined;
            })
            .catch(() => answer(true));
    });
}

/** Waits until the tab that has the lock ends its upload or is closed, then holds it and calls. */
export function awaitTurn(key: string, then: () => void): void {
    if (awaited.has(key) || !navigator.locks) return;
    const waiting = new AbortController();
    awaited.set(key, waiting);
    navigator.locks
        .request(nameOf(key), { signal: waiting.signal }, () => {
            awaited.delete(key);
            const kept = keep(key);
            then();
            return kept;
        })
        .catch(() => awaited.delete(key));
}

export function release(key: string): void {
    awaited.get(key)?.abort();
    awaited.delete(key);
    held.get(key)?.();
    held.delete(key);
}

export function releaseAll(): void {
    for (const key of [...held.keys(), ...awaited.keys()]) release(key);
}
