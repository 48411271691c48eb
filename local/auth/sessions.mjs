// lite's service, mended for one request: transactions, hosted claims, bans, and the way a session was signed in.

import { randomUUID } from "node:crypto";
import { banned, isRefusal } from "./errors.mjs";
import { sign } from "./tokens.mjs";

/**
 * Runs `work` in one transaction, which lite does for some flows only: a crash between two statements must not cost a
 * person the session. A refusal commits first: that a reused refresh token revokes its family has to stay.
 */
export async function atomically(service, work) {
    const outer = service.repo;
    const outcome = await outer.transaction(async (repo) => {
        service.repo = repo;
        try {
            return { value: await work() };
        } catch (error) {
            if (isRefusal(error)) return { refusal: error };
            throw error;
        } finally {
            service.repo = outer;
        }
    });
    if (outcome.refusal) throw outcome.refusal;
    return outcome.value;
}

export const isBanned = (user) => Boolean(user.banned_until) && Date.parse(user.banned_until) > Date.now();

/** A person as the API answers it. */
export async function describe(service, user) {
    const identities = await service.repo.findIdentitiesByUserId(user.id);
    return service.mapUserToResponse(service.repo.parseUserJson(user), identities, "user");
}

/** Signs a person in by `method` (GoTrue's names: password, otp, magiclink, …) and answers the session. */
export async function startSession(service, user, method) {
    if (isBanned(user)) throw banned();
    const identities = await service.repo.findIdentitiesByUserId(user.id);
    service.signInMethod = method;
    return service.createSessionForUser(service.repo.parseUserJson(user), identities, "user");
}

/** Gives one request's instance of lite's AuthService hosted claims; `redirect` is where its mails' links lead. */
export function mend(service, settings, redirect) {
    // lite takes the target of a link from its settings alone, so each request has settings of its own
    service.config = { ...service.config, site_url: redirect };

    const createSession = service.createSessionForUser.bind(service);
    service.createSessionForUser = async (user, ...rest) => {
        const session = await createSession(user, ...rest);
        const now = new Date().toISOString();
        const authentication_method = service.signInMethod ?? "password";
        const amr = { id: randomUUID(), session_id: session.session_id, authentication_method, created_at: now, updated_at: now };
        await service.repo.insertInto("mfa_amr_claims").values(amr).execute();
        return withClaims(session, [amr], settings);
    };

    const refresh = service.createRefreshResponse.bind(service);
    service.createRefreshResponse = async (user, ...rest) => {
        if (isBanned(user)) throw banned();
        const session = await refresh(user, ...rest);
        const amr = await service.repo.table("mfa_amr_claims").selectAll().where("session_id", "=", session.session_id).execute();
        return withClaims(session, amr, settings);
    };
    return service;
}

// The claims of a hosted project's access token, save `iss`, which the gateway sets as it signs.
function withClaims(session, amr, settings) {
    const { user } = session;
    const now = Math.floor(Date.now() / 1000);
    session.expires_in = settings.tokenLifetime;
    session.expires_at = now + settings.tokenLifetime;
    session.access_token = sign(
        {
            sub: user.id,
            aud: user.aud,
            exp: session.expires_at,
            iat: now,
            email: user.email,
            phone: user.phone,
            app_metadata: user.app_metadata,
            user_metadata: user.user_metadata,
            role: user.role,
            aal: "aal1",
            amr: amr.map((claim) => ({
                method: claim.authentication_method,
                timestamp: Math.floor(Date.parse(claim.created_at) / 1000),
            })),
            session_id: session.session_id,
            is_anonymous: user.is_anonymous,
        },
        settings.secret,
    );
    return session;
}
