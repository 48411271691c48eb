// The Auth service of the local stack: lite's Auth alone, on a real Postgres, on loopback, behind our gateway.

import { serve } from "@hono/node-server";
import { connect } from "./database.mjs";
import { MailFolder } from "./mail.mjs";
import { routes } from "./routes.mjs";
import { serviceSettings } from "./settings.mjs";

const settings = serviceSettings();
process.env.LITE_AUTH_BCRYPT_COST = String(settings.bcryptCost);
process.env.LITE_TELEMETRY = "0";
const { App } = await import("@supabase/lite");

const connection = connect(settings.databaseUrl);
// the default would grant everything in every schema under row level security to anon and authenticated
connection.ensureRlsContext = async () => true;

const app = new App({
    connection,
    auth: {
        enabled: true,
        jwt_secret: settings.secret,
        jwt_expiry: settings.tokenLifetime,
        site_url: settings.apiUrl, // the host of mailed links; where they lead is set per request
        enable_signup: true,
        enable_refresh_token_rotation: true,
        email: { enable_signup: true, enable_confirmations: settings.confirmEmail },
    },
    api: { enabled: false },
    db: { migrations: { enabled: false } },
    storage: { enabled: false },
    studio: { enabled: false },
    options: {
        drivers: { email: new MailFolder(settings.mailDir) },
        server: { admin: false, disableStudio: true, disableFallback: true, middlewares: [routes(settings)] },
    },
});
await app.init();

async function health() {
    try {
        await connection.driver`select 1 from auth.users limit 1`;
        return Response.json({ name: "GoTrue", description: "Auth of the InstaShare local stack", version: "lite 0.10.0" });
    } catch (error) {
        return Response.json({ error: `The database does not answer: ${error.message}` }, { status: 503 });
    }
}

function respond(request) {
    const { hostname, pathname } = new URL(request.url);
    // only the gateway comes here; a page of another site whose name leads to this machine does not
    if (hostname !== "127.0.0.1") return Response.json({ msg: "Ask the gateway." }, { status: 421 });
    if (pathname === "/health" || pathname === "/auth/v1/health") return health();
    if (!pathname.startsWith("/auth/v1/")) return Response.json({ msg: "Not found" }, { status: 404 });
    return app.fetch(request);
}

const server = serve({ fetch: respond, hostname: "127.0.0.1", port: settings.port }, ({ port }) => {
    console.log(`Auth answers on http://127.0.0.1:${port}`);
});
server.on("error", (error) => {
    console.error(`Auth cannot listen on port ${settings.port}: ${error.message}`);
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
            await connection.close();
            process.exit(0);
        });
        server.closeIdleConnections();
    });
}
