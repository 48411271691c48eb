import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { createClient } from "@supabase/supabase-js";
import { english } from "../src/text/en";
import { demo, enter, expect, file, newAddress, newPerson, READY_WITHIN, ready, row, sql, stack, test, throttle, unzip, upload } from "./stack";

async function signIn(page: Page, email: string, password: string): Promise<void> {
    await page.getByLabel("E-mail address").fill(email);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
}

/** The link of a mail, as a person finds it on the page of the caught ones. */
async function mailLink(page: Page, to: string, subject: RegExp): Promise<string> {
    const mails = await page.context().newPage();
    try {
        const heading = mails.locator("h2", { hasText: subject }).filter({ has: mails.locator(`xpath=following-sibling::p[1][contains(., "${to}")]`) });
        await expect(async () => {
            await mails.goto(`${stack.web_url}/mails`);
            await expect(heading.first()).toBeVisible({ timeout: 100 });
        }).toPass({ timeout: 30_000 });
        const link = await heading.first().locator("xpath=following-sibling::pre[1]//a").first().getAttribute("href");
        if (!link) throw new Error("the mail has no link");
        return link;
    } finally {
        await mails.close();
    }
}

async function signOut(page: Page): Promise<void> {
    await page.getByRole("link", { name: /^Account/ }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
}

async function signUp(page: Page, email: string): Promise<void> {
    await page.goto(`${stack.web_url}/sign-up`);
    await page.getByLabel("First name").fill("Nora");
    await page.getByLabel("E-mail address").fill(email);
    await page.getByLabel("New password").fill("first password");
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByRole("heading", { name: "Confirm your address" })).toBeVisible();
    await expect(page.getByRole("link", { name: "Open the local mailbox" })).toHaveAttribute("href", "/mails");
}

test("1 sign up, confirm, sign in, sign out, reset the password", async ({ page }) => {
    const email = newAddress("nora");
    await page.goto(`${stack.web_url}/sign-up`);
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByText("Enter your e-mail address.")).toBeVisible();
    await signUp(page, email);

    await page.goto(stack.web_url);
    await signIn(page, email, "first password");
    await expect(page.getByText("Confirm your address first").first()).toBeVisible();

    await page.goto(await mailLink(page, email, /onfirm/));
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();
    await signOut(page);

    await page.getByRole("link", { name: "Forgot your password?" }).click();
    await page.getByLabel("E-mail address").fill(email);
    await page.getByRole("button", { name: "Send the link" }).click();
    await expect(page.getByRole("heading", { name: "Check your inbox" })).toBeVisible();
    const link = await mailLink(page, email, /eset|ecover|assword/);
    await page.goto(link);
    await page.getByLabel("New password").fill("second password");
    await page.getByRole("button", { name: "Set password" }).click();
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();

    await signOut(page);
    await signIn(page, email, "first password");
    await expect(page.getByText("The e-mail address or password isn’t right.").first()).toBeVisible();
    await signIn(page, email, "second password");
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();

    await page.goto(link);
    await expect(page.getByRole("heading", { name: "This link no longer works" })).toBeVisible();
    await page.getByRole("link", { name: "Go to your library" }).click();
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();
});

test("a confirmation that is too old is sent again from the sign-in", async ({ page }) => {
    const email = newAddress("olga");
    await signUp(page, email);
    const link = await mailLink(page, email, /onfirm/);
    await sql("update auth.users set confirmation_sent_at = now() - interval '2 days' where email = $1", email);
    await page.goto(link);
    await expect(page.getByRole("heading", { name: "This link no longer works" })).toBeVisible();
    await page.getByRole("link", { name: "Back to sign in" }).click();
    await signIn(page, email, "first password");
    await page.getByRole("button", { name: "Send it again" }).click();
    await expect(page.getByText("Sent again.").first()).toBeVisible();
    const fresh = await mailLink(page, email, /onfirm/);
    expect(fresh).not.toBe(link);
    await page.goto(fresh);
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();
});

test("an address changes once both mailboxes agree", async ({ page }) => {
    const person = await newPerson();
    const wanted = newAddress("moved");
    await enter(page, person, "/account");
    await page.getByLabel("New e-mail address").fill(wanted);
    await page.getByRole("button", { name: "Change address" }).click();
    await expect(page.getByText(english.account.emailSent(wanted)).first()).toBeVisible();
    await page.goto(await mailLink(page, person.email, /hange/));
    await expect(page.getByRole("heading", { name: "One more link" })).toBeVisible();
    await page.goto(await mailLink(page, wanted, /hange/));
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();
    await signOut(page);
    await signIn(page, wanted, person.password);
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();
});

