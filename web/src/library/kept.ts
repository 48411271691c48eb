import { cache } from "../client/cache";
import { keys } from "../client/keys";
import type { Counts, Page, Pages } from "./documents";
import { nameOf, sorting } from "./sorting";

/** The first page of the library, kept for the next visit and for times without a network. */
interface Kept {
    /** The order that it was in. */
    sort: string;
    page: Page;
    counts: Counts | null;
}

const placeOf = (person: string) => `instashare.library.${person}`;

export function keepLibrary(person: string): void {
    const sort = nameOf(sorting.get());
    const page = cache.getQueryData<Pages>(keys.list(person, "all", "", sort))?.pages[0];
    if (!page) return;
    const kept: Kept = { sort, page, counts: cache.getQueryData<Counts>(keys.counts(person)) ?? null };
    try {
        localStorage.setItem(placeOf(person), JSON.stringify(kept));
    } catch {
        // no room: the next visit begins with an empty screen, that is all
    }
}

/** Fills the cache from the last visit; what it holds counts as old and is asked for at once. */
export function recallLibrary(person: string): void {
    try {
        const text = localStorage.getItem(placeOf(person));
        if (!text) return;
        const kept = JSON.parse(text) as Kept;
        const key = keys.list(person, "all", "", kept.sort);
        if (cache.getQueryData(key)) return;
        cache.setQueryData<Pages>(key, { pages: [kept.page], pageParams: [null] }, { updatedAt: 1 });
        if (kept.counts) cache.setQueryData(keys.counts(person), kept.counts, { updatedAt: 1 });
    } catch {
        localStorage.removeItem(placeOf(person));
    }
}

export function forgetLibrary(person: string): void {
    localStorage.removeItem(placeOf(person));
}
