import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { confirming, demo, enter, expect, file, newPerson, ready, row, sql, stack, test, throttle, unzip, upload } from "./stack";

async function signIn(page: Page, email: string, password: string): Promise<void> {
    await page.getByLabel("E-mail address").fill(email);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
}

async function mailLink(page: Page, base: string, email: string, subject: RegExp): Promise<string> {
    const mails = await page.context().newPage();
    await mails.goto(`${base}/mails`);
    const heading = mails.locator("h2", { hasText: subject }).filter({ has: mails.locator(`xpath=following-sibling::p[1][contains(., "${email}")]`) });
    const link = await heading.first().locator("xpath=following-sibling::pre[1]//a").first().getAttribute("href");
    await mails.close();
    if (!link) throw new Error("the mail has no link");
    return link;
}

test("1 sign up, confirm, sign in, sign out, reset the password", async ({ page }) => {
    test.skip(confirming === null, "needs a stack started with --confirm-email");
    const base = confirming?.web_url ?? "";
    const email = `new.${Date.now().toString(36)}@example.org`;
    await page.goto(`${base}/sign-up`);
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByText("Enter your e-mail address.")).toBeVisible();
    await page.getByLabel("First name").fill("Nora");
    await page.getByLabel("E-mail address").fill(email);
    await page.getByLabel("New password").fill("first password");
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByRole("heading", { name: "Confirm your address" })).toBeVisible();

    await page.goto(base);
    await signIn(page, email, "first password");
    await expect(page.getByText("Confirm your address first").first()).toBeVisible();

    await page.goto(await mailLink(page, base, email, /onfirm/));
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();
    await page.getByRole("link", { name: /^Account/ }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();

    await page.getByRole("link", { name: "Forgot your password?" }).click();
    await page.getByLabel("E-mail address").fill(email);
    await page.getByRole("button", { name: "Send the link" }).click();
    await expect(page.getByRole("heading", { name: "Look into your mail" })).toBeVisible();
    const link = await mailLink(page, base, email, /eset|ecover|assword/);
    await page.goto(link);
    await page.getByLabel("New password").fill("second password");
    await page.getByRole("button", { name: "Set password" }).click();
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();

    await page.getByRole("link", { name: /^Account/ }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await signIn(page, email, "first password");
    await expect(page.getByText("The address or the password is not right.").first()).toBeVisible();
    await signIn(page, email, "second password");
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();

    await page.goto(link);
    await expect(page.getByRole("heading", { name: /does not work any more|Choose a new password/ })).toBeVisible();
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

test("3 an upload goes on past zero after a reload; a large one asks for its file", async ({ page }) => {
    test.setTimeout(120_000);
    page.on("dialog", (dialog) => void dialog.accept());
    await enter(page, await newPerson());
    const folder = mkdtempSync(join(tmpdir(), "instashare-web-"));
    const large = join(folder, "Large film.mp4");
    writeFileSync(large, file("large", 56_000_000).buffer);
    const small = join(folder, "Small film.mp4");
    writeFileSync(small, file("small", 30_000_000).buffer);
    try {
        await throttle(page, 6_000_000);
        await upload(page, [small, large]);
        const stored = async (name: string) => {
            const offsets = await page.evaluate(
                () =>
                    new Promise<{ name: string; offset: number }[]>((resolve) => {
                        const opening = indexedDB.open("instashare", 1);
                        opening.onsuccess = () => {
                            const all = opening.result.transaction("uploads").objectStore("uploads").getAll();
                            all.onsuccess = () => resolve(all.result.map((one: { name: string; offset: number }) => ({ name: one.name, offset: one.offset })));
                        };
                    }),
            );
            return offsets.find((one) => one.name === name)?.offset ?? 0;
        };
        await expect.poll(() => stored("Small film.mp4"), { timeout: 30_000 }).toBeGreaterThan(0);
        await expect.poll(() => stored("Large film.mp4"), { timeout: 30_000 }).toBeGreaterThan(0);
        await throttle(page, null);
        const patches: number[] = [];
        page.on("request", (request) => {
            if (request.method() === "PATCH" && request.url().includes("/upload/resumable")) patches.push(Number(request.headers()["upload-offset"]));
        });
        await page.reload();
        await ready(page, "Small film.mp4");
        expect(Math.min(...patches)).toBeGreaterThan(0);

        await expect(row(page, "Large film.mp4").getByText(/Choose the file to continue from \d+/)).toBeVisible();
        patches.length = 0;
        const choosing = page.waitForEvent("filechooser");
        await page.getByRole("button", { name: "Choose Large film.mp4" }).first().click();
        await (await choosing).setFiles(large);
        await ready(page, "Large film.mp4");
        expect(Math.min(...patches)).toBeGreaterThan(0);
    } finally {
        rmSync(folder, { recursive: true });
    }
});

test("4 ten seconds offline: the upload waits and goes on by itself", async ({ page, context }) => {
    test.setTimeout(90_000);
    await enter(page, await newPerson());
    await throttle(page, 8_000_000);
    await upload(page, [file("Long talk.wav", 40_000_000)]);
    await expect(row(page, "Long talk.wav").getByText("Uploading")).toBeVisible();
    await expect(row(page, "Long talk.wav").getByText(/[1-9][\d.]* of 40/)).toBeVisible();
    await context.setOffline(true);
    await expect(row(page, "Long talk.wav").getByText("Waiting for network")).toBeVisible();
    await expect(page.getByText("You are offline.")).toBeVisible();
    await page.waitForTimeout(10_000);
    await context.setOffline(false);
    await throttle(page, null);
    await ready(page, "Long talk.wav");
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
    await upload(page, [file("Minutes.docx", 20_000_000)]);
    await ready(page, "Minutes.docx");
    expect(refreshes).toBe(1);
    expect(tokens.size).toBeGreaterThan(1);
});

test("6 too large or no room is refused with the reason; an empty file works", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
    const [before] = await sql<{ file_size_limit_bytes: string; quota_bytes: string }>("select file_size_limit_bytes, quota_bytes from private.settings");
    try {
        await sql("update private.settings set file_size_limit_bytes = 100000, quota_bytes = 150000");
        await upload(page, [file("Too large.iso", 100_001), file("Fits.txt", 90_000), file("No room.txt", 80_000), file("Empty.txt", 0)]);
        const tray = page.getByRole("region", { name: "Uploads" });
        await expect(tray.getByText("Larger than the 100 KB limit, not uploaded.")).toBeVisible();
        await expect(tray.getByText("No room: 60 KB of your space are left. Not uploaded.")).toBeVisible();
        await ready(page, "Fits.txt");
        await ready(page, "Empty.txt");
        await expect(page.getByRole("grid")).toHaveAttribute("aria-rowcount", "3");
    } finally {
        await sql("update private.settings set file_size_limit_bytes = $1, quota_bytes = $2", before?.file_size_limit_bytes, before?.quota_bytes);
    }
});

test("7 the same file twice gives two documents", async ({ page }) => {
    await enter(page, await newPerson());
    await upload(page, [file("Twin.pdf"), file("Twin.pdf")]);
    await expect(row(page, "Twin.pdf")).toHaveCount(2);
    await expect(row(page, "Twin.pdf").getByText("Ready", { exact: true })).toHaveCount(2, { timeout: 45_000 });
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
    await expect(page.getByText(`${recipient.email} has no access any more.`).first()).toBeVisible();
    await expect(page.getByRole("dialog").getByText("Only you", { exact: true })).toBeVisible();
    await theirs.getByRole("button", { name: "Download Plan.pdf" }).click();
    await expect(theirs.getByText(/gone or no longer shared/).first()).toBeVisible();
    await expect(theirs.getByText("Nobody shares anything with you yet")).toBeVisible();
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
    await expect(theirs.getByText("Nobody shares anything with you yet")).toBeVisible();
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
    await expect(page.getByText("“One.pdf” is in the trash.").first()).toBeVisible();
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
    await expect(page.getByText("The trash is empty")).toBeVisible({ timeout: 30_000 });
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
    await expect(page.getByText("“Prune history and logs” is on its way.").first()).toBeVisible();
    await page.getByRole("link", { name: "Jobs" }).click();
    await expect(page.getByRole("row", { name: /Prune history and logs/ }).first()).toContainText("Done");

    await page.getByRole("link", { name: "Log", exact: true }).click();
    await page.getByLabel("Event").selectOption("role_granted");
    await expect(page.getByText(`Gave the role viewer to ${member.email}`)).toBeVisible();

    const theirs = await (await browser.newContext()).newPage();
    await enter(theirs, member, "/admin/users");
    await expect(theirs.getByRole("heading", { name: "For administrators" })).toBeVisible();
    const { error } = await member.client.rpc("admin_grant_role", { user_id: member.id, role_name: "admin" });
    expect(error?.details).toBe("not_allowed");
    expect((await member.client.from("admin_users").select("*")).data).toEqual([]);
    await theirs.context().close();
});

test("15 everything by the keyboard; files shared by another app are taken in", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
    await page.waitForLoadState("networkidle");
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

    // as the system would post it; the answer's redirect is followed by hand
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
    await page.reload();
    const landed = await page.evaluate(async () => {
        const form = new FormData();
        form.append("files", new File(["shared bytes"], "Shared note.txt", { type: "text/plain" }));
        return (await fetch("/share-target", { method: "POST", body: form })).url;
    });
    expect(landed).toContain("shared=1");
    await page.goto(`${stack.web_url}/?shared=1`);
    await ready(page, "Shared note.txt");
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
    await expect(page.getByText("You are offline.")).toBeVisible();
    await expect(row(page, "Kept.pdf")).toBeVisible();
    await expect(page.getByRole("button", { name: "Download Kept.pdf", exact: true })).toBeDisabled();
    await context.setOffline(false);
});

