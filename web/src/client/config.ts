/** Where this installation's services are. One build serves every stack: the page asks for this file before all else. */
export interface Config {
    supabaseUrl: string;
    publishableKey: string;
    backendUrl: string;
    /** Development only: a page with the mails that would have been sent. */
    mailUrl: string | null;
}

const KEPT = "instashare.config";

declare global {
    interface Window {
        /** The request for `/config.json` that public/start.js began while this script was still on its way. */
        instashareConfig?: Promise<Response>;
    }
}

/** Reads `/config.json`, or what it said last time when the network is away. */
export async function readConfig(): Promise<Config> {
    try {
        const response = await (window.instashareConfig ?? fetch("/config.json", { cache: "no-cache" }));
        if (!response.ok) throw new Error(`config.json: ${response.status}`);
        const config = check(await response.json());
        localStorage.setItem(KEPT, JSON.stringify(config));
        return config;
    } catch (fault) {
        const kept = localStorage.getItem(KEPT);
        if (kept && !navigator.onLine) return check(JSON.parse(kept));
        throw fault;
    }
}

function check(value: unknown): Config {
    const told = (value ?? {}) as Partial<Record<keyof Config, unknown>>;
    for (const name of ["supabaseUrl", "publishableKey", "backendUrl"] as const) {
        if (typeof told[name] !== "string" || told[name] === "") throw new Error(`config.json lacks ${name}`);
    }
    return {
        supabaseUrl: String(told.supabaseUrl).replace(/\/$/, ""),
        publishableKey: String(told.publishableKey),
        backendUrl: String(told.backendUrl).replace(/\/$/, ""),
        mailUrl: typeof told.mailUrl === "string" ? told.mailUrl : null,
    };
}
