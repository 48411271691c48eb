import { describe, expect, it } from "vitest";
import { filesOfDrop } from "../src/uploads/folders";

const fileEntry = (name: string) => ({
    isDirectory: false,
    name,
    file: (found: (file: File) => void) => found(new File([name], name)),
});

/** A folder whose reader hands its entries out in parts, as browsers do. */
const folderEntry = (name: string, entries: object[], part = 100) => ({
    isDirectory: true,
    name,
    createReader: () => {
        let at = 0;
        return {
            readEntries: (found: (some: object[]) => void) => {
                found(entries.slice(at, at + part));
                at += part;
            },
        };
    },
});

const drop = (...items: { entry: object | null; file?: File }[]) =>
    ({ items: items.map(({ entry, file }) => ({ kind: "file", webkitGetAsEntry: () => entry, getAsFile: () => file ?? null })) }) as unknown as DataTransfer;

describe("a drop", () => {
    it("of files is just these", async () => {
        const { files, nested } = await filesOfDrop(drop({ entry: fileEntry("a"), file: new File(["a"], "a") }, { entry: null, file: new File(["b"], "b") }));
        expect(files.map((one) => one.name)).toEqual(["a", "b"]);
        expect(nested).toBe(0);
    });
    it("of folders is flattened, however deep and large they are, and counted", async () => {
        const many = Array.from({ length: 250 }, (_, at) => fileEntry(`f${at}`));
        const deep = folderEntry("deep", [fileEntry("x"), folderEntry("deeper", many), fileEntry(".DS_Store")]);
        const { files, nested } = await filesOfDrop(drop({ entry: deep }, { entry: fileEntry("top"), file: new File(["t"], "top") }));
        expect(files).toHaveLength(252);
        expect(nested).toBe(251);
    });
    it("that cannot be read in part gives the rest", async () => {
        const broken = { isDirectory: false, name: "gone", file: (_: unknown, failed: () => void) => failed() };
        const { files } = await filesOfDrop(drop({ entry: folderEntry("half", [broken, fileEntry("kept")]) }));
        expect(files.map((one) => one.name)).toEqual(["kept"]);
    });
});