test("two tabs never send the same upload", async ({ page, context }) => {
    await enter(page, await newPerson());
    await throttle(page, 4_000_000);
    await upload(page, [file("Shared work.bin", 30_000_000)]);
    await expect(row(page, "Shared work.bin").getByText("Uploading")).toBeVisible();
    await expect(row(page, "Shared work.bin").getByText(/[1-9][\d.]* of 30/)).toBeVisible();
    const second = await context.newPage();
    await second.goto(stack.web_url);
    await expect(row(second, "Shared work.bin").getByText("Uploading in another tab")).toBeVisible();
    await second.close();
    await throttle(page, null);
    await ready(page, "Shared work.bin");
});

test("cancelling an upload removes its row and its bytes", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await throttle(page, 2_000_000);
    await upload(page, [file("Mistake.bin", 20_000_000)]);
    await row(page, "Mistake.bin").getByRole("button", { name: "Pause Mistake.bin" }).click();
    await expect(row(page, "Mistake.bin").getByText(/Paused/)).toBeVisible();
    await row(page, "Mistake.bin").getByRole("button", { name: "Cancel Mistake.bin" }).click();
    await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
    await expect.poll(async () => (await sql("select 1 from documents where owner_id = $1", person.id)).length, { timeout: 30_000 }).toBe(0);
});
