import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { Config } from "./config";
import type { Database } from "./database.types";

/** The parts that are in the build: what is left out (left_out.ts) is no part of the type. */
export type Client = Omit<SupabaseClient<Database>, "storage" | "realtime" | "functions" | "channel" | "getChannels" | "removeChannel" | "removeAllChannels">;

let client: Client | undefined;
let settings: Config | undefined;

/** Makes the page's one client; everything else asks for it by `supabase()`. */
export function connect(config: Config): Client {
    settings = config;
    client = createClient<Database>(config.supabaseUrl, config.publishableKey, {
        auth: { persistSession: true, autoRefreshToken: true, detectSessionInUrl: true, storageKey: "instashare.session" },
    });
    return client;
}

export function supabase(): Client {
    if (!client) throw new Error("connect() comes first");
    return client;
}

export function config(): Config {
    if (!settings) throw new Error("connect() comes first");
    return settings;
}

/** The access token of now, refreshed when it is due; throws a Fault where nobody is signed in. */
export async function accessToken(): Promise<string> {
    const { data } = await supabase().auth.getSession();
    if (!data.session) throw new Error("signed_out");
    return data.session.access_token;
}
