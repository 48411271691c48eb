// A request made ready for lite: what it would do wrong is mended where that is plain, and refused where it is not.

import { AsyncLocalStorage } from "node:async_hooks";
import { problem, unsupported } from "./problems.mjs";
import { holdsUnsafeNumber } from "./values.mjs";

const BASE = "http://127.0.0.1/rest/v1";
// what lite reads; neither a token nor an API key is among it
const PASSED = ["accept", "accept-profile", "content-profile", "content-type", "prefer", "range", "range-unit"];

/** The request being answered: whose it is (`claims`), and what went wrong in the database (`error`). */
export const currentRequest = new AsyncLocalStorage();

/** Tells lite whose request it is, so that it reads no token by itself. */
export async function introduce(context, next) {
    const { claims } = currentRequest.getStore();
    context.set("ignoreAuthorization", true);
    context.set("apiKeyType", claims.role === "service_role" ? "secret" : "publishable");
    context.set("jwt", claims);
    if (claims.sub !== undefined) context.set("userId", claims.sub);
    await next();
}

/** The request as lite is to see it, or the Response that refuses it. */
export async function prepare(request, database) {
    const { pathname, search, searchParams } = new URL(request.url);
    if (pathname === "/") return unsupported("The description of the schema");
    const headers = new Headers();
    for (const name of PASSED) {
        const value = request.headers.get(name);
        if (value !== null) headers.set(name, value);
    }
    const text = request.method === "GET" || request.method === "HEAD" ? "" : await request.text();
    const refusal = refuse(request.method, pathname, headers, searchParams, database);
    if (refusal) return refusal;
    const body = readBody(text, headers, searchParams, pathname, database);
    if (body instanceof Response) return body;
    return new Request(BASE + pathname + search, { method: request.method, headers, body: body || undefined });
}

function refuse(method, pathname, headers, query, database) {
    const prefer = headers.get("prefer") ?? "";
    // lite checks no grants of its own for these, and compares keys in ways of its own
    if (method === "PUT" || /resolution=/.test(prefer) || query.has("on_conflict")) return unsupported("Upserting");
    if (/tx=/.test(prefer)) return unsupported("Prefer: tx");
    if (/missing=/.test(prefer)) return unsupported("Prefer: missing");
    if (comparesUnsafe(pathname, query, database)) return unsupported("A filter by a whole number beyond 2^53");
    if (/vnd\.pgrst\.plan/.test(headers.get("accept") ?? "")) return unsupported("The plan of a query");
    return null;
}

function readBody(text, headers, query, pathname, database) {
    const type = (headers.get("content-type") ?? "application/json").split(";")[0].trim();
    if (!text) return text;
    if (type !== "application/json") return unsupported(`A body of type ${type.slice(0, 80)}`);
    let body;
    try {
        body = JSON.parse(text);
    } catch {
        return problem(400, "PGRST102", "Empty or invalid json");
    }
    if (holdsUnsafeNumber(text)) {
        return problem(400, "not_supported_locally", "The body holds a number of more digits than this machine's fallback REST can keep.", null, "Put PostgREST 12 or newer on PATH.");
    }
    const called = /^\/rpc\/([^/]+)$/.exec(pathname)?.[1];
    const rows = Array.isArray(body) ? body : [body];
    if (called !== undefined) {
        if (!isObject(body)) return unsupported("Calling a function without named arguments");
        quote([body], (name) => database.takesJson(called, name));
        return JSON.stringify(body);
    }
    if (!rows.every(isObject)) return problem(400, "PGRST102", "Empty or invalid json");
    const alike = (one) => Object.keys(one).sort().join("\0");
    if (!query.has("columns") && rows.some((one) => alike(one) !== alike(rows[0]))) {
        return problem(400, "PGRST102", "All object keys must match"); // PostgREST's words; lite would fill in nulls
    }
    const table = pathname.slice(1);
    quote(rows, (name) => database.keepsJson(table, name));
    quote(rows, (name) => database.keepsJson(table, name)); // lite parses a column's text once by itself
    return JSON.stringify(body);
}

/** lite takes a string in a JSON argument or column for the JSON text itself. */
function quote(rows, isJson) {
    for (const row of rows) {
        for (const [name, value] of Object.entries(row)) {
            if (typeof value === "string" && isJson(name)) row[name] = JSON.stringify(value);
        }
    }
}

/** Whether a filter compares a column of whole numbers with one that lite would round. */
function comparesUnsafe(pathname, query, database) {
    return [...query].some(
        ([name, value]) =>
            (value.match(/\d{16,}/g) ?? []).some((digits) => !Number.isSafeInteger(Number(digits))) &&
            (/^(not\.)?(or|and)$/.test(name) || database.counts(pathname.slice(1), name)),
    );
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
