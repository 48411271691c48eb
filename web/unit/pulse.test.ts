import { describe, expect, it } from "vitest";
import { nextDelay } from "../src/client/pulse";

describe("the pulse", () => {
    it("beats every two seconds while something changes", () => {
        expect(nextDelay({ busy: true, changed: true }, 9000, 0.5)).toBe(2000);
    });
    it("slows down to fifteen where nothing does", () => {
        let delay = 2000;
        for (let beat = 0; beat < 10; beat++) delay = nextDelay({ busy: true, changed: false }, delay, 0.5);
        expect(delay).toBe(15_000);
    });
    it("rests a minute where nothing is in progress", () => {
        expect(nextDelay({ busy: false, changed: true }, 2000, 0.5)).toBe(60_000);
    });
    it("is spread by a fifth", () => {
        expect(nextDelay({ busy: false, changed: false }, 0, 0)).toBe(48_000);
        expect(Math.round(nextDelay({ busy: false, changed: false }, 0, 1))).toBe(72_000);
    });
});
