import { type InfiniteData, infiniteQueryOptions, type QueryClient } from "@tanstack/react-query";
import type { Database } from "../client/database.types";
import { unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";

export type DocumentRow = Database["public"]["Tables"]["documents"]["Row"];
export type Filter = "all" | "ready" | "progress" | "failed";
export const FILTERS: readonly Filter[] = ["all", "ready", "progress", "failed"];

export interface View {
    filter: Filter;
    search: string;
}

export interface Place {
    created_at: string;
    id: string;
}

export interface Page {
    rows: DocumentRow[];
    next: Place | null;
}

export type Pages = InfiniteData<Page, Place | null>;

// the first answer fills the screen and is soon here, later ones are asked for long before they are seen
const FIRST = 50;
const PAGE = 100;
const STATUSES: Record<Filter, readonly string[] | null> = {
    all: null,
    ready: ["ready"],
    progress: ["uploading", "queued", "processing"],
    failed: ["failed"],
};

/** One page of the library, the newest first, from a place on (keyset: no page is skipped or shown twice when rows come or go). */
export async function readPage(owner: string, view: View, from: Place | null, signal?: AbortSignal): Promise<Page> {
    const size = from ? PAGE : FIRST;
    let query = supabase().from("documents").select("*").eq("owner_id", owner).is("deleted_at", null);
    const statuses = STATUSES[view.filter];
    if (statuses) query = query.in("status", [...statuses]);
    if (view.search) query = query.ilike("name", `%${view.search.replace(/[\\%_]/g, "\\$&")}%`);
    if (from) query = query.or(`created_at.lt.${from.created_at},and(created_at.eq.${from.created_at},id.lt.${from.id})`);
    query = query.order("created_at", { ascending: false }).order("id", { ascending: false }).limit(size);
    const rows = unwrap(await (signal ? query.abortSignal(signal) : query));
    const last = rows[rows.length - 1];
    return { rows, next: rows.length === size && last ? { created_at: last.created_at, id: last.id } : null };
}

/** The pages of a view as the cache keeps them. */
export function listOf(person: string, view: View) {
    return infiniteQueryOptions({
        queryKey: keys.list(person, view.filter, view.search),
        queryFn: ({ pageParam, signal }) => readPage(person, view, pageParam, signal),
        initialPageParam: null as Place | null,
        getNextPageParam: (page) => page.next,
    });
}

/** What has changed since a moment, deleted documents included: the one small question of a heartbeat. */
export async function readChanges(owner: string, since: string): Promise<DocumentRow[]> {
    return unwrap(
        await supabase().from("documents").select("*").eq("owner_id", owner).gte("updated_at", since).order("updated_at", { ascending: false }).limit(500),
    );
}

export interface Counts {
    documents: number;
    inProgress: number;
    failed: number;
    trash: number;
    shared: number;
}

export async function readCounts(): Promise<Counts> {
    const row = unwrap(await supabase().from("library_counts").select("*").maybeSingle());
    return {
        documents: row.documents ?? 0,
        inProgress: row.in_progress ?? 0,
        failed: row.failed ?? 0,
        trash: row.trash ?? 0,
        shared: row.shared_with_me ?? 0,
    };
}

export function belongs(row: DocumentRow, view: View): boolean {
    if (row.deleted_at !== null) return false;
    const statuses = STATUSES[view.filter];
    if (statuses && !statuses.includes(row.status)) return false;
    return row.name.toLowerCase().includes(view.search.toLowerCase());
}

const before = (a: Place, b: Place) => a.created_at > b.created_at || (a.created_at === b.created_at && a.id > b.id);

/** Puts changed rows into a list: in place, away, or in where they belong among the pages that are loaded. */
export function merge(pages: Pages, changes: readonly DocumentRow[], view: View): Pages {
    const changed = new Map(changes.map((row) => [row.id, row]));
    const placed = new Set<string>();
    let touched = false;
    const merged = pages.pages.map((page) => {
        let own = false;
        const rows: DocumentRow[] = [];
        for (const row of page.rows) {
            const next = changed.get(row.id);
            if (!next) {
                rows.push(row);
                continue;
            }
            placed.add(row.id);
            if (!belongs(next, view)) own = true;
            else if (same(row, next)) rows.push(row);
            else {
                rows.push(next);
                own = true;
            }
        }
        touched ||= own;
        return own ? { ...page, rows } : page;
    });
    for (const row of changes) {
        if (placed.has(row.id) || !belongs(row, view)) continue;
        const at = merged.findIndex((page) => page.next === null || !before(page.next, row));
        const page = merged[at];
        if (!page) continue; // further down than what is loaded
        const index = page.rows.findIndex((other) => before(row, other));
        const rows = [...page.rows];
        rows.splice(index < 0 ? rows.length : index, 0, row);
        merged[at] = { ...page, rows };
        touched = true;
    }
    return touched ? { ...pages, pages: merged } : pages;
}

function same(a: DocumentRow, b: DocumentRow): boolean {
    return (Object.keys(b) as (keyof DocumentRow)[]).every((name) => a[name] === b[name]);
}

/** Puts rows into every list of the cache. */
export function put(cache: QueryClient, person: string, changes: readonly DocumentRow[]): boolean {
    let touched = false;
    for (const [key, pages] of cache.getQueriesData<Pages>({ queryKey: keys.lists(person) })) {
        if (!pages) continue;
        const [, , filter, search] = key as [string, string, Filter, string];
        const merged = merge(pages, changes, { filter, search });
        if (merged !== pages) {
            cache.setQueryData(key, merged);
            touched = true;
        }
    }
    return touched;
}

/** The row as any list of the cache has it. */
export function find(cache: QueryClient, person: string, id: string): DocumentRow | undefined {
    for (const [, pages] of cache.getQueriesData<Pages>({ queryKey: keys.lists(person) })) {
        for (const page of pages?.pages ?? []) {
            const row = page.rows.find((one) => one.id === id);
            if (row) return row;
        }
    }
    return undefined;
}
