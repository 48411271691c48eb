// The admin API: accounts as the holder of the secret key sees and changes them. Paths match exactly; the rest is 404.

import { randomUUID } from "node:crypto";
import { emailExists, invalid, Refusal, unsupported } from "./errors.mjs";
import { KINDS, mailToken, makeToken } from "./mailed.mjs";
import { changeEmail, createPerson, emailOf, hashPassword, merged, object, randomPassword, refusePhone, text } from "./people.mjs";
import { atomically, describe } from "./sessions.mjs";
import { verify as verifyToken } from "./tokens.mjs";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const UNITS = { ns: 1e-6, us: 1e-3, "µs": 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };
const BCRYPT = /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/;
const notFound = () => new Refusal(404, "user_not_found", "User not found");

/** Refuses anybody but the service role. */
export function requireAdmin(request, settings) {
    const token = request.headers.get("authorization")?.match(/^Bearer (.+)$/)?.[1];
    if (!token) throw new Refusal(401, "no_authorization", "This endpoint requires a valid Bearer token");
    if (verifyToken(token, settings.secret)?.role !== "service_role") throw new Refusal(403, "not_admin", "User not allowed");
}

async function find(service, id) {
    if (!UUID.test(id)) throw new Refusal(404, "validation_failed", "user_id must be an UUID");
    const user = await service.repo.findUserById(id);
    if (!user) throw notFound();
    return user;
}

/** Until when a ban of a Go duration ("24h", "1h30m") lasts; "none" ends it; undefined changes nothing. */
export function bannedUntil(duration) {
    if (!duration) return undefined;
    if (duration === "none") return null;
    const parts = [...duration.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
    if (parts.length === 0 || parts.map((part) => part[0]).join("") !== duration) {
        throw invalid(`invalid format for ban duration: time: invalid duration "${duration}"`);
    }
    const milliseconds = parts.reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit], 0);
    return new Date(Math.min(Date.now() + milliseconds, 8.64e15)).toISOString();
}

async function encrypted(service, body, settings) {
    const hash = text(body, "password_hash");
    const password = text(body, "password");
    if (hash && password) throw invalid("Only a password or a password hash should be provided");
    if (hash && !BCRYPT.test(hash)) throw invalid("The password hash must be a bcrypt hash");
    return hash || (password ? hashPassword(service, password, settings) : null);
}

/** POST /admin/users. */
export async function createUser(service, body, settings) {
    refusePhone(body, "Phone numbers are not part of the local stack");
    const email = emailOf(body);
    if (!email) throw invalid("Cannot create a user without either an email or phone");
    const id = text(body, "id") || randomUUID();
    if (!UUID.test(id)) throw invalid("ID must conform to the uuid v4 format");
    const role = text(body, "role") || undefined;
    const banned = bannedUntil(text(body, "ban_duration"));
    const encryptedPassword = (await encrypted(service, body, settings)) ?? (await hashPassword(service, randomPassword(), settings));
    return atomically(service, async () => {
        if (await service.repo.findUserByEmail(email)) throw emailExists();
        const confirmedAt = body.email_confirm === true ? new Date().toISOString() : null;
        const [data, appData] = [object(body, "user_metadata"), object(body, "app_metadata")];
        let user = await createPerson(service, { id, role, email, encryptedPassword, confirmedAt, data, appData, own: false });
        if (banned) user = await service.repo.updateUser(id, { banned_until: banned });
        return withBan(await describe(service, user), user);
    });
}

/** GET /admin/users: one page, newest first, with the total for the headers. */
export async function listUsers(service, query) {
    const whole = (name, fallback) => {
        const value = Number(query.get(name) || fallback);
        if (!Number.isInteger(value) || value < 0) throw invalid(`Bad Pagination Parameters: ${name} must be a whole number`);
        return value || fallback;
    };
    const [page, perPage] = [whole("page", 1), Math.min(whole("per_page", 50), 1000)];
    const { total } = await service.repo.table("users").select((on) => on.fn.countAll().as("total")).executeTakeFirst();
    const rows = await service.repo
        .table("users")
        .selectAll()
        .orderBy("created_at", "desc")
        .orderBy("id")
        .limit(perPage)
        .offset((page - 1) * perPage)
        .execute();
    const users = [];
    for (const row of rows) users.push(withBan(await describe(service, row), row));
    return { users, total: Number(total), page, perPage };
}

export async function getUser(service, id) {
    const user = await find(service, id);
    return withBan(await describe(service, user), user);
}