test("2 twenty files go from the picker to Ready", async ({ page }) => {
    await enter(page, await newPerson());
    await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
    const files = Array.from({ length: 20 }, (_, at) => file(`Report ${String(at + 1).padStart(2, "0")}.pdf`, 30_000 + at * 1000));
    await upload(page, files);
    await expect(page.getByRole("grid")).toHaveAttribute("aria-rowcount", "21");
    for (const one of files) {
        await row(page, one.name).scrollIntoViewIfNeeded();
        await ready(page, one.name);
    }
    await expect(page.getByText("20 files uploaded", { exact: true })).toBeVisible();
    await page.evaluate(() => window.scrollTo(0, 0));
    const shown = await page
        .getByRole("row")
        .locator("[title]")
        .evaluateAll((names) => names.map((name) => name.getAttribute("title") ?? "").filter((name) => name.startsWith("Report")));
    expect(shown).toEqual([...shown].sort());
});

/** How far the server is with an upload, as this browser has noted it. */
async function stored(page: Page, name: string): Promise<number> {
    return (await kept(page)).find((one) => one.name === name)?.offset ?? 0;
}

/** What this browser keeps of uploads. */
async function kept(page: Page): Promise<{ name: string; offset: number; uploadUrl: string | null }[]> {
    return page.evaluate(
        () =>
            new Promise<{ name: string; offset: number; uploadUrl: string | null }[]>((resolve, reject) => {
                const opening = indexedDB.open("instashare");
                opening.onerror = () => reject(opening.error);
                opening.onsuccess = () => {
                    const all = opening.result.transaction("uploads").objectStore("uploads").getAll();
                    all.onsuccess = () => {
                        opening.result.close();
                        resolve(all.result);
                    };
                };
            }),
    );
}

/** Where the parts of uploads begin that are sent from now on. */
function watchOffsets(page: Page): number[] {
    const offsets: number[] = [];
    page.on("request", (request) => {
        if (request.method() === "PATCH" && request.url().includes("/upload/resumable")) offsets.push(Number(request.headers()["upload-offset"]));
    });
    return offsets;
}

test("3 an upload goes on past zero after a reload; a large one asks for its file", async ({ page }) => {
    page.on("dialog", (dialog) => void dialog.accept());
    await enter(page, await newPerson());
    const folder = mkdtempSync(join(tmpdir(), "instashare-web-"));
    const large = join(folder, "Large film.mp4");
    writeFileSync(large, file("large", 51_000_000).buffer);
    const small = join(folder, "Small film.mp4");
    writeFileSync(small, file("small", 20_000_000).buffer);
    try {
        await throttle(page, 6_000_000);
        await upload(page, [small, large]);
        await expect.poll(() => stored(page, "Small film.mp4")).toBeGreaterThan(0);
        await expect.poll(() => stored(page, "Large film.mp4")).toBeGreaterThan(0);
        await throttle(page, null);
        const offsets = watchOffsets(page);
        await page.reload();
        await ready(page, "Small film.mp4");
        expect(Math.min(...offsets)).toBeGreaterThan(0);

        await expect(row(page, "Large film.mp4").getByText(/Choose the file to continue from \d+/)).toBeVisible();
        offsets.length = 0;
        const choosing = page.waitForEvent("filechooser");
        await page.getByRole("button", { name: "Choose Large film.mp4" }).first().click();
        await (await choosing).setFiles(large);
        await ready(page, "Large film.mp4");
        expect(Math.min(...offsets)).toBeGreaterThan(0);
    } finally {
        rmSync(folder, { recursive: true });
    }
});

test("4 ten seconds offline: the upload waits and goes on by itself", async ({ page, context }) => {
    await enter(page, await newPerson());
    await throttle(page, 4_000_000);
    await upload(page, [file("Long talk.wav", 20_000_000)]);
    await expect(row(page, "Long talk.wav").getByText(/[1-9][\d.]* of 20/)).toBeVisible();
    await expect.poll(() => stored(page, "Long talk.wav")).toBeGreaterThan(0);
    await context.setOffline(true);
    await expect(row(page, "Long talk.wav").getByText("Waiting for network")).toBeVisible();
    await expect(page.getByText("You’re offline.").first()).toBeVisible();
    // the ten seconds are the journey
    await page.waitForTimeout(10_000);
    const offsets = watchOffsets(page);
    await throttle(page, null);
    await context.setOffline(false);
    await ready(page, "Long talk.wav");
    expect(Math.min(...offsets)).toBeGreaterThan(0);
});

