import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { demo, enter, expect, file, newPerson, type Person, ready, row, sql, stack, test, throttle, upload } from "./stack";

/** Every screen and state, looked at by axe in both themes and three widths; the pictures are for people. */
const PICTURES = process.env.WEB_TEST_PICTURES ?? "../tests/web/pictures";
const WIDTHS = [
    { name: "390", width: 390, height: 844 },
    { name: "768", width: 768, height: 1024 },
    { name: "1440", width: 1440, height: 900 },
];

async function look(page: Page, name: string, settle?: (page: Page) => Promise<void>): Promise<void> {
    mkdirSync(PICTURES, { recursive: true });
    for (const theme of ["light", "dark"] as const) {
        for (const size of WIDTHS) {
            // a quick look while developing: one light and wide, one dark and narrow
            if (process.env.WEB_TEST_QUICK && size.name !== (theme === "light" ? "1440" : "390")) continue;
            await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
            await page.setViewportSize(size);
            await settle?.(page);
            await page.evaluate(() => document.fonts.ready.then(() => undefined));
            await expect(page.locator("html")).toHaveAttribute("data-theme", theme);
            await page.screenshot({ path: `${PICTURES}/${name}-${theme}-${size.name}.png` });
            const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
            const told = violations.map(
                (one) =>
                    `${one.id}: ${one.help} (${one.nodes
                        .map((node) => node.target.join(" "))
                        .slice(0, 3)
                        .join("; ")})`,
            );
            expect.soft(told, `${name} ${theme} ${size.name}`).toEqual([]);
            const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
            expect.soft(overflow, `${name} ${theme} ${size.name} scrolls sideways`).toBeLessThanOrEqual(0);
        }
    }
}

const NAMES = [
    "Contrato de arrendamiento – Peñalver 2026.pdf",
    "Site walkthrough, north entrance.mp4",
    "Q3 board pack (final).pptx",
    "Übersicht Förderanträge.xlsx",
    "Passport scan – María José.jpg",
    "Employment agreement – countersigned by everybody.docx",
    "Invoice 2026-1184.pdf",
    "Brand photography – autumn selects.tiff",
    "Payroll export October.csv",
    "Old drawings archive.zip",
];

test.describe.configure({ timeout: 240_000 });

