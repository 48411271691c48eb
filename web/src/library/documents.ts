import { type InfiniteData, infiniteQueryOptions, type QueryClient } from "@tanstack/react-query";
import type { Database } from "../client/database.types";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { behind, type Condition, compare, nameOf, orderOf, type Place, placeOf, type Sort, sortNamed } from "./sorting";

export type DocumentRow = Database["public"]["Tables"]["documents"]["Row"];
export type Filter = "all" | "ready" | "progress" | "failed";
export const FILTERS: readonly Filter[] = ["all", "ready", "progress", "failed"];

export interface View {
    filter: Filter;
    search: string;
    sort: Sort;
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

/** One page of a view, from a place on (keyset: no page is skipped or shown twice when rows come or go). */
export async function readPage(owner: string, view: View, from: Place | null, signal?: AbortSignal): Promise<Page> {
    const size = from ? PAGE : FIRST;
    const rows = view.search ? await searchRows(owner, view, from, size, signal) : await listRows(owner, view, from, size, signal);
    const last = rows[rows.length - 1];
    return { rows, next: rows.length === size && last ? placeOf(last) : null };
}

/** docs/lists.md tells why it is asked for like this. */
async function listRows(owner: string, view: View, from: Place | null, size: number, signal?: AbortSignal): Promise<DocumentRow[]> {
    const rows: DocumentRow[] = [];
    for (const part of from ? behind(view.sort, from) : [{}]) {
        if (rows.length < size) rows.push(...(await listPart(owner, view, part, size - rows.length, signal)));
    }
    return rows;
}

async function listPart(owner: string, view: View, part: Condition, size: number, signal?: AbortSignal): Promise<DocumentRow[]> {
    let query = supabase().from("documents").select("*").eq("owner_id", owner).is("deleted_at", null);
    const statuses = STATUSES[view.filter];
    if (statuses) query = query.in("status", [...statuses]);
    if (view.search) query = query.ilike("name", `%${view.search.replace(/[\\%_]/g, "\\$&")}%`);
    if (part.status) {
        const [operator = "eq", status] = part.status.split(".");
        query = query.filter("status", operator, status);
    }
    if (part.column && part.operator && part.beyond) query = query.filter(part.column, part.operator, part.value).or(part.beyond);
    for (const [column, ascending] of orderOf(view.sort)) query = query.order(column, { ascending });
    query = query.limit(size);
    return unwrap(await (signal ? query.abortSignal(signal) : query));
}

async function searchRows(owner: string, view: View, from: Place | null, size: number, signal?: AbortSignal): Promise<DocumentRow[]> {
    const statuses = STATUSES[view.filter];
    const query = supabase().rpc("search_documents", {
        query: view.search,
        sort: view.sort.by,
        descending: view.sort.descending,
        page: size,
        ...(from && { after_id: from.id }),
        ...(statuses && { statuses: [...statuses] }),
    });
    try {
        return unwrap(await (signal ? query.abortSignal(signal) : query));
    } catch (thrown) {
        // the last row of the page before was removed for good meanwhile; a list knows its place without it
        if (from && asFault(thrown).code === "place_gone") return listRows(owner, view, from, size, signal);
        throw thrown;
    }
}

/** The pages of a view as the cache keeps them. */
export function listOf(person: string, view: View) {
    return infiniteQueryOptions({
        queryKey: keys.list(person, view.filter, view.search, nameOf(view.sort)),
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

/** Whether it is still on its way. */
export const isBusy = (row: DocumentRow): boolean => row.deleted_at === null && (STATUSES.progress?.includes(row.status) ?? false);

export function belongs(row: DocumentRow, view: View): boolean {
    if (row.deleted_at !== null) return false;
    const statuses = STATUSES[view.filter];
    if (statuses && !statuses.includes(row.status)) return false;
    return plain(row.name).includes(plain(view.search));
}

// what is typed on a Mac is often not in the form that names have
const plain = (text: string) => text.normalize("NFC").toLowerCase();

/** Puts changed rows into a list: in place, away, or in where they belong among the pages that are loaded. */
export function merge(pages: Pages, changes: readonly DocumentRow[], view: View): Pages {
    const order = compare(view.sort);
    const changed = new Map(changes.map((row) => [row.id, row]));
    let touched = false;
    const merged = pages.pages.map((page) => {
        let own = false;
        const rows: DocumentRow[] = [];
        for (const row of page.rows) {
            const next = changed.get(row.id);
            if (!next) {
                rows.push(row);
            } else if (belongs(next, view) && order(row, next) === 0) {
                changed.delete(row.id);
                const alike = same(row, next);
                rows.push(alike ? row : next);
                own ||= !alike;
            } else own = true;
        }
        touched ||= own;
        return own ? { ...page, rows } : page;
    });
    for (const row of changed.values()) {
        if (!belongs(row, view)) continue;
        const at = merged.findIndex((page) => page.next === null || order(row, page.next) <= 0);
        const page = merged[at];
        if (!page) continue; // further down than what is loaded
        const index = page.rows.findIndex((other) => order(row, other) < 0);
        merged[at] = { ...page, rows: page.rows.toSpliced(index < 0 ? page.rows.length : index, 0, row) };
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
        const [, , filter, search, sort] = key as [string, string, Filter, string, string];
        const merged = merge(pages, changes, { filter, search, sort: sortNamed(sort) });
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
