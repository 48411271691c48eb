// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { belongs, type DocumentRow, merge, type Pages, type View } from "../src/library/documents";
import { stateOf } from "../src/library/row_state";
import { behind, compare, orderOf, placeOf, type Sort, sortNamed, turn } from "../src/library/sorting";
import type { Upload } from "../src/uploads/uploads";

const NEWEST: Sort = { by: "date", descending: true };
const all: View = { filter: "all", search: "", sort: NEWEST };

function row(id: string, minute: number, more: Partial<DocumentRow> = {}): DocumentRow {
    const at = new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
    return {
        id,
        owner_id: "me",
        name: `${id}.pdf`,
        name_revision: 1,
        size_bytes: 1,
        mime_type: "application/pdf",
        status: "ready",
        progress: 0,
        error: null,
        archive_path: null,
        archive_size_bytes: null,
        archive_name_revision: null,
        object_version: "v",
        purge_started_at: null,
        created_at: at,
        updated_at: at,
        deleted_at: null,
        ...more,
    };
}

const ids = (pages: Pages) => pages.pages.map((page) => page.rows.map((one) => one.id).join(""));
const two: Pages = {
    pages: [
        { rows: [row("d", 40), row("c", 30)], next: placeOf(row("c", 30)) },
        { rows: [row("b", 20)], next: placeOf(row("b", 20)) },
    ],
    pageParams: [null, null],
};

describe("what a heartbeat brings", () => {
    it("leaves the list alone where nothing changed", () => {
        expect(merge(two, [row("c", 30)], all)).toBe(two);
    });
    it("changes a row in place and keeps the other pages as they are", () => {
        const merged = merge(two, [row("c", 30, { name: "other.pdf" })], all);
        expect(merged.pages[0]?.rows[1]?.name).toBe("other.pdf");
        expect(merged.pages[1]).toBe(two.pages[1]);
    });
    it("takes a deleted row away and puts a restored one where it belongs", () => {
        const gone = merge(two, [row("c", 30, { deleted_at: "now" })], all);
        expect(ids(gone)).toEqual(["d", "b"]);
        expect(ids(merge(gone, [row("c", 30)], all))).toEqual(["dc", "b"]);
    });
    it("puts a new row on top", () => {
        expect(ids(merge(two, [row("e", 50)], all))).toEqual(["edc", "b"]);
    });
    it("does not show what lies below the pages that are loaded", () => {
        expect(merge(two, [row("a", 10)], all)).toBe(two);
    });
    it("appends to the last page where the list is complete", () => {
        const complete = { ...two, pages: two.pages.map((page, at) => (at === 1 ? { ...page, next: null } : page)) };
        expect(ids(merge(complete, [row("a", 10)], all))).toEqual(["dc", "ba"]);
    });
    it("orders rows of one moment by their ids, like the server", () => {
        expect(ids(merge(two, [row("cc", 30)], all))).toEqual(["dccc", "b"]);
    });
});

describe("other orders", () => {
    const byName: View = { ...all, sort: { by: "name", descending: false } };
    const named = (id: string, name: string, more: Partial<DocumentRow> = {}) => row(id, 1, { name, ...more });
    const pages: Pages = {
        pages: [
            { rows: [named("a", "alpha"), named("b", "beta")], next: placeOf(named("b", "beta")) },
            { rows: [named("d", "delta"), named("e", "epsilon")], next: placeOf(named("e", "epsilon")) },
        ],
        pageParams: [null, null],
    };
    it("a renamed document goes to where it belongs now", () => {
        expect(ids(merge(pages, [named("a", "charlie")], byName))).toEqual(["b", "ade"]);
        expect(ids(merge(pages, [named("e", "aardvark")], byName))).toEqual(["eab", "d"]);
    });
    it("it leaves the list where that is further down than what is loaded", () => {
        expect(ids(merge(pages, [named("a", "zulu")], byName))).toEqual(["b", "de"]);
    });
    it("one that stays where it is changes in place", () => {
        const merged = merge(pages, [named("d", "delta", { status: "failed" })], byName);
        expect(ids(merged)).toEqual(["ab", "de"]);
        expect(merged.pages[1]?.rows[0]?.status).toBe("failed");
        expect(merged.pages[0]).toBe(pages.pages[0]);
    });
    it.each([
        ["name.asc", ["report 2.pdf", "report 10.pdf", "Zebra.pdf"]],
        ["name.desc", ["Zebra.pdf", "report 10.pdf", "report 2.pdf"]],
    ])("%s is the natural one", (sort, expected) => {
        const rows = ["Zebra.pdf", "report 10.pdf", "report 2.pdf"].map((name, at) => named(String(at), name));
        expect(rows.sort(compare(sortNamed(sort))).map((one) => one.name)).toEqual(expected);
    });
    it("within one status the newest come first, whichever status does", () => {
        const rows = [row("old", 1), row("new", 2), row("bad", 3, { status: "failed" })];
        const sorted = (descending: boolean) => rows.toSorted(compare({ by: "status", descending })).map((one) => one.id);
        expect(sorted(false)).toEqual(["bad", "new", "old"]);
        expect(sorted(true)).toEqual(["new", "old", "bad"]);
    });
    it("a column begins with the order that is wanted most, and turns", () => {
        expect(turn(NEWEST, "name")).toEqual({ by: "name", descending: false });
        expect(turn(NEWEST, "size")).toEqual({ by: "size", descending: true });
        expect(turn(NEWEST, "date")).toEqual({ by: "date", descending: false });
    });
});