test("5 the token expires in mid-file: it is refreshed and the upload goes on", async ({ page }) => {
    await enter(page, await newPerson());
    let patches = 0;
    let refreshes = 0;
    const tokens = new Set<string>();
    page.on("request", (request) => {
        if (request.url().includes("grant_type=refresh_token")) refreshes++;
    });
    await page.route("**/upload/resumable/**", async (route) => {
        if (route.request().method() === "PATCH") {
            tokens.add(route.request().headers().authorization ?? "");
            // what Storage answers to an expired token
            if (++patches === 2) {
                return route.fulfill({
                    status: 400,
                    headers: { "access-control-allow-origin": "*" },
                    json: { statusCode: "403", error: "Unauthorized", message: '"exp" claim timestamp check failed' },
                });
            }
        }
        return route.continue();
    });
    await upload(page, [file("Minutes.docx", 13_000_000)]);
    await ready(page, "Minutes.docx");
    expect(refreshes).toBe(1);
    expect(tokens.size).toBeGreaterThan(1);
});

test("6 too large or no room is refused with the reason; an empty file works", async ({ page }) => {
    const person = await newPerson();
    const folder = mkdtempSync(join(tmpdir(), "instashare-web-"));
    try {
        await enter(page, person);
        await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
        // without a byte on the disk: nothing of it is read
        const large = join(folder, "Too large.iso");
        writeFileSync(large, "");
        truncateSync(large, 5_000_000_001);
        const uploads: string[] = [];
        page.on("request", (request) => {
            if (request.url().includes("/storage/v1/")) uploads.push(request.url());
        });
        await upload(page, [large]);
        const tray = page.getByRole("region", { name: "Uploads" });
        await expect(tray.getByText("Larger than the 5 GB limit. Not uploaded.")).toBeVisible();
        expect(uploads).toEqual([]);
        await upload(page, [file("Fits.txt", 90_000), file("Empty.txt", 0)]);
        await ready(page, "Fits.txt");
        await ready(page, "Empty.txt");
        await expect(page.getByRole("grid")).toHaveAttribute("aria-rowcount", "3");

        // as if the library held 99.99994 GB
        await sql("update private.library_sizes set counted_bytes = 100000000000 - 60000 where owner_id = $1", person.id);
        uploads.length = 0;
        await upload(page, [file("No room.txt", 80_000)]);
        await expect(tray.getByText("Not enough room: 60 KB left. Not uploaded.")).toBeVisible();
        expect(uploads).toEqual([]);
        await expect(page.getByRole("grid")).toHaveAttribute("aria-rowcount", "3");
    } finally {
        rmSync(folder, { recursive: true });
    }
});

test("7 the same file twice gives two documents", async ({ page }) => {
    await enter(page, await newPerson());
    await upload(page, [file("Twin.pdf"), file("Twin.pdf")]);
    await expect(row(page, "Twin.pdf")).toHaveCount(2);
    await expect(row(page, "Twin.pdf").getByText("Ready", { exact: true })).toHaveCount(2, { timeout: READY_WITHIN });
});

test("8 a rename is shown at once; a server's error rolls it back", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await upload(page, [file("Draft.pdf")]);
    await ready(page, "Draft.pdf");
    const rename = async (to: string) => {
        await page.getByRole("button", { name: /^More for/ }).click();
        await page.getByRole("menuitem", { name: "Rename" }).click();
        await page.getByLabel(/^New name of/).fill(to);
        await page.keyboard.press("Enter");
    };
    await rename("año ñ 日本");
    await expect(row(page, "año ñ 日本.pdf")).toBeVisible();
    await expect
        .poll(async () => (await sql<{ name: string }>("select name from documents where owner_id = $1 and name = $2", person.id, "año ñ 日本.pdf")).length)
        .toBe(1);
    await page.route("**/documents/*", (route) => (route.request().method() === "PATCH" ? route.abort() : route.continue()));
    await rename("Never");
    await expect(page.getByText(/“año ñ 日本.pdf” keeps its name/).first()).toBeVisible();
    await expect(row(page, "año ñ 日本.pdf")).toBeVisible();
    await page.unroute("**/documents/*");
    await rename("CON");
    await expect(page.getByText(/reserved by Windows/).first()).toBeVisible();
    await expect(row(page, "año ñ 日本.pdf")).toBeVisible();
});

test("9 the download is a ZIP of the very bytes", async ({ page }) => {
    await enter(page, await newPerson());
    const given = file("Señal – 信号.bin", 3_000_000);
    await upload(page, [given]);
    await ready(page, given.name);
    const downloading = page.waitForEvent("download");
    await page.getByRole("button", { name: `Download ${given.name}`, exact: true }).click();
    const download = await downloading;
    expect(download.suggestedFilename()).toBe(`${given.name}.zip`);
    const entry = unzip(await download.path());
    expect(entry.name).toBe(given.name);
    expect(entry.bytes.equals(given.buffer)).toBe(true);
});

