// One-time codes and links that go out by mail: making them, pacing them, remembering a PKCE challenge with them.

import { createHash, randomInt, randomUUID } from "node:crypto";
import { invalid, Refusal } from "./errors.mjs";

/** Where each kind of mail keeps its token, and GoTrue's name for signing in by it. */
export const KINDS = {
    signup: { column: "confirmation_token", sentAt: "confirmation_sent_at", method: "email/signup" },
    invite: { column: "confirmation_token", sentAt: "confirmation_sent_at", method: "invite" },
    recovery: { column: "recovery_token", sentAt: "recovery_sent_at", method: "recovery" },
    magiclink: { column: "recovery_token", sentAt: "recovery_sent_at", method: "magiclink" },
};

export const PKCE = "pkce_";
export const hashOf = (email, code) => createHash("sha256").update(email.toLowerCase() + code).digest("hex");

/** A fresh code of six digits and the hash that stands in the link and in the database. */
export function makeToken(email, challenge) {
    const code = String(randomInt(1_000_000)).padStart(6, "0");
    return { code, hash: (challenge ? PKCE : "") + hashOf(email, code) };
}

/** Refuses a second mail to the same address too soon; `sentAt` is when the last one went out, or null. */
export function pace(sentAt, settings) {
    const wait = sentAt ? Math.ceil(settings.mailInterval - (Date.now() - Date.parse(sentAt)) / 1000) : 0;
    if (wait <= 0) return;
    throw new Refusal(429, "over_email_send_rate_limit", `For security purposes, you can only request this after ${wait} seconds.`);
}

/** The PKCE challenge of a request (RFC 7636), or null. With one, the link answers a code instead of tokens. */
export function challengeOf(body) {
    const challenge = body.code_challenge || null;
    const method = (body.code_challenge_method || "").toLowerCase();
    if (!challenge && !method) return null;
    if (!challenge || !method) throw invalid("PKCE flow requires code_challenge_method and code_challenge");
    if (!["s256", "plain"].includes(method)) throw invalid("Invalid code_challenge_method");
    if (!/^[a-zA-Z._~0-9-]{43,128}$/.test(challenge)) throw invalid("code challenge has to be between 43 and 128 characters");
    return { challenge, method };
}

/** Remembers the challenge until the link is followed. */
export async function remember(service, user, authenticationMethod, challenge) {
    if (!challenge) return;
    await service.repo.createFlowState({
        id: randomUUID(),
        user_id: user.id,
        auth_code: randomUUID(),
        authentication_method: authenticationMethod,
        code_challenge: challenge.challenge,
        code_challenge_method: challenge.method,
        provider_type: "email",
    });
}

/** Stores a new token of `kind` for a person and mails it. Answers the row as it is then. */
export async function mailToken(service, user, kind, challenge, redirectTo = service.config.site_url) {
    const { column, sentAt, method } = KINDS[kind];
    const { code, hash } = makeToken(user.email, challenge);
    const changed = await service.repo.updateUser(user.id, { [column]: hash, [sentAt]: new Date().toISOString() });
    await remember(service, user, method, challenge);
    await service.mailer.send(await service.mailer.render(kind, user.email, hash, code, { redirectTo }));
    return changed;
}

/** Stores the tokens of a change of address and mails one to each of the two addresses: both have to agree. */
export async function mailEmailChange(service, user, email, challenge) {
    const secure = Boolean(user.email);
    const proposed = makeToken(email, challenge);
    const current = secure ? makeToken(user.email, challenge) : null;
    const changed = await service.repo.updateUser(user.id, {
        email_change: email,
        email_change_token_new: proposed.hash,
        email_change_token_current: current?.hash ?? null,
        email_change_confirm_status: 0,
        email_change_sent_at: new Date().toISOString(),
    });
    await remember(service, user, "email_change", challenge);
    const about = { redirectTo: service.config.site_url, currentEmail: user.email ?? email, newEmail: email };
    await service.mailer.sendEmailChange(email, proposed.hash, proposed.code, about);
    if (current) await service.mailer.sendEmailChange(user.email, current.hash, current.code, about);
    return changed;
}
