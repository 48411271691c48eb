/** Pages that begin behind the last row of the one before, for REST (docs/lists.md): none is skipped or shown twice. */
export interface Behind {
    column: string;
    operator: "gte" | "lte";
    value: string;
    /** For `or=(…)`. */
    beyond: string;
}

/** A value inside `or=(…)`, where commas and parentheses mean something. */
export const quote = (value: string): string => `"${value.replace(/[\\"]/g, "\\$&")}"`;

/** Behind the row that has this value and id, in an order by that column and then by id, both in one direction. */
export function behindRow(column: string, value: string | number, id: string, descending: boolean): Behind {
    const further = descending ? "lt" : "gt";
    // the first condition finds the place in the index, the second leaves out what was shown
    return {
        column,
        operator: descending ? "lte" : "gte",
        value: String(value),
        beyond: `${column}.${further}.${quote(String(value))},id.${further}.${id}`,
    };
}