async function shareWith(page: Page, name: string, email: string): Promise<void> {
    await page.getByRole("button", { name: `Share ${name}`, exact: true }).click();
    await page.getByLabel("E-mail addresses").fill(email);
    await page.getByRole("dialog").getByRole("button", { name: "Share", exact: true }).click();
    await expect(page.getByRole("dialog").getByText(email)).toBeVisible();
}

test("10 the recipient downloads; after the removal he is refused", async ({ page, browser }) => {
    const owner = await newPerson();
    const recipient = await newPerson("Rita", "Ruiz");
    await enter(page, owner);
    const given = file("Plan.pdf", 200_000);
    await upload(page, [given]);
    await ready(page, given.name);
    await shareWith(page, given.name, recipient.email);

    const theirs = await (await browser.newContext()).newPage();
    await enter(theirs, recipient, "/shared");
    await expect(theirs.getByText("Marta Ferrer")).toBeVisible();
    const downloading = theirs.waitForEvent("download");
    await theirs.getByRole("button", { name: "Download Plan.pdf" }).click();
    expect(unzip(await (await downloading).path()).bytes.equals(given.buffer)).toBe(true);

    await page.getByRole("button", { name: `Remove the access of ${recipient.email}` }).click();
    await expect(page.getByText(`${recipient.email} no longer has access.`).first()).toBeVisible();
    await expect(page.getByRole("dialog").getByText("Only you", { exact: true })).toBeVisible();
    await theirs.getByRole("button", { name: "Download Plan.pdf" }).click();
    await expect(theirs.getByText(english.fault.document_not_found ?? "").first()).toBeVisible();
    await expect(theirs.getByText("Nothing is shared with you yet")).toBeVisible();
    await theirs.context().close();
});

test("11 a share ends by its date", async ({ page, browser }) => {
    const owner = await newPerson();
    const recipient = await newPerson("Rita", "Ruiz");
    await enter(page, owner);
    await upload(page, [file("Offer.pdf")]);
    await ready(page, "Offer.pdf");
    await page.getByRole("button", { name: "Share Offer.pdf", exact: true }).click();
    await page.getByLabel("E-mail addresses").fill(recipient.email);
    await page.getByLabel("Access ends").selectOption("1");
    await page.getByRole("dialog").getByRole("button", { name: "Share", exact: true }).click();
    await expect(page.getByRole("dialog").getByText(/^Until/)).toBeVisible();
    await page.keyboard.press("Escape");
    await expect(row(page, "Offer.pdf").getByText(/Share expires tomorrow/)).toBeVisible();

    const theirs = await (await browser.newContext()).newPage();
    await enter(theirs, recipient, "/shared");
    await expect(theirs.getByText("Offer.pdf")).toBeVisible();
    await sql("update document_shares set expires_at = now() - interval '1 second' where user_id = $1", recipient.id);
    await theirs.getByRole("button", { name: "Download Offer.pdf" }).click();
    await expect(theirs.getByText("Nothing is shared with you yet")).toBeVisible();
    await theirs.context().close();
});