test("screens of the entry", async ({ page }) => {
    for (const [path, heading] of [
        ["sign-in", "Sign in"],
        ["sign-up", "Create your account"],
        ["reset", "Reset your password"],
        ["new-password#error=access_denied&error_code=otp_expired", "This link does not work any more"],
    ] as const) {
        await page.goto("about:blank");
        await page.goto(`${stack.web_url}/${path}`);
        await expect(page.getByRole("heading", { name: heading })).toBeVisible();
        await look(page, `entry-${path.split("#")[0]}`);
    }
    await page.goto(`${stack.web_url}/sign-in`);
    await page.getByLabel("E-mail address").fill("nobody@example.org");
    await page.getByLabel("Password", { exact: true }).fill("wrong password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.getByText("The address or the password is not right.").first()).toBeVisible();
    await look(page, "entry-refused");
    await page.goto(`${stack.web_url}/reset`);
    await page.getByLabel("E-mail address").fill("nobody@example.org");
    await page.getByRole("button", { name: "Send the link" }).click();
    await expect(page.getByRole("heading", { name: "Look into your mail" })).toBeVisible();
    await look(page, "entry-reset-sent");
});

test("screens without any content", async ({ page }) => {
    await enter(page, await newPerson());
    for (const [path, words] of [
        ["", "Drop files anywhere"],
        ["shared", "Nobody shares anything with you yet"],
        ["trash", "The trash is empty"],
        ["nowhere", "There is nothing here"],
        ["admin/users", "For administrators"],
    ] as const) {
        await page.goto(`${stack.web_url}/${path}`);
        await expect(page.getByText(words)).toBeVisible();
        await look(page, `empty-${path.replace("/", "-") || "library"}`);
    }
});

async function makeLibrary(page: Page, person: Person): Promise<void> {
    await upload(
        page,
        NAMES.map((name, at) => file(name, 40_000 * (at + 1))),
    );
    for (const name of NAMES) await ready(page, name);
    const id = async (name: string) => (await sql<{ id: string }>("select id from documents where owner_id = $1 and name = $2", person.id, name))[0]?.id ?? "";
    const share = async (name: string, email: string, days: number | null) =>
        person.client.rpc("share_document", {
            document_id: await id(name),
            email,
            ...(days && { expires_at: new Date(Date.now() + days * 86_400_000).toISOString() }),
        });
    for (const email of ["anna.klein@example.org", "jo.reed@example.org", "kim@example.org", "lee@example.org", "max@example.org"]) {
        await share("Übersicht Förderanträge.xlsx", email, 6);
    }
    await share("Employment agreement – countersigned by everybody.docx", "tom.stone@example.org", 8);
    await share("Brand photography – autumn selects.tiff", "anna.klein@example.org", 1);
    await sql(
        "update documents set status = 'failed', error = 'archive_failed: The ZIP could not be written.' where id = $1",
        await id("Passport scan – María José.jpg"),
    );
    await sql("update documents set created_at = now() - interval '3 hours' where id = $1", await id("Invoice 2026-1184.pdf"));
    await sql("update documents set created_at = now() - interval '5 days' where id = $1", await id("Old drawings archive.zip"));
    await sql("update documents set status = 'processing', progress = 0.41 where id = $1", await id("Site walkthrough, north entrance.mp4"));
    await sql("update documents set status = 'queued' where id = $1", await id("Q3 board pack (final).pptx"));
}

test("screens of the library", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await makeLibrary(page, person);
    await page.reload();
    await expect(row(page, "Site walkthrough, north entrance.mp4").getByText("Zipping")).toBeVisible();
    await throttle(page, 300_000);
    await upload(page, [file("Drone footage, roof.mov", 12_000_000)]);
    await expect(row(page, "Drone footage, roof.mov").getByText(/Uploading/)).toBeVisible();
    await look(page, "library");
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.getByRole("checkbox", { name: "Select Übersicht Förderanträge.xlsx" }).click();
    await page.getByRole("checkbox", { name: "Select Employment agreement – countersigned by everybody.docx" }).click();
    await look(page, "library-selected");
    await page.keyboard.press("Escape");
    await row(page, "Invoice 2026-1184.pdf")
        .getByRole("button", { name: /^More for/ })
        .click();
    await page.getByRole("menuitem", { name: "Rename" }).click();
    await look(page, "library-rename");
    await page.keyboard.press("Escape");
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.getByRole("button", { name: "Share Übersicht Förderanträge.xlsx" }).click();
    await expect(page.getByText("jo.reed@example.org")).toBeVisible();
    await look(page, "library-share");
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await look(page, "library-keyboard");
    await page.keyboard.press("Escape");
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.getByLabel("Search by name").fill("no such name");
    await expect(page.getByText("Nothing matches")).toBeVisible();
    await look(page, "library-no-match");
    await page.getByRole("button", { name: "Show all" }).click();
    await page.context().setOffline(true);
    await expect(page.getByText("You are offline.")).toBeVisible();
    await look(page, "library-offline");
    await page.context().setOffline(false);
    await throttle(page, null);
});

test("screens that could not be loaded, and while they load", async ({ page }) => {
    await enter(page, await newPerson());
    await expect(page.getByRole("heading", { name: "Drop files anywhere" })).toBeVisible();
    await page.evaluate(() => {
        for (const key of Object.keys(localStorage)) if (key.startsWith("instashare.library")) localStorage.removeItem(key);
    });
    await page.route("**/rest/v1/documents*", (route) =>
        route.fulfill({ status: 503, headers: { "access-control-allow-origin": "*" }, json: { code: "PGRST000", message: "Database client error" } }),
    );
    await page.reload();
    await expect(page.getByRole("heading", { name: "Your documents could not be loaded." })).toBeVisible();
    await look(page, "library-failed");
    await page.unroute("**/rest/v1/documents*");
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
        release = resolve;
    });
    await page.route("**/rest/v1/documents*", async (route) => {
        await held;
        await route.continue();
    });
    await page.reload();
    await expect(page.getByRole("status", { name: "Loading" })).toBeVisible();
    await look(page, "library-loading");
    release();
    await page.unrouteAll({ behavior: "ignoreErrors" });
});

