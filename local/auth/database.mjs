// The connection to Postgres, with what lite's own gets wrong put right.

import { createPostgresConnection } from "@supabase/lite/postgres";

/** "2026-11-24 14:49:33.123456+00" as GoTrue writes it: "2026-11-24T14:49:33.123456Z". */
export function isoTimestamp(text) {
    return text.replace(" ", "T").replace(/\+00(:?00)?$/, "Z");
}

// lite hands over metadata that is a JSON text already; serialised again it would be stored as a JSON *string*, of
// which every trigger reads null.
const serialize = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** A pool of at most `max` connections in UTC; one that cannot be had within 5 s fails its request. */
export function connect(url, max = 10) {
    return createPostgresConnection({
        url,
        postgresOptions: {
            max,
            connect_timeout: 5,
            connection: { application_name: "instashare auth", statement_timeout: 10_000 },
            onnotice: () => {},
            types: {
                json: { to: 114, from: [114], serialize, parse: JSON.parse },
                jsonb: { to: 3802, from: [3802], serialize, parse: JSON.parse },
                timestamptz: { to: 1184, from: [1184], serialize: (value) => value, parse: isoTimestamp },
            },
        },
    });
}
