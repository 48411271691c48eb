import { describe, expect, it } from "vitest";
import { belongs, type DocumentRow, merge, type Pages, type View } from "../src/library/documents";
import { stateOf } from "../src/library/row_state";
import type { Upload } from "../src/uploads/uploads";

const all: View = { filter: "all", search: "" };

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
        { rows: [row("d", 40), row("c", 30)], next: { created_at: row("c", 30).created_at, id: "c" } },
        { rows: [row("b", 20)], next: { created_at: row("b", 20).created_at, id: "b" } },
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

describe("filters", () => {
    it.each([
        ["ready", "all", true],
        ["queued", "progress", true],
        ["ready", "progress", false],
        ["failed", "failed", true],
        ["processing", "ready", false],
    ] as const)("%s in %s", (status, filter, expected) => {
        expect(belongs(row("a", 1, { status }), { filter, search: "" })).toBe(expected);
    });
    it("search by name, whatever its case", () => {
        expect(belongs(row("a", 1, { name: "Übersicht.PDF" }), { filter: "all", search: "übersicht.pdf" })).toBe(true);
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