test("12 deleting can be undone; the trash gives back and removes for good", async ({ page }) => {
    await enter(page, await newPerson());
    await upload(page, [file("One.pdf"), file("Two.pdf")]);
    await ready(page, "One.pdf");
    await ready(page, "Two.pdf");
    await page.getByRole("checkbox", { name: "Select One.pdf" }).click();
    await page.getByRole("checkbox", { name: "Select Two.pdf" }).click();
    await page.getByRole("toolbar").getByRole("button", { name: "Delete" }).click();
    await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
    await page.getByRole("button", { name: "Undo" }).click();
    await expect(row(page, "One.pdf")).toBeVisible();
    await expect(row(page, "Two.pdf")).toBeVisible();

    await row(page, "One.pdf")
        .getByRole("button", { name: /^More for/ })
        .click();
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await expect(page.getByText("“One.pdf” moved to the trash.").first()).toBeVisible();
    await page.getByRole("link", { name: "Trash" }).click();
    await page.getByRole("button", { name: "Restore One.pdf" }).click();
    await expect(page.getByText("The trash is empty")).toBeVisible();
    await page.getByRole("link", { name: /^Library/ }).click();
    await ready(page, "One.pdf");

    await row(page, "Two.pdf")
        .getByRole("button", { name: /^More for/ })
        .click();
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await page.getByRole("link", { name: "Trash" }).click();
    await page.getByRole("button", { name: "Delete for good: Two.pdf" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete for good" }).click();
    await expect(page.getByText("The trash is empty")).toBeVisible({ timeout: READY_WITHIN });
});

test("13 a failed document says why and can be retried", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await upload(page, [file("Broken.pdf")]);
    await ready(page, "Broken.pdf");
    await sql("update documents set status = 'failed', error = 'archive_failed: The ZIP could not be written.' where owner_id = $1", person.id);
    await page.reload();
    await expect(row(page, "Broken.pdf").getByText("Zip failed")).toBeVisible();
    await expect(row(page, "Broken.pdf").getByText("The ZIP could not be written.")).toBeVisible();
    await page.getByRole("button", { name: /^Failed/ }).click();
    await expect(row(page, "Broken.pdf")).toBeVisible();
    await page.getByRole("button", { name: "Retry Broken.pdf" }).click();
    await page.getByRole("button", { name: "All", exact: true }).click();
    await ready(page, "Broken.pdf");
});

test("14 an administrator changes a role, runs a schedule and sees its job; a member is refused", async ({ page, browser }) => {
    const member = await newPerson("Mia", "Moreno");
    await enter(page, await demo("admin"), "/admin/users");
    await page.getByLabel("Search people").fill(member.email);
    await page.getByRole("button", { name: `Give the role Viewer to ${member.email}` }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Give role" }).click();
    await expect(page.getByRole("button", { name: `Take the role Viewer from ${member.email}` })).toBeVisible();

    await page.getByRole("link", { name: "Schedules" }).click();
    await expect(page.getByText(/^Every minute/)).toBeVisible();
    await page.getByRole("button", { name: "Run now Prune history and logs" }).click();
    await expect(page.getByText("“Prune history and logs” is starting.").first()).toBeVisible();
    await page.getByRole("link", { name: "Jobs" }).click();
    await expect(page.getByRole("row", { name: /Prune history and logs/ }).first()).toContainText("Done");

    await page.getByRole("link", { name: "Log", exact: true }).click();
    await page.getByLabel("Event").selectOption("role_granted");
    await expect(page.getByText(`Viewer · ${member.email}`)).toBeVisible();

    const theirs = await (await browser.newContext()).newPage();
    await enter(theirs, member, "/admin/users");
    await expect(theirs.getByRole("heading", { name: "For administrators only" })).toBeVisible();
    const { error } = await member.client.rpc("admin_grant_role", { user_id: member.id, role_name: "admin" });
    expect(error?.details).toBe("not_allowed");
    expect((await member.client.from("admin_users").select("*")).data).toEqual([]);
    await theirs.context().close();
});

test("15 everything by the keyboard; files shared by another app are taken in", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
    await expect(page.getByRole("button", { name: "Upload files" }).first()).toBeVisible();
    const choosing = page.waitForEvent("filechooser");
    await page.keyboard.press("u");
    await (await choosing).setFiles([file("Alpha.pdf"), file("Beta.pdf"), file("Gamma.pdf")]);
    for (const name of ["Alpha.pdf", "Beta.pdf", "Gamma.pdf"]) await ready(page, name);

    await page.keyboard.press("ArrowDown");
    await expect(row(page, "Alpha.pdf")).toBeFocused();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("F2");
    await expect(page.getByLabel("New name of Beta.pdf")).toBeFocused();
    await page.keyboard.type("Second");
    await page.keyboard.press("Enter");
    await expect(row(page, "Second.pdf")).toBeFocused();
    await page.keyboard.press("Space");
    await page.keyboard.press("Shift+ArrowDown");
    await expect(page.getByText("2 selected")).toBeVisible();
    await page.keyboard.press("Escape");
    const downloading = page.waitForEvent("download");
    await page.keyboard.press("Enter");
    expect((await downloading).suggestedFilename()).toBe("Gamma.pdf.zip");
    await page.keyboard.press("s");
    await expect(page.getByRole("dialog")).toBeVisible();
    await expect(page.getByLabel("E-mail addresses")).toBeFocused();
    await page.keyboard.press("Escape");
    await expect(row(page, "Gamma.pdf")).toBeFocused();
    await page.keyboard.press("Delete");
    await expect(row(page, "Gamma.pdf")).toHaveCount(0);
    await expect(row(page, "Second.pdf")).toBeFocused();
    await page.keyboard.press("/");
    await page.keyboard.type("alpha");
    await expect(row(page, "Second.pdf")).toHaveCount(0);
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await expect(page.getByRole("heading", { name: "Keyboard" })).toBeVisible();
    await page.keyboard.press("Escape");

    expect(await share(page, ["Shared note.txt"])).toContain("shared=1");
    await page.goto(`${stack.web_url}/?shared=1`);
    await ready(page, "Shared note.txt");
    await expect(row(page, "Shared note.txt")).toHaveCount(1);
    await expect(page).toHaveURL(`${stack.web_url}/`);
});

/** Hands files over as the system would post them; answers where it would go then (a form with files fails under Playwright). */
async function share(page: Page, names: string[]): Promise<string> {
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    return page.evaluate(async (given) => {
        const form = new FormData();
        for (const name of given) form.append("files", new File([`bytes of ${name}`], name, { type: "text/plain" }));
        return (await fetch("/share-target", { method: "POST", body: form })).url;
    }, names);
}

test("files shared while nobody is signed in wait for the sign-in", async ({ page }) => {
    const person = await newPerson();
    await page.goto(stack.web_url);
    await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
    expect(await share(page, ["Note.txt", "Photo.txt"])).toContain("shared=2");
    await page.goto(`${stack.web_url}/?shared=2`);
    await expect(page.getByText("Sign in, and the 2 shared files are uploaded.").first()).toBeVisible();
    await signIn(page, person.email, person.password);
    await ready(page, "Note.txt");
    await ready(page, "Photo.txt");
    await page.reload();
    await ready(page, "Note.txt");
    await expect(page.getByRole("grid")).toHaveAttribute("aria-rowcount", "3");
});

test("an installed app opens without a network and shows what it knew", async ({ page, context }) => {
    await enter(page, await newPerson());
    await upload(page, [file("Kept.pdf")]);
    await ready(page, "Kept.pdf");
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
    await page.reload();
    await ready(page, "Kept.pdf");
    await context.setOffline(true);
    await page.reload();
    await expect(page.getByText("You’re offline.").first()).toBeVisible();
    await expect(row(page, "Kept.pdf")).toBeVisible();
    await expect(page.getByRole("button", { name: "Download Kept.pdf", exact: true })).toBeDisabled();
    // what is added now waits, and survives another visit
    await upload(page, [file("Added offline.pdf")]);
    const tray = page.getByRole("region", { name: "Uploads" });
    await expect(tray.getByText("Waiting for network").first()).toBeVisible();
    await expect.poll(async () => (await kept(page)).map((one) => one.name)).toEqual(["Added offline.pdf"]);
    await page.reload();
    await expect(tray.getByText("Waiting for network").first()).toBeVisible();
    await context.setOffline(false);
    await ready(page, "Added offline.pdf");
});

test("two tabs never send the same upload, and the second goes on when the first is closed", async ({ page, context }) => {
    await enter(page, await newPerson());
    await throttle(page, 2_000_000);
    await upload(page, [file("Shared work.bin", 20_000_000)]);
    await expect.poll(() => stored(page, "Shared work.bin")).toBeGreaterThan(0);
    const second = await context.newPage();
    const offsets = watchOffsets(second);
    await second.goto(stack.web_url);
    await expect(row(second, "Shared work.bin").getByText("Uploading in another tab")).toBeVisible();
    expect(offsets).toEqual([]);
    await page.close({ runBeforeUnload: false });
    await ready(second, "Shared work.bin");
    expect(Math.min(...offsets)).toBeGreaterThan(0);
});

test("cancelling an upload removes its row and its bytes", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await throttle(page, 1_000_000);
    await upload(page, [file("Mistake.bin", 10_000_000)]);
    await row(page, "Mistake.bin").getByRole("button", { name: "Pause Mistake.bin" }).click();
    await expect(row(page, "Mistake.bin").getByText(/Paused/)).toBeVisible();
    await row(page, "Mistake.bin").getByRole("button", { name: "Cancel Mistake.bin" }).click();
    await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
    await expect.poll(async () => (await sql("select 1 from documents where owner_id = $1", person.id)).length, { timeout: READY_WITHIN }).toBe(0);
    expect(await kept(page)).toEqual([]);
});