describe("a page begins where the one before ended", () => {
    const place = placeOf(row("b7", 20, { name: 'a "b", c\\d', size_bytes: 42, status: "ready" }));
    it("in the index first, then behind what was shown", () => {
        expect(behind(NEWEST, place)).toEqual([
            { column: "created_at", operator: "lte", value: place.created_at, beyond: `created_at.lt."${place.created_at}",id.lt.b7` },
        ]);
        expect(behind({ by: "size", descending: false }, place)).toMatchObject([{ operator: "gte", beyond: 'size_bytes.gt."42",id.gt.b7' }]);
    });
    it("names are quoted, with what would end the quotation", () => {
        expect(behind({ by: "name", descending: false }, place)).toMatchObject([{ value: 'a "b", c\\d', beyond: 'name.gt."a \\"b\\", c\\\\d",id.gt.b7' }]);
    });
    it("by status the newest go on within the status, then the statuses behind it", () => {
        const newer = { column: "created_at", operator: "lte", value: place.created_at, beyond: `created_at.lt."${place.created_at}",id.lt.b7` };
        expect(behind({ by: "status", descending: false }, place)).toEqual([{ ...newer, status: "eq.ready" }, { status: "gt.ready" }]);
        expect(behind({ by: "status", descending: true }, place)).toEqual([{ ...newer, status: "eq.ready" }, { status: "lt.ready" }]);
        expect(orderOf({ by: "status", descending: true })).toEqual([
            ["status", false],
            ["created_at", false],
            ["id", false],
        ]);
    });
});

describe("filters", () => {
    it.each([
        ["ready", "all", true],
        ["queued", "progress", true],
        ["ready", "progress", false],
        ["failed", "failed", true],
        ["processing", "ready", false],
    ] as const)("%s in %s", (status, filter, expected) => {
        expect(belongs(row("a", 1, { status }), { ...all, filter })).toBe(expected);
    });
    it("search by name, whatever its case", () => {
        expect(belongs(row("a", 1, { name: "Übersicht.PDF" }), { ...all, search: "übersicht.pdf" })).toBe(true);
        expect(belongs(row("a", 1, { name: "Übersicht.PDF" }), { ...all, search: "u\u0308bersicht" })).toBe(true);
    });
});

describe("the state of a row", () => {
    const upload = (more: Partial<Upload>): Upload => ({
        key: "u1",
        documentId: "a",
        name: "a.pdf",
        size: 100,
        type: "",
        lastModified: 0,
        sent: 71,
        state: "sending",
        why: null,
        ...more,
    });
    it("is the upload's while bytes move", () => {
        expect(stateOf(row("a", 1, { status: "uploading" }), upload({}))).toEqual({ kind: "sending", part: 0.71 });
    });
    it("is interrupted where this browser knows nothing of the upload", () => {
        expect(stateOf(row("a", 1, { status: "uploading" }), undefined).kind).toBe("interrupted");
    });
    it("waits to be zipped once all bytes are sent", () => {
        expect(stateOf(row("a", 1, { status: "uploading" }), upload({ state: "done" })).kind).toBe("queued");
    });
    it("is the row's own afterwards", () => {
        expect(stateOf(row("a", 1, { status: "processing", progress: 0.4 }), upload({}))).toEqual({ kind: "processing", part: 0.4 });
    });
});
