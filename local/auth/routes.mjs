// What the Auth API answers: the mended calls and the refusals here, all else by lite's own routes.

import { requireAuth } from "@supabase/lite";
import * as admin from "./admin.mjs";
import { alreadyRegistered, answer, asRefusal, emailExists, invalid, Refusal, unsupported } from "./errors.mjs";
import { object, signIn, signUp, text, updateMe } from "./people.mjs";
import { atomically, mend } from "./sessions.mjs";
import { exchangeCode, recover, resend, signInByMail, verify } from "./verification.mjs";

const UNSUPPORTED = [
    [/^\/factors(\/|$)/, "Multi-factor authentication"],
    [/^\/admin\/users\/[^/]+\/factors(\/|$)/, "Multi-factor authentication"],
    [/^\/(sso|saml|admin\/sso)(\/|$)/, "Single sign-on"],
    [/^\/(authorize|callback)$/, "Signing in with another provider"],
    [/^\/user\/identities(\/|$)/, "Linking identities"],
    [/^\/(oauth|admin\/oauth|passkeys|admin\/custom-providers|admin\/audit)(\/|$)/, "This part of Auth"],
];

// what lite answers as a hosted project does
const LITE = new Set(["GET /settings", "GET /user", "GET /reauthenticate"]);

/** A middleware for lite's server that answers before its own routes do. */
export function routes(settings) {
    return async (context, next) => {
        const url = new URL(context.req.url);
        const path = url.pathname.replace(/^\/auth\/v1/, "").replace(/\/$/, "") || "/";
        const call = `${context.req.method} ${path}`;
        const service = context.var.authService;
        service.config = { ...service.config, site_url: settings.siteUrl };
        const target = url.searchParams.get("redirect_to") || context.req.header("referer") || "";
        mend(service, settings, service.resolveEmailRedirect(target));
        let action = "processing the request";
        try {
            const handler = handlerOf(call, path);
            if (!handler) {
                await next();
                return context.res.status >= 500 ? answer(unexpected()) : undefined;
            }
            action = handler.action ?? action;
            return await handler.run({ context, service, settings, url, path, body: () => bodyOf(context.req) });
        } catch (error) {
            return answer(asRefusal(error, action, path.startsWith("/signup") ? alreadyRegistered : emailExists));
        }
    };
}

function handlerOf(call, path) {
    if (HANDLERS[call]) return HANDLERS[call];
    const [, method, id] = call.match(/^(GET|PUT|DELETE) \/admin\/users\/([^/]+)$/) ?? [];
    if (id) return ONE_USER[method];
    for (const [pattern, what] of UNSUPPORTED) {
        if (pattern.test(path)) return { run: () => Promise.reject(unsupported(what)) };
    }
    if (LITE.has(call)) return null;
    return { run: () => Promise.reject(new Refusal(404, "not_found", `There is no ${call} in the Auth API.`)) };
}

const unexpected = () =>
    new Refusal(500, "unexpected_failure", "Unexpected failure, please check server logs for more information");

async function bodyOf(request) {
    const content = await request.text();
    if (content === "") return {};
    try {
        const body = JSON.parse(content);
        if (body === null || typeof body !== "object" || Array.isArray(body)) throw new Error("it is no object");
        return body;
    } catch (error) {
        throw new Refusal(400, "bad_json", `Could not parse request body as JSON: ${error.message}`);
    }
}

// the person who asks, by lite's own check of the token, the account and the session
async function whoAsks(context) {
    let passed = false;
    const refusal = await requireAuth()(context, async () => {
        passed = true;
    });
    if (!passed) return { refusal };
    if (context.get("jwt")?.role === "service_role") throw new Refusal(403, "bad_jwt", "invalid claim: missing sub claim");
    return { userId: context.get("userId"), sessionId: context.get("sessionId") };
}

const asMe = (run) => async (call) => {
    const me = await whoAsks(call.context);
    return me.refusal ?? run(call, me);
};

const asAdmin = (run) => async (call) => {
    admin.requireAdmin(call.context.req.raw, call.settings);
    return run(call);
};

const GRANTS = {
    password: (service, body) => signIn(service, body),
    refresh_token: (service, body) => atomically(service, () => service.refreshSession(text(body, "refresh_token"))),
    pkce: (service, body) => exchangeCode(service, body),
};

async function token({ service, url, body }) {
    const grant = GRANTS[url.searchParams.get("grant_type")];
    if (!grant) throw new Refusal(400, "invalid_credentials", "unsupported_grant_type");
    return Response.json(await grant(service, await body()));
}

