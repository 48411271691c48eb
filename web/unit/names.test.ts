import { describe, expect, it } from "vitest";
import { splitName, tileOf } from "../src/text/names";

describe("a name in its two parts", () => {
    it.each([
        ["report.pdf", "report", ".pdf"],
        ["archive.tar.gz", "archive.tar", ".gz"],
        [".env", ".env", ""],
        ["README", "README", ""],
        ["ends.", "ends.", ""],
        ["año ñ 日本.pdf", "año ñ 日本", ".pdf"],
        ["a sentence. with a dot far away", "a sentence. with a dot far away", ""],
    ])("%s", (name, base, extension) => {
        expect(splitName(name)).toEqual({ base, extension });
    });
});

describe("the tile of a name", () => {
    it.each([
        ["a.PDF", "pdf", "PDF"],
        ["a.xlsx", "xls", "XLS"],
        ["a.jpeg", "img", "JPG"],
        ["a.unknownext", "zip", "FILE"],
        ["README", "zip", "FILE"],
    ])("%s", (name, kind, label) => {
        expect(tileOf(name)).toEqual({ kind, label });
    });
});