test("screens of what is shared, deleted, done, and of the account", async ({ page }) => {
    const person = await newPerson();
    const other = await newPerson("Ana", "Almeida");
    await enter(page, person);
    const files = [file("Plan.pdf", 80_000), file("Sketch.png", 60_000), file("Old list.csv", 50_000)];
    await upload(page, files);
    for (const one of files) await ready(page, one.name);
    for (const [name, days] of [
        ["Plan.pdf", null],
        ["Sketch.png", 3],
    ] as const) {
        const [found] = await sql<{ id: string }>("select id from documents where owner_id = $1 and name = $2", person.id, name);
        await person.client.rpc("share_document", {
            document_id: found?.id,
            email: other.email,
            ...(days && { expires_at: new Date(Date.now() + days * 86_400_000).toISOString() }),
        });
    }
    const [old] = await sql<{ id: string }>("select id from documents where owner_id = $1 and name = 'Old list.csv'", person.id);
    await person.client.rpc("delete_document", { document_id: old?.id });
    for (const [path, words] of [
        ["trash", "Old list.csv"],
        ["activity", "Today"],
        ["account", "Profile"],
    ] as const) {
        await page.goto(`${stack.web_url}/${path}`);
        await expect(page.getByText(words).first()).toBeVisible();
        await look(page, path);
    }
    await page.getByRole("button", { name: "Close account" }).click();
    await look(page, "account-close");
    await page.keyboard.press("Escape");
    await page.goto(`${stack.web_url}/trash`);
    await page.getByRole("button", { name: "Delete for good: Old list.csv" }).click();
    await look(page, "trash-purge");
    await page.keyboard.press("Escape");

    const theirs = await page.context().browser()?.newContext();
    if (!theirs) throw new Error("no browser");
    const theirPage = await theirs.newPage();
    await enter(theirPage, other, "/shared");
    await expect(theirPage.getByText("Plan.pdf")).toBeVisible();
    await look(theirPage, "shared");
    await theirs.close();
});

test("screens of the administration", async ({ page }) => {
    await enter(page, await demo("admin"), "/admin/users");
    for (const path of ["users", "jobs", "schedules", "log"]) {
        await page.goto(`${stack.web_url}/admin/${path}`);
        await expect(page.getByRole("table")).toBeVisible();
        await look(page, `admin-${path}`);
    }
    await page.goto(`${stack.web_url}/admin/users`);
    await page.setViewportSize({ width: 1440, height: 900 });
    await page
        .getByRole("button", { name: /^Give the role/ })
        .first()
        .click();
    await look(page, "admin-role");
});

test("screens in Spanish", async ({ browser }) => {
    const context = await browser.newContext({ locale: "es-ES" });
    const page = await context.newPage();
    await page.goto(stack.web_url);
    await expect(page.getByRole("heading", { name: "Iniciar sesión" })).toBeVisible();
    await look(page, "es-entry");
    await enter(page, await demo("admin"));
    for (const [path, heading] of [
        ["", "Biblioteca"],
        ["shared", "Compartido conmigo"],
        ["activity", "Actividad"],
        ["trash", "Papelera"],
        ["account", "Cuenta"],
        ["admin/users", "Usuarios y roles"],
        ["admin/jobs", "Tareas"],
        ["admin/schedules", "Programación"],
        ["admin/log", "Registro"],
    ] as const) {
        await page.goto(`${stack.web_url}/${path}`);
        await expect(page.getByRole("heading", { name: heading, level: 1 })).toBeVisible();
        await expect(page.locator("html")).toHaveAttribute("lang", "es");
        await look(page, `es-${path.replace("/", "-") || "library"}`);
    }
    await context.close();
});
