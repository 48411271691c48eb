// Refusals in GoTrue's words (github.com/supabase/auth, internal/api/apierrors), and what becomes of database errors.

/** An answer that is no success. Same shape as lite's own error class, so both are handled alike. */
export class Refusal extends Error {
    constructor(status, code, message, details = {}) {
        super(message);
        Object.assign(this, { status, code, details });
    }

    toJSON() {
        return { code: this.status, error_code: this.code, msg: this.message, ...this.details };
    }
}

export const isRefusal = (error) => typeof error?.status === "number" && typeof error?.toJSON === "function";

export const invalid = (message, status = 400) => new Refusal(status, "validation_failed", message);
export const unsupported = (what) =>
    new Refusal(501, "not_supported_locally", `${what} is not part of the local stack. Use a hosted or self-hosted Supabase for it.`);

const UNREACHABLE = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "CONNECT_TIMEOUT", "CONNECTION_CLOSED", "CONNECTION_ENDED", "CONNECTION_DESTROYED", "57P01", "57P02", "57P03", "53300"]);

/** `error` as a refusal; `action` completes "Database error …", `taken` answers for an e-mail that another account has. */
export function asRefusal(error, action, taken) {
    if (isRefusal(error)) return error;
    if (error?.code === "23505" && /email/.test(error.constraint_name ?? "") && taken) return taken();
    if (UNREACHABLE.has(error?.code)) {
        return new Refusal(503, "unexpected_failure", "The database cannot be reached at the moment. Try again in a few seconds.");
    }
    // the reason goes to the log, not to the client: as hosted, which hides what a failing trigger says
    console.error(`auth: ${action}: ${error?.code ?? ""} ${error?.message ?? error} ${error?.where ?? ""}`.replace(/\s+/g, " "));
    if (error?.code === undefined && error?.stack) console.error(error.stack);
    return new Refusal(500, "unexpected_failure", `Database error ${action}`);
}

export function answer(refusal) {
    const headers = { "X-Sb-Error-Code": refusal.code, ...(refusal.headers ?? {}) };
    if (refusal.status === 503) headers["Retry-After"] = "2";
    return Response.json(refusal.toJSON(), { status: refusal.status, headers });
}

export const alreadyRegistered = () => new Refusal(422, "user_already_exists", "User already registered");
export const emailExists = () => new Refusal(422, "email_exists", "A user with this email address has already been registered");
export const invalidCredentials = () => new Refusal(400, "invalid_credentials", "Invalid login credentials");
export const linkExpired = () => new Refusal(403, "otp_expired", "Email link is invalid or has expired");
export const banned = () => new Refusal(400, "user_banned", "User is banned");
