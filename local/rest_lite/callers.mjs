// Who asks: the token of a request verified as PostgREST would.

import { createLocalJWKSet, errors, jwtVerify } from "jose";

const ROLES = new Set(["anon", "authenticated", "service_role"]);

/** A token that is not to be taken, in PostgREST's words. A bad token never makes an anonymous caller. */
export class BadToken extends Error {
    constructor(code, message) {
        super(message);
        this.code = code;
    }
}

/** Verifies callers' tokens by the public key set. */
export class Callers {
    constructor(keys, audience) {
        this._keys = createLocalJWKSet(keys);
        this._audience = audience;
    }

    /** The claims of the caller whose header Authorization is `given`; null is anon. Throws BadToken. */
    async identify(given) {
        const claims = given === null ? {} : await this._verify(given);
        const role = claims.role ?? "anon"; // as PostgREST's db-anon-role
        if (!ROLES.has(role)) throw new BadToken("PGRST301", "The token names a role that REST does not take.");
        return { ...claims, role };
    }

    async _verify(given) {
        const [scheme, token, ...more] = given.split(" ").filter(Boolean);
        if (scheme?.toLowerCase() !== "bearer" || !token || more.length > 0) {
            throw new BadToken("PGRST301", "The header Authorization must be `Bearer` and a token.");
        }
        try {
            const { payload } = await jwtVerify(token, this._keys, { algorithms: ["ES256"] });
            const audiences = [payload.aud ?? []].flat();
            if (audiences.length > 0 && !audiences.includes(this._audience)) throw new errors.JWTInvalid("JWT not in audience");
            return payload;
        } catch (error) {
            if (!(error instanceof errors.JOSEError)) throw error;
            throw new BadToken("PGRST301", error instanceof errors.JWTExpired ? "JWT expired" : `The token is not valid: ${error.message}`);
        }
    }
}
