// Values on their way between JSON and Postgres, exact where lite would round or encode them twice.

// what JavaScript's numbers do not hold exactly: more than 15 digits that do not come back as they were written
const unsafe = (value, source) =>
    typeof value === "number" && String(value) !== source && source.replace(/e.*$/i, "").replace(/^[-0.]+|\./g, "").length > 15;
const keep = (key, value, context) => (unsafe(value, context.source) ? JSON.rawJSON(context.source) : value);

/** JSON whose longest numbers stay as they are written when it becomes JSON again. */
export const parseExactly = (text) => JSON.parse(text, keep);

// lite stringifies some JSON values itself: as they are they may pass, stringified again they would be JSON strings
const serializeJson = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function parseNumber(text) {
    const value = Number(text);
    if (!Number.isFinite(value)) return text;
    return String(value) === text ? value : JSON.rawJSON(text);
}

/** "2026-11-24 14:49:33.1+00" in JSON's form: "2026-11-24T14:49:33.1+00:00". */
const isoTimestamp = (text) => text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
const asIs = (value) => value;

/** Types for postgres.js. */
export const types = {
    bigint: { to: 20, from: [20], serialize: String, parse: parseNumber },
    numeric: { to: 1700, from: [1700], serialize: String, parse: parseNumber },
    json: { to: 114, from: [114], serialize: serializeJson, parse: parseExactly },
    jsonb: { to: 3802, from: [3802], serialize: serializeJson, parse: parseExactly },
    timestamp: { to: 1114, from: [1114], serialize: asIs, parse: isoTimestamp },
    timestamptz: { to: 1184, from: [1184], serialize: asIs, parse: isoTimestamp },
};

/** Whether JSON text holds a number that lite would round on its way in. */
export function holdsUnsafeNumber(text) {
    let found = false;
    JSON.parse(text, (key, value, context) => {
        found ||= unsafe(value, context.source);
        return value;
    });
    return found;
}