test("an upload that the server has lost can be started again", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await throttle(page, 4_000_000);
    await upload(page, [file("Lost.bin", 20_000_000)]);
    await expect.poll(() => stored(page, "Lost.bin")).toBeGreaterThan(0);
    await row(page, "Lost.bin").getByRole("button", { name: "Pause Lost.bin" }).click();
    await expect(row(page, "Lost.bin").getByText(/Paused/)).toBeVisible();
    const [{ uploadUrl } = { uploadUrl: null }] = await kept(page);
    const { data } = await person.client.auth.getSession();
    const headers = { Authorization: `Bearer ${data.session?.access_token}`, "Tus-Resumable": "1.0.0" };
    await expect(async () => expect((await fetch(uploadUrl ?? "", { method: "DELETE", headers })).status).toBe(204)).toPass({ timeout: 30_000 });
    await throttle(page, null);
    await row(page, "Lost.bin").getByRole("button", { name: "Resume Lost.bin" }).click();
    await expect(row(page, "Lost.bin").getByText(english.upload.vanished)).toBeVisible();
    await row(page, "Lost.bin").getByRole("button", { name: "Start again Lost.bin" }).click();
    await ready(page, "Lost.bin");
});

test("a token that is stale at the first question after a reload does not begin from zero", async ({ page }) => {
    page.on("dialog", (dialog) => void dialog.accept());
    await enter(page, await newPerson());
    await throttle(page, 4_000_000);
    await upload(page, [file("Stale.bin", 20_000_000)]);
    await expect.poll(() => stored(page, "Stale.bin")).toBeGreaterThan(0);
    await throttle(page, null);
    let heads = 0;
    await page.route("**/upload/resumable/**", (route) =>
        // without a body nobody can tell an expired token from a refusal
        route.request().method() === "HEAD" && ++heads === 1
            ? route.fulfill({ status: 400, headers: { "access-control-allow-origin": "*" } })
            : route.continue(),
    );
    const offsets = watchOffsets(page);
    const refreshed = page.waitForRequest((request) => request.url().includes("grant_type=refresh_token"));
    await page.reload();
    await refreshed;
    await ready(page, "Stale.bin");
    expect(heads).toBe(2);
    expect(Math.min(...offsets)).toBeGreaterThan(0);
});