// A followed link ends at the client's address: with tokens in the fragment, a PKCE code in the query, or the reason.
async function follow({ service, url }) {
    const [hash, type] = [url.searchParams.get("token") ?? "", url.searchParams.get("type") ?? ""];
    if (!hash) throw invalid("Verify requires a token or a token hash");
    const to = new URL(service.config.site_url);
    try {
        const { session, code, message } = await verify(service, { type, token_hash: hash }, true);
        if (code) to.searchParams.set("code", code);
        else if (message) to.hash = new URLSearchParams({ message, sb: "" });
        else {
            const { access_token, refresh_token, expires_in, expires_at, token_type } = session;
            to.hash = new URLSearchParams({ access_token, expires_at, expires_in, refresh_token, token_type, type });
        }
    } catch (error) {
        const refusal = asRefusal(error, "confirming the link", emailExists);
        const kind = refusal.status >= 500 ? "server_error" : "access_denied";
        const reason = { error: kind, error_code: refusal.code, error_description: refusal.message };
        if (hash.startsWith("pkce_")) for (const [name, value] of Object.entries(reason)) to.searchParams.set(name, value);
        to.hash = new URLSearchParams(reason);
    }
    return new Response(null, { status: 303, headers: { Location: to.toString(), "Cache-Control": "no-store" } });
}

async function typed({ service, body }) {
    const { session, message } = await verify(service, await body(), false);
    return Response.json(session ?? { msg: message, code: "200" });
}

async function list({ service, url }) {
    const { users, total, page, perPage } = await admin.listUsers(service, url.searchParams);
    const last = Math.max(1, Math.ceil(total / perPage));
    const link = (number, rel) => `</admin/users?page=${number}&per_page=${perPage}>; rel="${rel}"`;
    const links = [...(page < last ? [link(page + 1, "next")] : []), link(last, "last")];
    const headers = { "X-Total-Count": String(total), Link: links.join(", ") };
    return Response.json({ users, aud: "authenticated" }, { headers });
}

async function quietly(run, { service, settings, body }) {
    await run(service, await body(), settings);
    return Response.json({});
}

const HANDLERS = {
    "POST /signup": {
        action: "saving new user",
        run: async ({ service, settings, body }) => {
            const { session, user } = await signUp(service, await body(), settings);
            return Response.json(session ?? user);
        },
    },
    "POST /token": { action: "granting user", run: token },
    "POST /verify": { action: "confirming user", run: typed },
    "GET /verify": { action: "confirming user", run: follow },
    "POST /otp": { action: "saving new user", run: (call) => quietly(signInByMail, call) },
    "POST /magiclink": { action: "saving new user", run: (call) => quietly(signInByMail, call) },
    "POST /recover": { action: "updating user", run: (call) => quietly(recover, call) },
    "POST /resend": { action: "updating user", run: (call) => quietly(resend, call) },
    "PUT /user": {
        action: "updating user",
        run: asMe(async ({ service, settings, body }, { userId, sessionId }) =>
            Response.json(await updateMe(service, userId, sessionId, await body(), settings)),
        ),
    },
    "POST /logout": {
        action: "logging out",
        run: asMe(async ({ service, url }, { userId, sessionId }) => {
            await atomically(service, () => service.signOut(sessionId, url.searchParams.get("scope") ?? "global", userId));
            return new Response(null, { status: 204 });
        }),
    },
    "POST /invite": {
        action: "inviting user",
        run: asAdmin(async ({ service, settings, body }) => Response.json(await admin.invite(service, await body(), settings))),
    },
    "POST /admin/users": {
        action: "creating new user",
        run: asAdmin(async ({ service, settings, body }) => Response.json(await admin.createUser(service, await body(), settings))),
    },
    "GET /admin/users": { action: "finding users", run: asAdmin(list) },
    "POST /admin/generate_link": {
        action: "generating link",
        run: asAdmin(async ({ service, settings, body, url }) => {
            const asked = await body();
            const target = text(asked, "redirect_to") || text(object(asked, "options"), "redirect_to") || url.searchParams.get("redirect_to");
            service.config = { ...service.config, site_url: service.resolveEmailRedirect(target ?? "") };
            return Response.json(await admin.generateLink(service, asked, settings));
        }),
    },
};

const idOf = (path) => decodeURIComponent(path.split("/").pop());
const ONE_USER = {
    GET: { action: "finding user", run: asAdmin(async ({ service, path }) => Response.json(await admin.getUser(service, idOf(path)))) },
    PUT: {
        action: "updating user",
        run: asAdmin(async ({ service, path, body, settings }) =>
            Response.json(await admin.updateUser(service, idOf(path), await body(), settings)),
        ),
    },
    DELETE: {
        action: "deleting user",
        run: asAdmin(async ({ service, path, body }) => {
            await admin.deleteUser(service, idOf(path), await body());
            return Response.json({});
        }),
    },
};
