// REST where PostgREST has no package for the machine: lite's, on the same Postgres, behind our gateway. It is looser
// than PostgREST; what it cannot do right is refused here.

import { serve } from "@hono/node-server";
import { BadToken, Callers } from "./callers.mjs";
import { Database } from "./database.mjs";
import { fromDatabase, isFromDatabase, isUnreachable, problem, unreachable } from "./problems.mjs";
import { currentRequest, introduce, prepare } from "./requests.mjs";
import { serviceSettings } from "./settings.mjs";

process.env.LITE_TELEMETRY = "0";
const settings = serviceSettings();
const { App } = await import("@supabase/lite");

const callers = new Callers(settings.keys, settings.audience);
const database = new Database(settings.databaseUrl);
await database.follow();

const app = new App({
    connection: database.connection,
    auth: { enabled: false },
    api: { enabled: true, schemas: ["public"], max_rows: settings.maxRows, anonymous_enabled: false },
    db: { migrations: { enabled: false } },
    storage: { enabled: false },
    studio: { enabled: false },
    options: { server: { admin: false, disableStudio: true, disableFallback: true, middlewares: [introduce] } },
});
await app.init();

async function health() {
    try {
        await database.ping();
        return Response.json({ name: "REST", description: "The fallback REST of the InstaShare local stack" });
    } catch (error) {
        return Response.json({ error: `The database does not answer: ${error.message}` }, { status: 503 });
    }
}

async function respond(request) {
    const { hostname, pathname } = new URL(request.url);
    // only the gateway comes here; a page of another site whose name leads to this machine does not
    if (hostname !== "127.0.0.1") return problem(421, "misdirected", "Ask the gateway.");
    if (pathname === "/health") return health();
    const given = request.headers.get("authorization");
    try {
        const current = { claims: await callers.identify(given), error: null };
        const prepared = await prepare(request, database);
        if (prepared instanceof Response) return prepared;
        const answer = await currentRequest.run(current, () => app.fetch(prepared));
        if (isUnreachable(current.error)) return unreachable();
        return isFromDatabase(current.error) ? fromDatabase(current.error, current.claims.role === "anon") : answer;
    } catch (error) {
        if (error instanceof BadToken) {
            return problem(401, error.code, error.message, null, null, { "WWW-Authenticate": 'Bearer error="invalid_token"' });
        }
        if (isUnreachable(error)) return unreachable();
        console.error(error);
        return problem(500, "PGRSTX00", "REST failed to answer. Its log says why.");
    }
}

const server = serve({ fetch: respond, hostname: "127.0.0.1", port: settings.port }, ({ port }) => {
    console.log(`The fallback REST answers on http://127.0.0.1:${port}`);
});
server.on("error", (error) => {
    console.error(`REST cannot listen on port ${settings.port}: ${error.message}`);
    process.exit(1);
});

let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
        if (stopping) return;
        stopping = true;
        // answers what has been asked, at most five seconds long
        setTimeout(() => process.exit(0), 5000).unref();
        server.close(async () => {
            await database.close();
            process.exit(0);
        });
        server.closeIdleConnections();
    });
}
