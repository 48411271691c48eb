import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { Config } from "./config";
import type { Database } from "./database.types";
import { Fault } from "./faults";

/** The parts that are in the build: what is left out (left_out.ts) is no part of the type. */
export type Client = Omit<SupabaseClient<Database>, "storage" | "realtime" | "functions" | "channel" | "getChannels" | "removeChannel" | "removeAllChannels">;

let client: Client | undefined;
let settings: Config | undefined;

/** Makes the page's one client; everything else asks for it by `supabase()`. */
export function connect(config: Config): Client {
    settings = config;
    client = createClient<Database>(config.supabaseUrl, config.publishableKey, {
        auth: { persistSession: true, autoRefreshToken: true, detectSessionInUrl: true, storageKey: "instashare.session" },
        global: { fetch: fetchInTime },
    });
    return client;
}

/** Nothing of Auth and REST takes this long, in milliseconds: the database itself gives up after 8 s. */
const DEADLINE = 30_000;

/** A connection that died while the device slept may never answer, and what waits for it would wait for ever. */
export function fetchInTime(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
    const late = AbortSignal.timeout(DEADLINE);
    return fetch(input, { ...init, signal: init.signal ? AbortSignal.any([init.signal, late]) : late });
}

export function supabase(): Client {
    if (!client) throw new Error("connect() comes first");
    return client;
}

export function config(): Config {
    if (!settings) throw new Error("connect() comes first");
    return settings;
}

/**
 * The access token of now, refreshed when it is due. Where it could not be refreshed for want of a network that is a Fault
 * `unreachable`: nobody has to sign in again for that; `signed_out` where nobody is signed in.
 */
export async function accessToken(): Promise<string> {
    return tokenOf(await supabase().auth.getSession());
}

/** A new access token, whatever this device's clock says of the old one. */
export async function freshToken(): Promise<string> {
    return tokenOf(await supabase().auth.refreshSession());
}

function tokenOf({ data, error }: { data: { session: { access_token: string } | null }; error: { name: string } | null }): string {
    if (data.session) return data.session.access_token;
    if (error?.name === "AuthRetryableFetchError") throw new Fault("unreachable", "The server cannot be reached.", "", 0);
    throw new Error("signed_out");
}
