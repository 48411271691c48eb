// Auth through unmodified supabase-js. Reads its target from stdin, writes what happened to stdout.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(new URL("../clients/package.json", import.meta.url));
const { createClient } = require("@supabase/supabase-js");

const target = JSON.parse(readFileSync(0, "utf8"));
const memory = () => {
    const kept = new Map();
    return {
        getItem: (key) => kept.get(key) ?? null,
        setItem: (key, value) => void kept.set(key, value),
        removeItem: (key) => void kept.delete(key),
    };
};
const client = (options = {}) =>
    createClient(target.url, target.key, { auth: { persistSession: false, autoRefreshToken: false, ...options } });
const code = ({ error }) => error && { code: error.code, status: error.status, name: error.name };
const good = ({ data, error }) => {
    if (error) throw new Error(`${error.code} ${error.message}`);
    return data;
};

const flows = {
    // what a web client does in a day
    async day({ email, password }) {
        const supabase = client();
        const { user, session } = good(await supabase.auth.signUp({ email, password, options: { data: { first_name: "Ana" } } }));
        const { claims } = good(await supabase.auth.getClaims());
        const read = good(await supabase.auth.getUser()).user;
        const renamed = good(await supabase.auth.updateUser({ data: { first_name: "Eva" } })).user;
        const refreshed = good(await supabase.auth.refreshSession()).session;
        const duplicate = code(await client().auth.signUp({ email, password }));
        const weak = code(await client().auth.signUp({ email: `2${email}`, password: "123" }));
        const wrong = code(await client().auth.signInWithPassword({ email, password: "wrong" }));
        const anonymous = code(await client().auth.signInAnonymously());
        const settled = await supabase.auth.signOut();
        const out = code(await supabase.auth.getUser(refreshed.access_token));
        return {
            ids: [user.id, claims.sub, read.id],
            metadata: [user.user_metadata.first_name, renamed.user_metadata.first_name],
            claims,
            rotated: session.refresh_token !== refreshed.refresh_token,
            duplicate,
            weak,
            wrong,
            anonymous,
            signedOut: settled.error === null,
            out,
        };
    },

    // many tabs wake at once
    async refreshes({ email, password }) {
        const { session } = good(await client().auth.signInWithPassword({ email, password }));
        const tabs = await Promise.all(
            Array.from({ length: 5 }, () => client().auth.refreshSession({ refresh_token: session.refresh_token })),
        );
        const tokens = tabs.map((tab) => good(tab).session.refresh_token);
        const next = good(await client().auth.refreshSession({ refresh_token: tokens[4] })).session;
        return { tokens: [...new Set(tokens)].length, next: Boolean(next) };
    },

    // a mailed link that comes back with a code (PKCE), as mobile and server-side clients ask for it
    async askByPkce({ email, redirect }) {
        const storage = memory();
        const supabase = client({ flowType: "pkce", persistSession: true, storage, storageKey: "t" });
        good(await supabase.auth.resetPasswordForEmail(email, { redirectTo: redirect }));
        return { verifier: storage.getItem("t-code-verifier") };
    },
    async exchange({ pkceCode, verifier }) {
        const storage = memory();
        storage.setItem("t-code-verifier", verifier);
        const supabase = client({ flowType: "pkce", persistSession: true, storage, storageKey: "t" });
        const { session } = good(await supabase.auth.exchangeCodeForSession(pkceCode));
        return { email: session.user.email, sub: good(await supabase.auth.getClaims()).claims.sub, id: session.user.id };
    },

    async admin({ email, password }) {
        const { auth } = createClient(target.url, target.secret, { auth: { persistSession: false } });
        const { user } = good(await auth.admin.createUser({ email, password, email_confirm: true, user_metadata: { first_name: "Ana" } }));
        const { session } = good(await client().auth.signInWithPassword({ email, password }));
        const listed = good(await auth.admin.listUsers({ page: 1, perPage: 1 }));
        const changed = good(await auth.admin.updateUserById(user.id, { app_metadata: { plan: "pro" } })).user;
        const { properties } = good(await auth.admin.generateLink({ type: "recovery", email }));
        good(await auth.admin.signOut(session.access_token, "global"));
        const out = code(await client().auth.refreshSession({ refresh_token: session.refresh_token }));
        good(await auth.admin.deleteUser(user.id));
        const gone = code(await auth.admin.getUserById(user.id));
        return { total: listed.total, newest: listed.users[0].id === user.id, plan: changed.app_metadata.plan, link: properties.action_link, out, gone };
    },
};

process.stdout.write(JSON.stringify(await flows[target.flow](target)));
