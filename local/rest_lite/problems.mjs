// What becomes of an error: PostgREST's status and form (postgrest.org, "Errors"), whatever lite makes of it.

const UNREACHABLE = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "CONNECT_TIMEOUT", "CONNECTION_CLOSED", "CONNECTION_ENDED", "CONNECTION_DESTROYED"]);
const STATUS = {
    "23503": 409, "23505": 409, "25006": 405, "42883": 404, "42P01": 404, "42P17": 500, "53400": 500, "57P01": 503,
    "P0001": 400, "08": 503, "09": 500, "0L": 403, "0P": 403, "25": 500, "28": 403, "2D": 500, "38": 500, "39": 500,
    "3B": 500, "40": 500, "53": 503, "54": 500, "55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500, "P0": 500, "XX": 500,
};

export function problem(status, code, message, details = null, hint = null, headers = {}) {
    return Response.json({ code, details, hint, message }, { status, headers });
}

export const unsupported = (what) =>
    problem(501, "not_supported_locally", `${what} is not part of this machine's fallback REST.`, null, "Put PostgREST 12 or newer on PATH, or use a hosted or self-hosted Supabase.");

export const isUnreachable = (error) => UNREACHABLE.has(error?.code) || error?.code === "57P03" || error?.code === "53300";
export const isFromDatabase = (error) => typeof error?.severity === "string" && /^[0-9A-Z]{5}$/.test(error.code);

export const unreachable = () =>
    problem(503, "PGRST001", "Database client error. Retrying the connection.", null, null, { "Retry-After": "2" });

/** An error of Postgres; an anonymous caller gets 401 where others get 403. */
export function fromDatabase(error, anonymous) {
    const { code, message, detail = null, hint = null } = error;
    return problem(statusOf(code, anonymous), code, message, detail, hint, anonymous && code === "42501" ? { "WWW-Authenticate": "Bearer" } : {});
}

function statusOf(code, anonymous) {
    if (code === "42501") return anonymous ? 401 : 403;
    if (code.startsWith("PT")) {
        const status = Number(code.slice(2));
        return status >= 200 && status <= 599 ? status : 500;
    }
    return STATUS[code] ?? STATUS[code.slice(0, 2)] ?? 400;
}
