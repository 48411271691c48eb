// Accounts: making them, changing them, and what must hold for an e-mail address and a password.

import { randomBytes, randomUUID } from "node:crypto";
import bcrypt from "bcryptjs";
import { alreadyRegistered, emailExists, invalid, invalidCredentials, Refusal } from "./errors.mjs";
import { challengeOf, mailEmailChange, mailToken, pace } from "./mailed.mjs";
import { atomically, describe, startSession } from "./sessions.mjs";

export const randomPassword = () => randomBytes(32).toString("base64url");

/** The value of a text member; missing and null are "". */
export function text(body, member) {
    const value = body[member] ?? "";
    if (typeof value !== "string") throw new Refusal(400, "bad_json", `Could not parse request body as JSON: ${member} must be a string`);
    return value;
}

/** An object member, or {} when it is missing or null. */
export function object(body, member) {
    const value = body[member] ?? {};
    if (typeof value !== "object" || Array.isArray(value)) {
        throw new Refusal(400, "bad_json", `Could not parse request body as JSON: ${member} must be an object`);
    }
    return value;
}

export function emailOf(body, member = "email") {
    const email = text(body, member).toLowerCase();
    if (email && (email.length > 255 || !/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(email))) {
        throw invalid("Unable to validate email address: invalid format");
    }
    return email;
}

export function refusePhone(body, message) {
    if (text(body, "phone")) throw new Refusal(400, "phone_provider_disabled", message);
}

/** Hashes a password after GoTrue's rules for one: at least 6 characters, at most 72 bytes (bcrypt reads no more). */
export async function hashPassword(service, password, settings) {
    if (Buffer.byteLength(password) > 72) throw invalid("Password cannot be longer than 72 characters");
    service.assertPasswordStrong(password);
    return bcrypt.hash(password, settings.bcryptCost);
}

/** Adds the members of `changes`; one that is null is taken away. */
export function merged(before, changes) {
    const after = { ...before };
    for (const [member, value] of Object.entries(changes)) {
        if (value === null) delete after[member];
        else after[member] = value;
    }
    return after;
}

/**
 * Inserts a person and the e-mail identity. `confirmedAt` is null while the address is unproven; `own` tells that the
 * person signed up, whose metadata then names them, which it does not where an admin made the account.
 */
export async function createPerson(
    service,
    { id = randomUUID(), email, encryptedPassword, confirmedAt, data, appData = {}, role, own = true },
) {
    const verified = { email, email_verified: Boolean(confirmedAt), phone_verified: false, sub: id };
    const user = await service.repo.createUser({
        id,
        role,
        email,
        encrypted_password: encryptedPassword,
        raw_user_meta_data: { ...data, ...(own ? verified : { email_verified: verified.email_verified }) },
        raw_app_meta_data: { provider: "email", providers: ["email"], ...appData },
    });
    const identity_data = { ...data, ...verified };
    await service.repo.createIdentity({ id: randomUUID(), provider: "email", provider_id: id, user_id: id, identity_data });
    // Inserted unconfirmed and confirmed by an update in the same transaction, as GoTrue does it: a trigger that would
    // miss that on a hosted project misses it here too.
    return confirmedAt ? service.repo.updateUser(id, { email_confirmed_at: confirmedAt }) : user;
}

/** Gives an account its new, proven address. */
export async function changeEmail(service, user, email) {
    for (const identity of await service.repo.findIdentitiesByUserId(user.id)) {
        if (identity.provider !== "email") continue;
        const identity_data = { ...identity.identity_data, email, email_verified: true };
        await service.repo.updateIdentity(identity.id, { identity_data });
    }
    return service.repo.updateUser(user.id, {
        email,
        email_confirmed_at: user.email_confirmed_at ?? new Date().toISOString(),
        email_change: null,
        email_change_token_new: null,
        email_change_token_current: null,
        email_change_confirm_status: 0,
    });
}

