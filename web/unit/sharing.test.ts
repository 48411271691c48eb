import { describe, expect, it } from "vitest";
import { endOf, splitAddresses } from "../src/sharing/addresses";

describe("addresses", () => {
    it("come apart at commas, semicolons and spaces, once each", () => {
        expect(splitAddresses("Ana@x.org, <bob@y.org>; ana@x.org\ncarl@z.org")).toEqual({ good: ["ana@x.org", "bob@y.org", "carl@z.org"], wrong: [] });
    });
    it("name what is none", () => {
        expect(splitAddresses("ana@x.org bob").wrong).toEqual(["bob"]);
    });
});

describe("when a share ends", () => {
    const now = Date.UTC(2026, 0, 1);
    it("never, in days, or at the end of a day", () => {
        expect(endOf("never", "", now)).toBeNull();
        expect(endOf("7", "", now)).toBe("2026-01-08T00:00:00.000Z");
        expect(new Date(endOf("date", "2026-03-01", now) ?? "").getHours()).toBe(23);
    });
});
