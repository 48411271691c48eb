import { describe, expect, it } from "vitest";
import { createFormat } from "../src/text/format";

const format = createFormat("en-GB", "Now", "Yesterday");
const plain = (text: string) => text.replace(/\u00a0|\u202f/g, " ");

describe("sizes", () => {
    it.each([
        [0, "0 B"],
        [999, "999 B"],
        [1000, "1 KB"],
        [184_000, "184 KB"],
        [999_600, "1.0 MB"],
        [13_000_000, "13.0 MB"],
        [318_000_000, "318 MB"],
        [1_240_000_000, "1.24 GB"],
        [34_200_000_000, "34.2 GB"],
    ])("%d", (bytes, words) => {
        expect(plain(format.size(bytes))).toBe(words);
    });

    it("a limit without idle zeros", () => {
        expect([5_000_000_000, 50_000_000, 1_500_000_000, 100_000].map((bytes) => plain(format.limit(bytes)))).toEqual(["5 GB", "50 MB", "1.50 GB", "100 KB"]);
        expect(plain(createFormat("es", "Ahora", "Ayer").limit(5_000_000_000))).toBe("5 GB");
    });

    it("two in one unit", () => {
        expect(format.sizePair(8_100_000, 13_000_000).map(plain)).toEqual(["8.1", "13.0 MB"]);
        expect(format.sizePair(0, 400_000).map(plain)).toEqual(["0", "400 KB"]);
    });
});

describe("a percentage never says more than is done", () => {
    it.each([
        [0.999, "99%"],
        [1, "100%"],
        [0.416, "41%"],
    ])("%d", (part, words) => {
        expect(format.percent(part)).toBe(words);
    });
});

describe("how long ago", () => {
    const noon = new Date(2026, 10, 24, 12).getTime();
    it.each([
        [30, "Now"],
        [14 * 60, "14 min"],
        [3 * 3600, "3 h"],
        [20 * 3600, "Yesterday"],
        [6 * 86_400, "18 Nov"],
    ])("%d seconds", (seconds, words) => {
        expect(plain(format.ago(new Date(noon - seconds * 1000).toISOString(), noon))).toBe(words);
    });
});
