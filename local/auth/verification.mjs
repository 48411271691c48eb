// Following a mailed link or typing its code, and asking for one.

import { emailExists, invalid, linkExpired, Refusal } from "./errors.mjs";
import { challengeOf, hashOf, KINDS, mailEmailChange, mailToken, pace, PKCE } from "./mailed.mjs";
import { changeEmail, createPerson, emailOf, hashPassword, object, randomPassword, refusePhone, signUp, text } from "./people.mjs";
import { atomically, isBanned, startSession } from "./sessions.mjs";

const CHANGE = ["email_change_token_new", "email_change_token_current"];
const COLUMNS = {
    signup: ["confirmation_token"],
    invite: ["confirmation_token"],
    email: ["confirmation_token", "recovery_token"],
    magiclink: ["recovery_token", "confirmation_token"],
    recovery: ["recovery_token"],
    email_change: CHANGE,
};
const SENT_AT = {
    confirmation_token: "confirmation_sent_at",
    recovery_token: "recovery_sent_at",
    email_change_token_new: "email_change_sent_at",
    email_change_token_current: "email_change_sent_at",
};
export const HALF_CHANGED = "Confirmation link accepted. Please proceed to confirm link sent to the other email";

/**
 * Redeems a token: `{type, token_hash}` or `{type, email, token}`. Answers `{session}`, `{code}` for a link that was asked
 * for with a PKCE challenge and followed (`followed`), or `{message}` when the other half of a change of address is due.
 */
export async function verify(service, body, followed) {
    const type = text(body, "type");
    if (!type) throw invalid("Verify requires a verification type");
    if (!COLUMNS[type]) throw invalid("Invalid email verification type");
    refusePhone(body, "Phone numbers are not part of the local stack");
    const hashes = hashesOf(body);
    return atomically(service, async () => {
        const found = await find(service, COLUMNS[type], hashes);
        if (!found || !(await service.repo.claimUserToken(found.user.id, found.column, found.hash))) throw linkExpired();
        const sentAt = Date.parse(found.user[SENT_AT[found.column]] ?? "");
        if (!(Date.now() - sentAt <= service.otpExpirySeconds * 1000)) throw linkExpired();
        if (isBanned(found.user)) throw new Refusal(403, "user_banned", "User is banned");
        const user = CHANGE.includes(found.column) ? await agree(service, found) : await confirm(service, found);
        if (!user) return { message: HALF_CHANGED };
        if (followed && found.hash.startsWith(PKCE)) return { code: await openFlow(service, user, type) };
        return { session: await startSession(service, user, "otp") };
    });
}

function hashesOf(body) {
    const hash = text(body, "token_hash");
    if (hash) return [hash];
    const email = emailOf(body);
    const code = text(body, "token");
    if (!email || !code) throw invalid("Verify requires either a token or a token hash");
    const plain = hashOf(email, code);
    return [plain, PKCE + plain];
}

async function find(service, columns, hashes) {
    for (const column of columns) {
        for (const hash of hashes) {
            const user = await service.repo.findUserByToken(column, hash);
            if (user) return { user, column, hash };
        }
    }
    return null;
}

async function confirm(service, { user }) {
    const changes = { confirmation_token: null };
    if (!user.email_confirmed_at) {
        changes.email_confirmed_at = new Date().toISOString();
        changes.raw_user_meta_data = { ...service.repo.parseUserJson(user).raw_user_meta_data, email_verified: true };
        for (const identity of await service.repo.findIdentitiesByUserId(user.id)) {
            const identity_data = { ...identity.identity_data, email_verified: true };
            await service.repo.updateIdentity(identity.id, { identity_data });
        }
    }
    return service.repo.updateUser(user.id, changes);
}

