// HS256 tokens between the gateway and this process. Clients never see them: the gateway signs their claims anew.

import { createHmac, timingSafeEqual } from "node:crypto";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const HEADER = encode({ alg: "HS256", typ: "JWT" });
const signature = (content, secret) => createHmac("sha256", secret).update(content).digest("base64url");

export function sign(claims, secret) {
    const content = `${HEADER}.${encode(claims)}`;
    return `${content}.${signature(content, secret)}`;
}

/** The claims of a token that the gateway signed and that has not expired, else null. */
export function verify(token, secret) {
    const parts = (token ?? "").split(".");
    if (parts.length !== 3 || parts[0] !== HEADER) return null;
    const expected = Buffer.from(signature(`${parts[0]}.${parts[1]}`, secret));
    const given = Buffer.from(parts[2]);
    if (expected.length !== given.length || !timingSafeEqual(expected, given)) return null;
    const claims = JSON.parse(Buffer.from(parts[1], "base64url").toString());
    return typeof claims.exp === "number" && claims.exp > Date.now() / 1000 ? claims : null;
}
