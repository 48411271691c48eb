import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test as base, expect, type Page } from "@playwright/test";
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import pg from "pg";

/** The running stack, as `instashare status --json` tells of it; addresses must be confirmed there. */
interface Stack {
    web_url: string;
    supabase_url: string;
    backend_url: string;
    publishable_key: string;
    secret_key: string;
    admin_database_url: string;
    demo_users: { email: string; password: string; role: string }[];
}

export const stack: Stack = JSON.parse(readFileSync(process.env.WEB_TEST_STACK ?? "/dev/null", "utf8"));
export interface Person {
    id: string;
    email: string;
    password: string;
    client: SupabaseClient;
    session: string;
}

const apart = { auth: { persistSession: false, autoRefreshToken: false } };
let number = 0;

/** An address that nobody else of this run has; tests run beside each other. */
export const newAddress = (name: string) => `${name.toLowerCase()}.${process.pid.toString(36)}.${Date.now().toString(36)}${number++}@example.org`;

/** Somebody new with a confirmed address, signed in. */
export async function newPerson(first = "Marta", last = "Ferrer"): Promise<Person> {
    const email = newAddress(first);
    const password = "correct horse battery";
    const operator = createClient(stack.supabase_url, stack.secret_key, apart);
    const { error } = await operator.auth.admin.createUser({ email, password, email_confirm: true, user_metadata: { first_name: first, last_name: last } });
    if (error) throw error;
    return signIn(email, password);
}

/** One of the demo users, signed in. */
export async function demo(role: string): Promise<Person> {
    const user = stack.demo_users.find((one) => one.role === role);
    if (!user) throw new Error(`no demo user is ${role}`);
    return signIn(user.email, user.password);
}

async function signIn(email: string, password: string): Promise<Person> {
    const client = createClient(stack.supabase_url, stack.publishable_key, apart);
    const { data, error } = await client.auth.signInWithPassword({ email, password });
    if (error) throw error;
    return { id: data.user.id, email, password, client, session: JSON.stringify(data.session) };
}

/** Opens a page as somebody who is signed in already. */
export async function enter(page: Page, person: Person, path = "/"): Promise<void> {
    await page.addInitScript((session) => {
        if (!sessionStorage.getItem("entered")) localStorage.setItem("instashare.session", session);
        sessionStorage.setItem("entered", "1");
    }, person.session);
    await page.goto(stack.web_url + path);
}

export async function sql<T extends pg.QueryResultRow>(text: string, ...values: unknown[]): Promise<T[]> {
    const client = new pg.Client({ connectionString: stack.admin_database_url });
    await client.connect();
    try {
        return (await client.query<T>(text, values)).rows;
    } finally {
        await client.end();
    }
}

export interface Given {
    name: string;
    mimeType: string;
    buffer: Buffer;
}

export function file(name: string, size = 20_000, seed = name): Given {
    const buffer = Buffer.alloc(size);
    for (let at = 0, state = seed.length * 7919 + 1; at < size; at++) {
        state = (state * 1103515245 + 12345) & 0x7fffffff;
        buffer[at] = state >> 16;
    }
    return { name, mimeType: "application/octet-stream", buffer };
}

export async function upload(page: Page, files: Given[] | string[]): Promise<void> {
    const choosing = page.waitForEvent("filechooser");
    await page.getByRole("button", { name: "Upload files" }).first().click();
    await (await choosing).setFiles(files as Given[]);
}

export const row = (page: Page, name: string) => page.getByRole("row").filter({ has: page.locator(`[title=${JSON.stringify(name)}]`) });

/** A deadline, not an expectation: on a busy machine a ZIP waits its turn. */
export const READY_WITHIN = 60_000;

export async function ready(page: Page, name: string): Promise<void> {
    await expect(row(page, name).getByText("Ready", { exact: true })).toBeVisible({ timeout: READY_WITHIN });
}

/** Slows the page's network down, in bytes a second; null: as fast as it is. */
export async function throttle(page: Page, bytesASecond: number | null): Promise<void> {
    const session = await page.context().newCDPSession(page);
    await session.send("Network.emulateNetworkConditions", {
        offline: false,
        latency: 0,
        downloadThroughput: -1,
        uploadThroughput: bytesASecond ?? -1,
    });
}

/** The one entry of a ZIP: its name and bytes, read by another implementation than ours. */
export function unzip(path: string): { name: string; bytes: Buffer } {
    const code =
        "import sys,zipfile,base64,json; z=zipfile.ZipFile(sys.argv[1]); n,=z.namelist(); print(json.dumps([n, base64.b64encode(z.read(n)).decode()]))";
    const told = execFileSync(process.env.WEB_TEST_PYTHON ?? "python3", ["-c", code, path], { maxBuffer: 1 << 28 });
    const [name, bytes] = JSON.parse(told.toString()) as [string, string];
    return { name, bytes: Buffer.from(bytes, "base64") };
}

/** A page that fails its test when it throws, or when it asks for something that its policy forbids. */
export const test = base.extend({
    page: async ({ page }, use) => {
        const faults: string[] = [];
        page.on("pageerror", (error) => faults.push(error.message));
        page.on("console", (message) => {
            if (message.type() === "error" && !/Failed to load resource/.test(message.text())) faults.push(message.text());
        });
        // from the beginning: a picker that opens before the browser was told to intercept it is never heard of
        page.on("filechooser", () => undefined);
        await use(page);
        expect(faults).toEqual([]);
    },
});

export { expect };
