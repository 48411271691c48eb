import { type Behind, behindRow } from "../client/keyset";
import { createStore } from "../client/store";
import type { DocumentRow } from "./documents";

export type SortBy = "date" | "name" | "size" | "status";
export const SORTS: readonly SortBy[] = ["name", "status", "size", "date"];

export interface Sort {
    by: SortBy;
    descending: boolean;
}

/** What tells where a row stands, whatever the order; the last one of a page is where the next page begins. */
export type Place = Pick<DocumentRow, "id" | "created_at" | "name" | "size_bytes" | "status">;

export const placeOf = ({ id, created_at, name, size_bytes, status }: Place): Place => ({ id, created_at, name, size_bytes, status });

const NEWEST: Sort = { by: "date", descending: true };
const KEPT = "instashare.sort";

/** How the library is sorted on this device. */
export const sorting = createStore<Sort>(recall());

function recall(): Sort {
    const [by, direction] = (localStorage.getItem(KEPT) ?? "").split(".");
    return SORTS.includes(by as SortBy) ? { by: by as SortBy, descending: direction === "desc" } : NEWEST;
}

export function setSort(next: Sort): void {
    sorting.set(next);
    localStorage.setItem(KEPT, nameOf(next));
}

export const nameOf = (sort: Sort): string => `${sort.by}.${sort.descending ? "desc" : "asc"}`;

export function sortNamed(name: string): Sort {
    const [by, direction] = name.split(".");
    return { by: by as SortBy, descending: direction === "desc" };
}

/** The order that a column begins with, or the other one where it is sorted by already. */
export function turn(now: Sort, by: SortBy): Sort {
    return { by, descending: now.by === by ? !now.descending : by === "date" || by === "size" };
}

// the database's collation of names (und-u-kn-true): report 2 before report 10, in every language
const names = new Intl.Collator("und", { numeric: true });

const plain = (a: string | number, b: string | number) => (a < b ? -1 : a > b ? 1 : 0);
const COMPARE: Record<SortBy, (a: Place, b: Place) => number> = {
    date: (a, b) => plain(a.created_at, b.created_at),
    name: (a, b) => names.compare(a.name, b.name) || plain(a.name, b.name),
    size: (a, b) => plain(a.size_bytes, b.size_bytes),
    status: (a, b) => plain(a.status, b.status),
};

/** The order of rows as the server has it: negative where `a` stands before `b`, 0 only for one and the same place. */
export function compare(sort: Sort): (a: Place, b: Place) => number {
    const by = COMPARE[sort.by];
    const sign = sort.descending ? -1 : 1;
    // within one status the newest first, whichever status comes first
    if (sort.by === "status") return (a, b) => sign * by(a, b) || -COMPARE.date(a, b) || -plain(a.id, b.id);
    return (a, b) => sign * (by(a, b) || plain(a.id, b.id));
}

const COLUMNS = { date: "created_at", name: "name", size: "size_bytes", status: "status" } as const;

/** The order of a list as REST is asked for it. */
export function orderOf(sort: Sort): [column: string, ascending: boolean][] {
    const first: [string, boolean] = [COLUMNS[sort.by], !sort.descending];
    if (sort.by === "status") return [first, ["created_at", false], ["id", false]];
    return [first, ["id", !sort.descending]];
}

/**
 * The rows behind a place, for REST, in the parts that each begin in the index: within a status and, where that is through,
 * the statuses behind it; one part in every other order.
 */
export function behind(sort: Sort, place: Place): Condition[] {
    const further = sort.descending ? "lt" : "gt";
    if (sort.by !== "status") return [behindRow(COLUMNS[sort.by], place[COLUMNS[sort.by]], place.id, sort.descending)];
    return [{ ...behindRow("created_at", place.created_at, place.id, true), status: `eq.${place.status}` }, { status: `${further}.${place.status}` }];
}

export interface Condition extends Partial<Behind> {
    /** An operator and a status. */
    status?: string;
}
