import { describe, expect, it } from "vitest";
import { english } from "../src/text/en";
import { createFormat } from "../src/text/format";
import { admit } from "../src/uploads/admission";

const format = createFormat("en", "Now", "Yesterday");
const limits = { fileSize: 1000, quota: 2500, used: 1000, documentsLimit: 5, documents: 2 };
const sizes = (...all: number[]) => all.map((size) => ({ size }));

describe("files before a byte moves", () => {
    it("all may go where nothing is known", () => {
        expect(admit(sizes(1, 10 ** 12), null, english, format)).toEqual([null, null]);
    });
    it("a file of exactly the limit goes, one more byte does not", () => {
        expect(admit(sizes(1000, 1001), limits, english, format).map(Boolean)).toEqual([false, true]);
    });
    it("those before take their room first, and a smaller one may still fit", () => {
        expect(admit(sizes(900, 800, 600), limits, english, format).map(Boolean)).toEqual([false, true, false]);
    });
    it("a refused file takes no place of another", () => {
        expect(admit(sizes(5000, 1, 1, 1, 1), limits, english, format).map(Boolean)).toEqual([true, false, false, false, true]);
    });
    it("an empty file goes", () => {
        expect(admit(sizes(0), { ...limits, used: 2500 }, english, format)).toEqual([null]);
    });
});