// Both mailboxes have to agree (hosted's "secure email change"): the old one so that a stolen session cannot take the
// account away, the new one so that nobody gets the invitations that wait for an address of somebody else.
async function agree(service, { user: { id }, column }) {
    const user = await service.repo.findUserById(id); // read again: the other half may have been claimed meanwhile
    const other = CHANGE.find((name) => name !== column);
    if (user[other]) {
        await service.repo.updateUser(user.id, { email_change_confirm_status: 1 });
        return null;
    }
    const holder = await service.repo.findUserByEmail(user.email_change);
    if (holder && holder.id !== user.id) throw emailExists();
    return changeEmail(service, user, user.email_change);
}

async function openFlow(service, user, type) {
    const method = KINDS[type]?.method ?? type;
    const flow = await service.repo
        .table("flow_state")
        .selectAll()
        .where("user_id", "=", user.id)
        .where("authentication_method", "=", method)
        .orderBy("created_at", "desc")
        .executeTakeFirst();
    if (!flow) throw new Refusal(404, "flow_state_not_found", "invalid flow state, no valid flow state found");
    // a code lives five minutes from here, not from when the mail was asked for
    const now = new Date().toISOString();
    await service.repo.updateFlowState(flow.id, { auth_code_issued_at: now, created_at: now });
    return flow.auth_code;
}

/** POST /token?grant_type=pkce. */
export async function exchangeCode(service, body) {
    const code = text(body, "auth_code");
    const flow = /^[0-9a-f-]{36}$/i.test(code) ? await service.repo.findFlowStateByAuthCode(code) : null;
    if (!flow?.auth_code_issued_at) throw new Refusal(404, "flow_state_not_found", "invalid flow state, no valid flow state found");
    service.signInMethod = flow.authentication_method;
    return service.exchangePkceCode(code, text(body, "code_verifier"));
}

/** POST /otp and /magiclink: a link to sign in by; makes the account where there is none, unless told not to. */
export async function signInByMail(service, body, settings) {
    const email = emailOf(body);
    if (!email) {
        refusePhone(body, "Phone logins are disabled");
        throw invalid("One of email or phone must be set");
    }
    const challenge = challengeOf(body);
    const user = await service.repo.findUserByEmail(email);
    const unproven = !user?.email_confirmed_at;
    if (!user && body.create_user === false) throw new Refusal(422, "otp_disabled", "Signups not allowed for otp");
    if (unproven && settings.confirmEmail) {
        // an address that nobody has proven yet gets the mail of a sign-up, and stays unproven until it is followed
        await signUp(service, { ...body, password: randomPassword() }, settings);
        return;
    }
    const data = object(body, "data");
    const encryptedPassword = user ? null : await hashPassword(service, randomPassword(), settings);
    await atomically(service, async () => {
        const confirmedAt = new Date().toISOString();
        const person = user ?? (await createPerson(service, { email, encryptedPassword, confirmedAt, data }));
        pace(person.recovery_sent_at, settings);
        await mailToken(service, person, "magiclink", challenge);
    });
}

/** POST /recover. An unknown address answers alike. */
export async function recover(service, body, settings) {
    const email = emailOf(body);
    if (!email) throw invalid("Password recovery requires an email");
    const challenge = challengeOf(body);
    const user = await service.repo.findUserByEmail(email);
    if (!user) return;
    pace(user.recovery_sent_at, settings);
    await atomically(service, () => mailToken(service, user, "recovery", challenge));
}

/** POST /resend: the mail of a sign-up or of a change of address once more. An unknown address answers alike. */
export async function resend(service, body, settings) {
    const type = text(body, "type");
    if (!["signup", "email_change"].includes(type)) {
        throw invalid("Missing one of these types: signup, email_change, sms, phone_change");
    }
    const email = emailOf(body);
    if (!email) throw invalid("Type provided requires an email address");
    const challenge = challengeOf(body);
    const user = await service.repo.findUserByEmail(email);
    if (type === "signup" && user && !user.email_confirmed_at) {
        pace(user.confirmation_sent_at, settings);
        await atomically(service, () => mailToken(service, user, "signup", challenge));
    }
    if (type === "email_change" && user?.email_change) {
        pace(user.email_change_sent_at, settings);
        await atomically(service, () => mailEmailChange(service, user, user.email_change, challenge));
    }
}
