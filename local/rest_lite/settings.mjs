// What the fallback REST is told by its environment; a missing or impossible value ends the process with a sentence.

function required(name) {
    const value = process.env[name];
    if (!value) throw new Error(`The environment variable ${name} is missing.`);
    return value;
}

/** `keys` is the public JWK set that callers' tokens are verified with, `audience` what their `aud` must hold if it is there. */
export function serviceSettings() {
    const port = Number(required("REST_PORT"));
    if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Error("REST_PORT must be a port.");
    const keys = JSON.parse(required("REST_JWKS"));
    if (!Array.isArray(keys.keys) || keys.keys.length === 0) throw new Error("REST_JWKS holds no key.");
    return { port, keys, audience: required("REST_AUDIENCE"), databaseUrl: required("REST_DATABASE_URL"), maxRows: 1000 };
}
