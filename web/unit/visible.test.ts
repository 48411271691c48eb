import { expect, test } from "vitest";
import { rowAt } from "../src/library/visible";

const tops = Float64Array.from([0, 60, 120, 220, 280]); // four rows, the third of 100 pixels

test.each([
    [-500, 0],
    [0, 0],
    [59, 0],
    [60, 1],
    [219, 2],
    [220, 3],
    [279, 3],
    [5000, 3],
])("at %i pixels stands row %i", (height, row) => {
    expect(rowAt(tops, height)).toBe(row);
});

test("an empty list begins at its beginning", () => {
    expect(rowAt(Float64Array.from([0]), 300)).toBe(0);
});
