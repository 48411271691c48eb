import { beforeEach, describe, expect, it } from "vitest";
import { changeRecord, clearRecords, keepRecord, readRecord, readRecords, removeRecord, type UploadRecord } from "../src/uploads/records";

const record = (documentId: string, more: Partial<UploadRecord> = {}): UploadRecord => ({
    documentId,
    userId: "me",
    name: "a.pdf",
    size: 3,
    type: "application/pdf",
    lastModified: 7,
    uploadUrl: null,
    offset: 0,
    blob: new Blob(["abc"]),
    ...more,
});

beforeEach(clearRecords);

describe("records of unfinished uploads", () => {
    it("are each person's own", async () => {
        await keepRecord(record("one"));
        await keepRecord(record("two", { userId: "somebody else" }));
        expect((await readRecords("me")).map((one) => one.documentId)).toEqual(["one"]);
    });
    it("change in part", async () => {
        await keepRecord(record("one"));
        await changeRecord("one", { offset: 2, uploadUrl: "http://x/1" });
        expect(await readRecord("one")).toMatchObject({ offset: 2, uploadUrl: "http://x/1", name: "a.pdf" });
    });
    it("are not made by a change that comes late", async () => {
        await changeRecord("gone", { offset: 2 });
        expect(await readRecord("gone")).toBeUndefined();
    });
    it("keep no bytes of large files", async () => {
        await keepRecord(record("large", { size: 50_000_001 }));
        expect((await readRecord("large"))?.blob).toBeNull();
    });
    it("go when the upload ends", async () => {
        await keepRecord(record("one"));
        await removeRecord("one");
        expect(await readRecords("me")).toEqual([]);
    });
});