/** POST /signup. Answers a session, or the person alone while the address has to be confirmed. */
export async function signUp(service, body, settings) {
    const email = emailOf(body);
    const password = text(body, "password");
    const challenge = challengeOf(body);
    if (!email) {
        refusePhone(body, "Phone signups are disabled");
        throw new Refusal(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled");
    }
    if (!password) throw invalid("Signup requires a valid password");
    const data = object(body, "data");
    // hashed before the transaction: it takes long, and no connection should wait for it
    const encryptedPassword = await hashPassword(service, password, settings);
    return atomically(service, async () => {
        const known = await service.repo.findUserByEmail(email);
        if (known) return { user: await signUpAgain(service, known, challenge, settings) };
        const confirmedAt = settings.confirmEmail ? null : new Date().toISOString();
        const user = await createPerson(service, { email, encryptedPassword, confirmedAt, data });
        if (settings.confirmEmail) return { user: await describe(service, await mailToken(service, user, "signup", challenge)) };
        return { session: await startSession(service, user, "password") };
    });
}

// Where addresses are confirmed, nobody may learn who has an account: a known one answers like a new one.
async function signUpAgain(service, known, challenge, settings) {
    if (!settings.confirmEmail) throw alreadyRegistered();
    if (!known.email_confirmed_at) {
        pace(known.confirmation_sent_at, settings);
        return describe(service, await mailToken(service, known, "signup", challenge));
    }
    const now = new Date().toISOString();
    return {
        id: randomUUID(),
        aud: "authenticated",
        role: "",
        email: known.email,
        phone: "",
        confirmation_sent_at: now,
        app_metadata: { provider: "email", providers: ["email"] },
        user_metadata: {},
        identities: [],
        created_at: now,
        updated_at: now,
        is_anonymous: false,
    };
}

/** POST /token?grant_type=password. The password is checked first, so that only its owner learns what else is wrong. */
export async function signIn(service, body) {
    const email = emailOf(body);
    if (!email) {
        refusePhone(body, "Phone logins are disabled");
        throw invalid("missing email or phone");
    }
    const user = await service.repo.findUserByEmail(email);
    if (!user?.encrypted_password || !(await bcrypt.compare(text(body, "password"), user.encrypted_password))) {
        throw invalidCredentials();
    }
    if (!user.email_confirmed_at) throw new Refusal(400, "email_not_confirmed", "Email not confirmed");
    return atomically(service, () => startSession(service, user, "password"));
}

/** PUT /user: password, address and metadata of the person who asks. */
export async function updateMe(service, userId, sessionId, body, settings) {
    refusePhone(body, "Phone numbers are not part of the local stack");
    const email = emailOf(body);
    const password = text(body, "password");
    const challenge = challengeOf(body);
    const data = object(body, "data");
    let user = await service.repo.findUserById(userId);
    let encryptedPassword = null;
    if (password) {
        if (user.encrypted_password && (await bcrypt.compare(password, user.encrypted_password))) {
            throw new Refusal(422, "same_password", "New password should be different from the old password.");
        }
        encryptedPassword = await hashPassword(service, password, settings);
    }
    return atomically(service, async () => {
        if (Object.keys(data).length > 0) {
            const before = service.repo.parseUserJson(user).raw_user_meta_data;
            user = await service.repo.updateUser(userId, { raw_user_meta_data: merged(before, data) });
        }
        if (encryptedPassword) {
            const spent = { recovery_token: null, recovery_sent_at: null };
            user = await service.repo.updateUser(userId, { encrypted_password: encryptedPassword, ...spent });
            // whoever else is signed in with the old password is out, as hosted
            await service.repo.deleteRefreshTokensForUser(userId, sessionId);
            await service.repo.deleteUserSessions(userId, sessionId);
        }
        if (email && email !== user.email) {
            if (await service.repo.findUserByEmail(email)) throw emailExists();
            if (settings.confirmEmail) pace(user.email_change_sent_at, settings);
            user = settings.confirmEmail
                ? await mailEmailChange(service, user, email, challenge)
                : await changeEmail(service, user, email);
        }
        return describe(service, user);
    });
}
