// What the Auth service is told by its environment; a missing or impossible value ends the process with a sentence.

function required(name) {
    const value = process.env[name];
    if (!value) throw new Error(`The environment variable ${name} is missing.`);
    return value;
}

function whole(name, fallback, least, most) {
    const value = Number(process.env[name] ?? fallback);
    if (!Number.isInteger(value) || value < least || value > most) {
        throw new Error(`${name} must be a whole number from ${least} to ${most}.`);
    }
    return value;
}

export function databaseSettings() {
    return { databaseUrl: required("AUTH_DATABASE_URL") };
}

/**
 * Settings of the running service. `secret` signs the HS256 tokens between the gateway and this process, `apiUrl` is
 * the base of the links in mails, `siteUrl` where they lead by default, `mailInterval` the seconds between two mails
 * to one address (hosted: 60) and `tokenLifetime` the seconds an access token lives (hosted: 3600).
 */
export function serviceSettings() {
    const secret = required("AUTH_SECRET");
    if (secret.length < 32) throw new Error("AUTH_SECRET must have at least 32 characters.");
    return {
        ...databaseSettings(),
        port: whole("AUTH_PORT", undefined, 1, 65535),
        secret,
        siteUrl: required("SITE_URL").replace(/\/+$/, ""),
        apiUrl: required("API_URL").replace(/\/+$/, ""),
        mailDir: required("MAIL_DIR"),
        confirmEmail: process.env.CONFIRM_EMAIL === "1",
        bcryptCost: whole("BCRYPT_COST", 10, 4, 14),
        mailInterval: process.env.AUTH_RATE_LIMITS === "on" ? 60 : 0,
        tokenLifetime: whole("AUTH_TOKEN_LIFETIME", 3600, 1, 604800),
    };
}
