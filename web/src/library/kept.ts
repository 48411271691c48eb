import { cache } from "../client/cache";
import { keys } from "../client/keys";
import type { Counts, Page, Pages } from "./documents";

/** The first page of the library, kept for the next visit and for times without a network. */
interface Kept {
    page: Page;
    counts: Counts | null;
}

const nameOf = (person: string) => `instashare.library.${person}`;

export function keepLibrary(person: string): void {
    const page = cache.getQueryData<Pages>(keys.list(person, "all", ""))?.pages[0];
    if (!page) return;
    const kept: Kept = { page, counts: cache.getQueryData<Counts>(keys.counts(person)) ?? null };
    try {
        localStorage.setItem(nameOf(person), JSON.stringify(kept));
    } catch {
        // no room: the next visit begins with an empty screen, that is all
    }
}

/** Fills the cache from the last visit; what it holds counts as old and is asked for at once. */
export function recallLibrary(person: string): void {
    try {
        const text = localStorage.getItem(nameOf(person));
        if (!text) return;
        const kept = JSON.parse(text) as Kept;
        if (cache.getQueryData(keys.list(person, "all", ""))) return;
        cache.setQueryData<Pages>(keys.list(person, "all", ""), { pages: [kept.page], pageParams: [null] }, { updatedAt: 1 });
        if (kept.counts) cache.setQueryData(keys.counts(person), kept.counts, { updatedAt: 1 });
    } catch {
        localStorage.removeItem(nameOf(person));
    }
}

export function forgetLibrary(person: string): void {
    localStorage.removeItem(nameOf(person));
}