/** PUT /admin/users/:id. Metadata is merged; a member that is null goes. */
export async function updateUser(service, id, body, settings) {
    refusePhone(body, "Phone numbers are not part of the local stack");
    let user = await find(service, id);
    const email = emailOf(body);
    const encryptedPassword = await encrypted(service, body, settings);
    const banned = bannedUntil(text(body, "ban_duration"));
    const { raw_user_meta_data: data, raw_app_meta_data: appData } = service.repo.parseUserJson(user);
    const changes = {};
    if (body.user_metadata) changes.raw_user_meta_data = merged(data, object(body, "user_metadata"));
    if (body.app_metadata) changes.raw_app_meta_data = merged(appData, object(body, "app_metadata"));
    if (text(body, "role")) changes.role = text(body, "role");
    if (encryptedPassword) changes.encrypted_password = encryptedPassword;
    if (banned !== undefined) changes.banned_until = banned;
    if (body.email_confirm === true && !user.email_confirmed_at) changes.email_confirmed_at = new Date().toISOString();
    return atomically(service, async () => {
        if (Object.keys(changes).length > 0) user = await service.repo.updateUser(id, changes);
        if (encryptedPassword) await signOutEverywhere(service, id);
        if (email && email !== user.email) {
            if (await service.repo.findUserByEmail(email)) throw emailExists();
            user = await changeEmail(service, user, email);
        }
        return withBan(await describe(service, user), user);
    });
}

/** DELETE /admin/users/:id: the person, the identities and every session. */
export async function deleteUser(service, id, body) {
    if (body.should_soft_delete === true) throw unsupported("Soft deletion of accounts");
    await find(service, id);
    await atomically(service, async () => {
        await signOutEverywhere(service, id);
        await service.repo.deleteFrom("users").where("id", "=", id).execute();
    });
}

async function signOutEverywhere(service, id) {
    await service.repo.deleteRefreshTokensForUser(id);
    await service.repo.deleteUserSessions(id);
}

const withBan = (answer, user) => (user.banned_until ? { ...answer, banned_until: user.banned_until } : answer);

/** POST /invite: an account without a password and a mail to take it over. */
export async function invite(service, body) {
    const email = emailOf(body);
    if (!email) throw invalid("Invite requires a valid email address");
    return atomically(service, async () => {
        const known = await service.repo.findUserByEmail(email);
        if (known?.email_confirmed_at) throw emailExists();
        const data = object(body, "data");
        const user = known ?? (await createPerson(service, { email, encryptedPassword: null, confirmedAt: null, data }));
        await service.repo.updateUser(user.id, { invited_at: new Date().toISOString() });
        return describe(service, await mailToken(service, user, "invite", null));
    });
}

/** POST /admin/generate_link: the link and code of a mail that is not sent. */
export async function generateLink(service, body, settings) {
    let type = text(body, "type");
    const change = type === "email_change_current" || type === "email_change_new";
    if (!change && !KINDS[type]) throw invalid("Invalid email action link type requested");
    const email = emailOf(body);
    if (!email) throw invalid("Unable to validate email address: invalid format");
    const newEmail = emailOf(body, "new_email");
    if (change && !newEmail) throw invalid("Unable to validate email address: invalid format");
    const password = text(body, "password");
    if (type === "signup" && !password) throw invalid("Password must be provided for signup link");
    const encryptedPassword = password ? await hashPassword(service, password, settings) : null;
    return atomically(service, async () => {
        let user = await service.repo.findUserByEmail(email);
        if (!user && (change || type === "recovery")) throw notFound();
        if (user?.email_confirmed_at && (type === "signup" || type === "invite")) throw emailExists();
        if (!user) {
            if (type === "magiclink") type = "signup";
            user = await createPerson(service, { email, encryptedPassword, confirmedAt: null, data: object(body, "data") });
        }
        const { code, hash } = makeToken(type === "email_change_new" ? newEmail : email, null);
        user = await service.repo.updateUser(user.id, tokenChanges(type, hash, newEmail));
        const shown = change ? "email_change" : type;
        const mail = await service.mailer.render(shown, email, hash, code, { redirectTo: service.config.site_url });
        return {
            ...(await describe(service, user)),
            action_link: mail.body.text.match(/https?:\/\/\S+/)[0],
            email_otp: code,
            hashed_token: hash,
            verification_type: type,
            redirect_to: service.config.site_url,
        };
    });
}

function tokenChanges(type, hash, newEmail) {
    const now = new Date().toISOString();
    if (KINDS[type]) return { [KINDS[type].column]: hash, [KINDS[type].sentAt]: now };
    const column = type === "email_change_new" ? "email_change_token_new" : "email_change_token_current";
    return { [column]: hash, email_change: newEmail, email_change_sent_at: now };
}