test("a device that slept goes on: its connection is dead and its token too old", async ({ page }) => {
    await page.clock.install();
    await enter(page, await newPerson());
    let patches = 0;
    let hanging = false;
    await page.route("**/upload/resumable/**", async (route) => {
        if (route.request().method() === "PATCH" && ++patches === 2) {
            hanging = true; // and nobody will ever answer
            return;
        }
        await route.continue();
    });
    await upload(page, [file("Slept.bin", 13_000_000)]);
    await expect.poll(() => hanging).toBe(true);
    const refreshed = page.waitForRequest((request) => request.url().includes("grant_type=refresh_token"));
    await page.clock.fastForward("02:00:00");
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await refreshed;
    await ready(page, "Slept.bin");
});

test("sign-out stops uploads and leaves nothing of a person in the browser", async ({ page }) => {
    await enter(page, await newPerson());
    await throttle(page, 1_000_000);
    await upload(page, [file("Private.bin", 10_000_000)]);
    await expect(row(page, "Private.bin").getByText("Uploading")).toBeVisible();
    await signOut(page);
    expect(await kept(page)).toEqual([]);
    const names = await page.evaluate(() => Object.keys(localStorage));
    expect(names.filter((name) => /library|profile|session/.test(name))).toEqual([]);
});

/** The names in the order in which the library shows them, scrolled from its top to its end. */
async function sequence(page: Page, count: number): Promise<string[]> {
    const seen = new Map<number, string>();
    await page.evaluate(() => window.scrollTo(0, 0));
    await expect(async () => {
        const shown = await page
            .getByRole("row")
            .locator("[title]")
            .evaluateAll((all) =>
                all.map((one) => [Number(one.closest("[role=row]")?.getAttribute("aria-rowindex")), one.getAttribute("title") ?? ""] as const),
            );
        for (const [index, name] of shown) if (name.startsWith("Report")) seen.set(index, name);
        await page.evaluate(() => window.scrollBy(0, 400));
        expect(seen.size).toBe(count);
    }).toPass({ timeout: 60_000, intervals: [50] });
    return [...seen].sort(([a], [b]) => a - b).map(([, name]) => name);
}

