import { beforeEach, describe, expect, it } from "vitest";
import {
    changeRecord,
    clearRecords,
    keepBytes,
    keepRecords,
    readBytes,
    readRecord,
    readRecords,
    removeRecord,
    takeShared,
    type UploadRecord,
} from "../src/uploads/records";

const record = (id: string, more: Partial<UploadRecord> = {}): UploadRecord => ({
    id,
    userId: "me",
    documentId: null,
    name: "a.pdf",
    size: 3,
    type: "application/pdf",
    lastModified: 7,
    addedAt: 1,
    uploadUrl: null,
    offset: 0,
    ...more,
});

async function share(...files: File[]): Promise<void> {
    await new Promise<void>((resolve, reject) => {
        const opening = indexedDB.open("instashare", 2);
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
            const transaction = opening.result.transaction("shared", "readwrite");
            for (const file of files) transaction.objectStore("shared").add(file);
            transaction.oncomplete = () => {
                opening.result.close();
                resolve();
            };
        };
    });
}

beforeEach(clearRecords);

describe("records of unfinished uploads", () => {
    it("are each person's own, the oldest first", async () => {
        await keepRecords([record("late", { addedAt: 2 }), record("early"), record("two", { userId: "somebody else" })]);
        expect((await readRecords("me")).map((one) => one.id)).toEqual(["early", "late"]);
    });
    it("change in part, however many changes come at once", async () => {
        await keepRecords([record("one")]);
        await Promise.all([changeRecord("one", { offset: 2 }), changeRecord("one", { uploadUrl: "http://x/1" }), changeRecord("one", { documentId: "d" })]);
        expect(await readRecord("one")).toMatchObject({ offset: 2, uploadUrl: "http://x/1", documentId: "d", name: "a.pdf" });
    });
    it("are not made by a change or by bytes that come late", async () => {
        await changeRecord("gone", { offset: 2 });
        await keepBytes("gone", new Blob(["abc"]));
        expect(await readRecord("gone")).toBeUndefined();
        expect(await readBytes("gone")).toBeUndefined();
    });
    it("keep no bytes of large files", async () => {
        await keepRecords([record("large"), record("small")]);
        const large = new Blob([new Uint8Array(50_000_001)]);
        await keepBytes("large", large);
        await keepBytes("small", large.slice(0, 50_000_000));
        expect(await readBytes("large")).toBeUndefined();
        expect(await readBytes("small")).toBeDefined();
    });
    it("go when the upload ends, and their bytes with them", async () => {
        await keepRecords([record("one")]);
        await keepBytes("one", new Blob(["abc"]));
        await removeRecord("one");
        expect(await readRecords("me")).toEqual([]);
        expect(await readBytes("one")).toBeUndefined();
    });
});

describe("files shared by another app", () => {
    it("become records with their bytes in the same moment, and only once", async () => {
        await share(new File(["first"], "first.txt", { type: "text/plain" }), new File(["second"], "second.txt"));
        const taken = (await Promise.all([takeShared("me", 5), takeShared("me", 5)])).flat();
        expect(taken.map(({ file }) => file.name).sort()).toEqual(["first.txt", "second.txt"]);
        const kept = await readRecords("me");
        expect(kept.map((one) => one.name).sort()).toEqual(["first.txt", "second.txt"]);
        for (const one of kept) expect(await readBytes(one.id)).toBeDefined();
        expect(await takeShared("me", 6)).toEqual([]);
    });
});