test("the library sorts by its columns, page after page, and stays so", async ({ page }) => {
    const person = await newPerson();
    const count = 120;
    const given = Array.from({ length: count }, (_, at) => ({
        name: `Report ${at % 7}, "${at}".pdf`,
        size_bytes: (at * 7919) % 1000,
        mime_type: "application/pdf",
    }));
    const { error } = await person.client.from("documents").insert(given);
    expect(error).toBeNull();
    await sql("update documents set created_at = created_at - (size_bytes || ' hours')::interval where owner_id = $1", person.id);
    await sql(
        "update documents set status = 'failed', error = 'archive_failed: The ZIP could not be written.' where owner_id = $1 and size_bytes % 3 = 0",
        person.id,
    );
    const wanted = async (order: string, where = "true") =>
        (await sql<{ name: string }>(`select name from documents where owner_id = $1 and ${where} order by ${order}`, person.id)).map((one) => one.name);

    await enter(page, person);
    const shows = async (order: string, where?: string) => {
        const names = await wanted(order, where);
        await expect(row(page, names[0] ?? "")).toHaveAttribute("aria-rowindex", "2");
        expect(await sequence(page, names.length)).toEqual(names);
        await page.evaluate(() => window.scrollTo(0, 0));
    };
    const head = (title: string) => page.getByRole("columnheader", { name: title });
    await expect(head("Added")).toHaveAttribute("aria-sort", "descending");
    await shows("created_at desc, id desc");
    for (const [title, directions] of [
        ["Name", { ascending: "name, id", descending: "name desc, id desc" }],
        ["Size", { descending: "size_bytes desc, id desc", ascending: "size_bytes, id" }],
        ["Status", { ascending: "status, created_at desc, id desc", descending: "status desc, created_at desc, id desc" }],
    ] as const) {
        for (const [direction, order] of Object.entries(directions)) {
            await head(title).getByRole("button").click();
            await expect(head(title)).toHaveAttribute("aria-sort", direction);
            await expect(page.locator("[aria-sort]")).toHaveCount(1);
            await shows(order);
        }
    }
    // within a filter and a search too
    await page.getByRole("button", { name: /^Failed/ }).click();
    await page.getByLabel("Search by name").fill("REPORT 3");
    await shows("status desc, created_at desc, id desc", "status = 'failed' and name ilike '%report 3%'");
    await page.getByLabel("Search by name").fill("");
    await page.getByRole("button", { name: "All", exact: true }).click();

    await page.setViewportSize({ width: 390, height: 844 });
    await page.getByLabel("Sort", { exact: true }).selectOption("name.asc");
    const names = await wanted("name, id");
    await expect(row(page, names[0] ?? "")).toHaveAttribute("aria-rowindex", "2");
    await page.reload();
    await expect(row(page, names[0] ?? "")).toHaveAttribute("aria-rowindex", "2");
    await expect(page.getByLabel("Sort", { exact: true })).toHaveValue("name.asc");
});

test("files are pasted; folders are dropped, flattened and said so", async ({ page }) => {
    await enter(page, await newPerson());
    await expect(page.getByRole("button", { name: "Upload files" }).first()).toBeVisible();
    await page.evaluate(() => {
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File(["pasted bytes"], "Pasted.png", { type: "image/png" }));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    });
    await ready(page, "Pasted.png");

    const folder = mkdtempSync(join(tmpdir(), "instashare-web-"));
    try {
        const holiday = join(folder, "Holiday");
        mkdirSync(join(holiday, "Deeper"), { recursive: true });
        writeFileSync(join(holiday, "Beach.txt"), "beach");
        writeFileSync(join(holiday, "Deeper", "Hill.txt"), "hill");
        writeFileSync(join(holiday, ".DS_Store"), "no document");
        const session = await page.context().newCDPSession(page);
        const data = { items: [], files: [holiday], dragOperationsMask: 1 };
        for (const type of ["dragEnter", "dragOver", "drop"] as const) await session.send("Input.dispatchDragEvent", { type, x: 700, y: 500, data });
        await expect(page.getByText("2 files from folders. Only the files are kept, not the folders.").first()).toBeVisible();
        await ready(page, "Beach.txt");
        await ready(page, "Hill.txt");
        await expect(page.getByRole("grid")).toHaveAttribute("aria-rowcount", "4");
    } finally {
        rmSync(folder, { recursive: true });
    }
});

test("nothing of the administration answers a member, and nothing at all answers nobody", async () => {
    const member = await newPerson();
    const views = await sql<{ name: string }>(
        "select table_name as name from information_schema.views where table_schema = 'public' and table_name like 'admin\\_%'",
    );
    expect(views.length).toBeGreaterThan(4);
    for (const { name } of views) {
        const { data, error } = await member.client.from(name).select("*").limit(5);
        expect(error ? [] : data, name).toEqual([]);
    }
    const functions = await sql<{ name: string; parameters: string[] | null }>(
        "select proname as name, proargnames[1:pronargs] as parameters from pg_proc where pronamespace = 'public'::regnamespace",
    );
    const used = new Set(
        readdirSync("src", { recursive: true, encoding: "utf8" })
            .filter((name) => /\.tsx?$/.test(name))
            .flatMap((name) => [...readFileSync(join("src", name), "utf8").matchAll(/rpc\("(\w+)"/g)].map((found) => found[1])),
    );
    expect([...used].filter((name) => !functions.some((one) => one.name === name))).toEqual([]);
    const nobody = createClient(stack.supabase_url, stack.publishable_key, { auth: { persistSession: false } });
    for (const { name, parameters } of functions.filter((one) => used.has(one.name) || one.name.startsWith("admin_"))) {
        const none = Object.fromEntries((parameters ?? []).map((parameter) => [parameter, null]));
        const unknown = await nobody.rpc(name, none);
        expect([401, 403, 404], `${name} as nobody: ${JSON.stringify(unknown)}`).toContain(unknown.status);
        if (!name.startsWith("admin_")) continue;
        const refused = await member.client.rpc(name, none);
        expect(refused.status, `${name} as a member: ${JSON.stringify(refused)}`).toBe(403);
    }
});
