import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { createClient } from "@supabase/supabase-js";
import { demo, enter, expect, file, newAddress, newPerson, type Person, ready, row, sql, stack, test, throttle, upload } from "./stack";

/** Every screen and state, looked at by axe in both themes and three widths; the pictures are for people. */
const PICTURES = process.env.WEB_TEST_PICTURES ?? "../tests/web/pictures";
const WIDE = { name: "1440", width: 1440, height: 900 };
const MIDDLE = { name: "768", width: 768, height: 1024 };
const NARROW = { name: "390", width: 390, height: 844 };
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

interface How {
    sizes?: (typeof WIDE)[];
    /** What a change of the width undoes, done again for each picture. */
    settle?(page: Page): Promise<void>;
}

/** Takes the pictures of a state and has axe judge each; nothing scrolls sideways, down to 320 pixels, and no button wraps. */
async function look(page: Page, name: string, { sizes = [NARROW, MIDDLE, WIDE], settle }: How = {}): Promise<void> {
    mkdirSync(PICTURES, { recursive: true });
    for (const theme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
        await expect(page.locator("html")).toHaveAttribute("data-theme", theme);
        for (const size of sizes) {
            // a quick look while developing: one light and wide, one dark and narrow
            if (process.env.WEB_TEST_QUICK && size.name !== (theme === "light" ? "1440" : "390")) continue;
            await page.setViewportSize(size);
            await settle?.(page);
            await page.evaluate(() => document.fonts.ready.then(() => undefined));
            await page.screenshot({ path: `${PICTURES}/${name}-${theme}-${size.name}.png` });
            // in one page: the other mode opens a second one for each judgement
            const { violations } = await new AxeBuilder({ page })
                .setLegacyMode(true)
                .withTags(RULES)
                .options({ resultTypes: ["violations"] })
                .analyze();
            const told = violations.map(
                (one) =>
                    `${one.id}: ${one.help} (${one.nodes
                        .slice(0, 3)
                        .map((node) => node.target.join(" "))
                        .join("; ")})`,
            );
            expect.soft(told, `${name} ${theme} ${size.name}`).toEqual([]);
            expect.soft(await faultsOfLayout(page), `${name} ${theme} ${size.name}`).toEqual([]);
        }
    }
    // 1280 pixels at 400 %, or a small phone
    await page.setViewportSize({ width: 320, height: 568 });
    await settle?.(page);
    expect.soft(await faultsOfLayout(page), `${name} at 320 pixels`).toEqual([]);
    await page.setViewportSize(WIDE);
}

async function faultsOfLayout(page: Page): Promise<string[]> {
    return page.evaluate(() => {
        const faults: string[] = [];
        const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        if (over > 0) faults.push(`scrolls sideways by ${over}`);
        for (const part of document.querySelectorAll<HTMLElement>("dialog[open] *")) {
            if (getComputedStyle(part).overflowX === "auto" && part.scrollWidth > part.clientWidth)
                faults.push(`a dialog scrolls sideways by ${part.scrollWidth - part.clientWidth}`);
        }
        for (const button of document.querySelectorAll<HTMLElement>("button, nav a, [role=menuitem]")) {
            if (!button.checkVisibility() || button.getBoundingClientRect().width < 4) continue;
            for (const text of textsOf(button)) {
                const range = document.createRange();
                range.selectNodeContents(text);
                const lines = new Set([...range.getClientRects()].filter((one) => one.width > 2).map((one) => Math.round(one.top)));
                if (lines.size > 1) faults.push(`wraps: ${button.textContent}`);
            }
        }
        return faults;

        function textsOf(element: HTMLElement): Text[] {
            const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
            const texts: Text[] = [];
            for (let node = walker.nextNode(); node; node = walker.nextNode()) if (node.textContent?.trim()) texts.push(node as Text);
            return texts;
        }
    });
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
const SHARED = "Übersicht Förderanträge.xlsx";

test.describe.configure({ timeout: 600_000 });

async function idOf(person: Person, name: string): Promise<string> {
    return (await sql<{ id: string }>("select id from documents where owner_id = $1 and name = $2", person.id, name))[0]?.id ?? "";
}

async function share(person: Person, name: string, email: string, days: number | null): Promise<void> {
    await person.client.rpc("share_document", {
        document_id: await idOf(person, name),
        email,
        ...(days && { expires_at: new Date(Date.now() + days * 86_400_000).toISOString() }),
    });
}

/** A library with a document in every state that the database knows. */
async function makeLibrary(page: Page, person: Person): Promise<void> {
    await upload(
        page,
        NAMES.map((name, at) => file(name, 40_000 * (at + 1))),
    );
    for (const name of NAMES) await ready(page, name);
    for (const one of ["anna.klein", "jo.reed", "kim", "lee", "max"]) await share(person, SHARED, `${one}@example.org`, 6);
    await share(person, "Employment agreement – countersigned by everybody.docx", "tom.stone@example.org", 8);
    await share(person, "Brand photography – autumn selects.tiff", "anna.klein@example.org", 1);
    const change = async (name: string, what: string) => sql(`update documents set ${what} where id = $1`, await idOf(person, name));
    await change(
        "Passport scan – María José.jpg",
        "status = 'failed', archive_path = null, archive_size_bytes = null, archive_name_revision = null, error = 'archive_failed: The ZIP could not be written.'",
    );
    await change(
        "Payroll export October.csv",
        "status = 'failed', archive_path = null, archive_size_bytes = null, archive_name_revision = null, object_version = null, error = 'upload_abandoned: Too late.'",
    );
    await change("Invoice 2026-1184.pdf", "created_at = now() - interval '3 hours'");
    await change("Old drawings archive.zip", "created_at = now() - interval '5 days'");
    await change(
        "Site walkthrough, north entrance.mp4",
        "status = 'processing', archive_path = null, archive_size_bytes = null, archive_name_revision = null, progress = 0.41",
    );
    await change("Q3 board pack (final).pptx", "status = 'queued', archive_path = null, archive_size_bytes = null, archive_name_revision = null");
    // what another browser of hers began, and never ended
    await person.client.from("documents").insert({ name: "Interview recording.wav", size_bytes: 48_000_000, mime_type: "audio/wav" });
}

test("screens of the entry", async ({ page }) => {
    for (const [path, heading] of [
        ["sign-in", "Sign in"],
        ["sign-up", "Create your account"],
        ["reset", "Reset your password"],
        ["new-password#error=access_denied&error_code=otp_expired", "This link no longer works"],
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
    await expect(page.getByText("The e-mail address or password isn’t right.").first()).toBeVisible();
    await look(page, "entry-refused");
    await page.context().setOffline(true);
    await expect(page.getByText("You’re offline.").first()).toBeVisible();
    await look(page, "entry-offline");
    await page.context().setOffline(false);
});

test("screens of the entry that answer", async ({ page }) => {
    await page.goto(`${stack.web_url}/sign-up`);
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByText("Enter your e-mail address.")).toBeVisible();
    await look(page, "entry-sign-up-missing");
    await page.goto(`${stack.web_url}/reset`);
    await page.getByLabel("E-mail address").fill("nobody@example.org");
    await page.getByRole("button", { name: "Send the link" }).click();
    await expect(page.getByRole("heading", { name: "Check your inbox" })).toBeVisible();
    await look(page, "entry-reset-sent");
    await page.goto(`${stack.web_url}/sign-up`);
    await page.getByLabel("E-mail address").fill(newAddress("marta"));
    await page.getByLabel("New password").fill("correct horse battery");
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByRole("heading", { name: "Confirm your address" })).toBeVisible();
    await look(page, "entry-confirm-sent");
    const { email } = await newPerson();
    const operator = createClient(stack.supabase_url, stack.secret_key, { auth: { persistSession: false } });
    const { data } = await operator.auth.admin.generateLink({ type: "recovery", email, options: { redirectTo: `${stack.web_url}/new-password` } });
    await page.goto(data.properties?.action_link ?? "");
    await expect(page.getByRole("heading", { name: "Choose a new password" })).toBeVisible();
    await look(page, "entry-new-password-form");
});

test("screens without any content", async ({ page }) => {
    await enter(page, await newPerson());
    for (const [path, words] of [
        ["", "Each file becomes a ZIP"],
        ["shared", "Nothing is shared with you yet"],
        ["trash", "The trash is empty"],
        ["nowhere", "There’s nothing here"],
        ["admin/users", "For administrators"],
    ] as const) {
        await page.goto(`${stack.web_url}/${path}`);
        await expect(page.getByText(words)).toBeVisible();
        await look(page, `empty-${path.replace("/", "-") || "library"}`);
    }
});

test("screens of a viewer", async ({ page }) => {
    const person = await newPerson("Vera", "Viewer");
    await sql("delete from user_roles where user_id = $1 and role_id = (select id from roles where name = 'member')", person.id);
    await enter(page, person);
    await expect(page.getByRole("heading", { name: "You have no documents" })).toBeVisible();
    await expect(page.getByRole("button", { name: "Upload files" })).toHaveCount(0);
    await look(page, "empty-viewer");
});

test("screens of the library", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await makeLibrary(page, person);
    await page.reload();
    await expect(row(page, "Site walkthrough, north entrance.mp4").getByText("Zipping")).toBeVisible();
    await expect(row(page, "Interview recording.wav").getByText("Not finished")).toBeVisible();
    await throttle(page, 40_000);
    await upload(page, [
        file("Drone footage, roof.mov", 12_000_000),
        file("Drone footage, garden.mov", 9_000_000),
        file("Plan.dwg", 8_000_000),
        file("Survey.las", 7_000_000),
        file("Section.dwg", 6_000_000),
    ]);
    await expect(row(page, "Plan.dwg").getByText(/Uploading/)).toBeVisible();
    await page.getByRole("button", { name: "Pause Plan.dwg" }).first().click();
    await expect(row(page, "Plan.dwg").getByText(/Paused/)).toBeVisible();
    await expect(row(page, "Survey.las").getByText(/Uploading/)).toBeVisible();
    await expect(row(page, "Section.dwg").getByText("Waiting to upload")).toBeVisible();
    await look(page, "library");
    await look(page, "library-uploads", {
        settle: async () => {
            const show = page.getByRole("button", { name: "Show the uploads" });
            if (await show.isVisible()) await show.click();
        },
    });
    await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
    await look(page, "library-end", { settle: () => page.evaluate(() => window.scrollTo(0, document.body.scrollHeight)) });
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.context().setOffline(true);
    await expect(page.getByText("You’re offline.").first()).toBeVisible();
    await expect(row(page, "Survey.las").getByText("Waiting for network")).toBeVisible();
    await look(page, "library-offline");
    await page.context().setOffline(false);
});

test("what a library opens", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await makeLibrary(page, person);
    await page.reload();
    await page.getByRole("checkbox", { name: `Select ${SHARED}` }).click();
    await page.getByRole("checkbox", { name: "Select Employment agreement – countersigned by everybody.docx" }).click();
    await look(page, "library-selected");
    await page.keyboard.press("Escape");
    const openMenu = async () => {
        await page.keyboard.press("Escape");
        await page.getByRole("button", { name: `More for ${SHARED}` }).click();
        await expect(page.getByRole("menuitem", { name: "Rename" })).toBeVisible();
    };
    await look(page, "library-menu", { settle: openMenu });
    await page.keyboard.press("Escape");
    await look(page, "library-rename", {
        settle: async () => {
            await openMenu();
            await page.getByRole("menuitem", { name: "Rename" }).click();
            await expect(page.getByLabel(`New name of ${SHARED}`)).toBeFocused();
        },
    });
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: `Share ${SHARED}` }).click();
    await expect(page.getByText("jo.reed@example.org")).toBeVisible();
    await look(page, "library-share");
    const addresses = page.getByLabel("E-mail addresses");
    await addresses.fill("ana.almeida@example.org, ");
    await addresses.press("Enter");
    await addresses.fill("not an address");
    await addresses.press("Enter");
    await page.getByLabel("Access ends").selectOption({ label: "On a date" });
    await look(page, "library-share-wrong");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Share Invoice 2026-1184.pdf" }).click();
    await expect(page.getByText("Nobody else can see or download it.")).toBeVisible();
    await look(page, "library-share-nobody");
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await look(page, "library-keyboard");
    await page.keyboard.press("Escape");
    await page.getByLabel("Search by name").fill("no such name");
    await expect(page.getByText("Nothing matches")).toBeVisible();
    await look(page, "library-no-match");
    await page.getByRole("button", { name: "Show all" }).click();
    const files = await page.evaluateHandle(() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(["x"], "x.txt"));
        return transfer;
    });
    await page.dispatchEvent("body", "dragenter", { dataTransfer: files });
    await expect(page.getByText("Drop to upload")).toBeVisible();
    await look(page, "library-drop");
    await page.dispatchEvent("body", "dragleave", { dataTransfer: files });
    // until it is looked at the message with Undo stays: the pointer is over it
    await row(page, "Invoice 2026-1184.pdf").focus();
    await page.keyboard.press("Delete");
    await page.getByText("“Invoice 2026-1184.pdf” moved to the trash.").first().hover();
    await look(page, "library-undo", {
        sizes: [NARROW, MIDDLE, WIDE],
        settle: () => page.getByText("“Invoice 2026-1184.pdf” moved to the trash.").first().hover(),
    });
});

test("screens that could not be loaded, and while they load", async ({ page }) => {
    await enter(page, await demo("admin"));
    await expect(page.getByRole("heading", { name: "Library" })).toBeVisible();
    await page.evaluate(() => {
        for (const key of Object.keys(localStorage)) if (/^instashare\.(library|profile)/.test(key)) localStorage.removeItem(key);
    });
    for (const [path, request, heading] of [
        ["", "documents", "Your documents couldn’t be loaded"],
        ["shared", "shared_with_me", "What others share with you couldn’t be loaded"],
        ["trash", "documents", "The trash couldn’t be loaded"],
        ["activity", "logs", "Your activity couldn’t be loaded"],
        ["admin/users", "admin_users", "This couldn’t be loaded"],
        ["admin/schedules", "scheduled_jobs", "This couldn’t be loaded"],
    ] as const) {
        const name = path.replace("/", "-") || "library";
        await page.route(`**/rest/v1/${request}*`, (route) => route.abort());
        await page.goto(`${stack.web_url}/${path}`);
        await expect(page.getByRole("heading", { name: heading })).toBeVisible();
        await look(page, `failed-${name}`, { sizes: path === "" ? [NARROW, MIDDLE, WIDE] : [NARROW, WIDE] });
        // Goes before the route above, which stays: between the two the page would ask once more, and have an answer.
        let release: () => void = () => undefined;
        const held = new Promise<void>((resolve) => {
            release = resolve;
        });
        await page.route(`**/rest/v1/${request}*`, async (route) => {
            await held;
            await route.continue();
        });
        await page.goto(`${stack.web_url}/${path}`);
        await expect(page.getByRole("status", { name: "Loading" })).toBeVisible();
        await look(page, `loading-${name}`, { sizes: path === "" ? [NARROW, MIDDLE, WIDE] : [NARROW, WIDE] });
        release();
        await page.unrouteAll({ behavior: "ignoreErrors" });
    }
});

test("screens of what is shared, deleted, done, and of the account", async ({ page }) => {
    const person = await newPerson();
    const other = await newPerson("Ana", "Almeida");
    await enter(page, person);
    const files = [
        file("Plan.pdf", 80_000),
        file("Sketch of the north entrance, second version.png", 60_000),
        file("Old list.csv", 50_000),
        file("Draft.docx", 40_000),
    ];
    await upload(page, files);
    for (const one of files) await ready(page, one.name);
    await share(person, "Plan.pdf", other.email, null);
    await share(person, "Sketch of the north entrance, second version.png", other.email, 3);
    for (const name of ["Old list.csv", "Draft.docx"]) await person.client.rpc("delete_document", { document_id: await idOf(person, name) });
    for (const [path, words] of [
        ["trash", "Old list.csv"],
        ["activity", "Today"],
        ["account", "Profile"],
    ] as const) {
        await page.goto(`${stack.web_url}/${path}`);
        await expect(page.getByText(words).first()).toBeVisible();
        await look(page, path);
    }
    await look(page, "account-end", { settle: () => page.evaluate(() => window.scrollTo(0, document.body.scrollHeight)) });
    await page.getByRole("button", { name: "Close account" }).click();
    await look(page, "account-close");
    await page.keyboard.press("Escape");
    await page.goto(`${stack.web_url}/trash`);
    await page.getByRole("button", { name: "Delete for good: Old list.csv" }).click();
    await look(page, "trash-purge");
    await page.keyboard.press("Escape");

    const theirs = await page.context().browser()?.newContext({ locale: "en-GB", timezoneId: "UTC" });
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
    await page
        .getByRole("button", { name: /^Give the role/ })
        .first()
        .click();
    await look(page, "admin-role");
});

test("screens in Spanish", async ({ browser }) => {
    const context = await browser.newContext({ locale: "es-ES" });
    const page = await context.newPage();
    const sizes = [NARROW, WIDE];
    await page.goto(stack.web_url);
    await expect(page.getByRole("heading", { name: "Iniciar sesión" })).toBeVisible();
    await look(page, "es-entry", { sizes });
    await page.goto(`${stack.web_url}/sign-up`);
    await expect(page.getByRole("heading", { name: "Crea tu cuenta" })).toBeVisible();
    await look(page, "es-entry-sign-up", { sizes });
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
        await expect(page.locator("main [aria-busy], main [role=status][aria-label]")).toHaveCount(0);
        await look(page, `es-${path.replace("/", "-") || "library"}`, { sizes });
    }
    await context.close();
});

test("a library in Spanish", async ({ browser }) => {
    const context = await browser.newContext({ locale: "es-ES" });
    const page = await context.newPage();
    const person = await newPerson();
    const english = await browser.newContext({ locale: "en-GB" });
    const maker = await english.newPage();
    await enter(maker, person);
    await makeLibrary(maker, person);
    await english.close();
    await enter(page, person);
    await expect(row(page, SHARED)).toBeVisible();
    await look(page, "es-library-full", { sizes: [NARROW, WIDE] });
    await page.getByRole("button", { name: `Compartir ${SHARED}` }).click();
    await expect(page.getByText("jo.reed@example.org")).toBeVisible();
    await look(page, "es-library-share", { sizes: [NARROW, WIDE] });
    await page.keyboard.press("Escape");
    await page.getByRole("checkbox", { name: `Seleccionar ${SHARED}` }).click();
    await look(page, "es-library-selected", { sizes: [NARROW, WIDE] });
    await context.close();
});

test("forced colours leave every state to be told", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await makeLibrary(page, person);
    await page.reload();
    await page.emulateMedia({ forcedColors: "active" });
    await page.getByRole("checkbox", { name: `Select ${SHARED}` }).click();
    const edge = (selector: string) =>
        page
            .locator(selector)
            .first()
            .evaluate((element) => {
                const { borderTopStyle, borderTopWidth, outlineStyle, outlineWidth } = getComputedStyle(element);
                return (borderTopStyle !== "none" && Number.parseFloat(borderTopWidth) > 0) || (outlineStyle !== "none" && Number.parseFloat(outlineWidth) > 0);
            });
    for (const selector of ["[role=toolbar]", "aside button", "[role=row][aria-selected=true]", "aside a[aria-current=page]", "main search"]) {
        expect.soft(await edge(selector), selector).toBe(true);
    }
    await page.screenshot({ path: `${PICTURES}/forced-colours-selected-1440.png` });
    await page.keyboard.press("Escape");
    expect.soft(await edge("[role=group] button[aria-pressed=true]"), "the chosen filter").toBe(true);
    await page.getByRole("button", { name: `Share ${SHARED}` }).click();
    await expect(page.getByText("jo.reed@example.org")).toBeVisible();
    for (const selector of ["dialog", "dialog form button[type=submit]", "dialog div:has(> select)"]) expect.soft(await edge(selector), selector).toBe(true);
    await page.screenshot({ path: `${PICTURES}/forced-colours-share-1440.png` });
    await page.keyboard.press("Escape");
    await page.setViewportSize(NARROW);
    await page.screenshot({ path: `${PICTURES}/forced-colours-390.png` });
});

test("the keyboard's way, what is read out, and where the focus returns", async ({ page }) => {
    const person = await newPerson();
    await enter(page, person);
    await makeLibrary(page, person);
    await page.reload();
    const grid = page.getByRole("grid", { name: "Library" });
    await expect(grid.getByRole("row")).toHaveCount(NAMES.length + 2);
    await expect(grid).toHaveAttribute("aria-rowcount", String(NAMES.length + 2));
    const indexes = await grid.getByRole("row").evaluateAll((rows) => rows.map((one) => Number(one.getAttribute("aria-rowindex"))));
    expect(indexes).toEqual(indexes.map((_, at) => at + 1));
    await expect(page.locator('[aria-live="polite"]')).toHaveCount(1);
    await expect(page.locator('[aria-live="assertive"]')).toHaveCount(1);
    // every button names its file
    const names = await grid.getByRole("button", { name: /./ }).evaluateAll((all) => all.map((one) => one.getAttribute("aria-label") ?? one.textContent ?? ""));
    const actions = names.filter((name) => !["Name", "Status", "Size", "Added"].includes(name));
    expect(actions.length).toBeGreaterThan(NAMES.length);
    for (const name of actions) expect(name).toMatch(/\.[a-z0-9]{3,4}$/);

    await page.keyboard.press("Tab");
    await expect(page.getByRole("link", { name: "Skip to content" })).toBeFocused();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    await expect(page.getByLabel("Search by name")).toBeFocused();

    const opener = page.getByRole("button", { name: `Share ${SHARED}` });
    await opener.focus();
    await page.keyboard.press("Enter");
    await expect(page.getByLabel("E-mail addresses")).toBeFocused();
    await page.keyboard.press("Escape");
    await expect(opener).toBeFocused();

    const more = page.getByRole("button", { name: `More for ${SHARED}` });
    await more.focus();
    await page.keyboard.press("Enter");
    await expect(page.getByRole("menuitem").first()).toBeFocused();
    await page.keyboard.press("Escape");
    await expect(more).toBeFocused();

    await row(page, SHARED).focus();
    await page.keyboard.press("Delete");
    await expect(row(page, SHARED)).toHaveCount(0);
    await expect(page.locator("[role=row]:focus")).toHaveCount(1);
    await expect(page.locator('[aria-live="polite"]')).toContainText("moved to the trash");
});

test("it can be installed", async ({ page }) => {
    await page.goto(stack.web_url);
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
    const browser = await page.context().newCDPSession(page);
    const { errors, data, url } = await browser.send("Page.getAppManifest");
    expect(errors).toEqual([]);
    expect(url).toBe(`${stack.web_url}/manifest.webmanifest`);
    const manifest = JSON.parse(data ?? "{}") as { icons: { src: string; sizes: string; type: string; purpose?: string }[]; share_target: { action: string } };
    const { installabilityErrors } = await browser.send("Page.getInstallabilityErrors");
    // Playwright's contexts are private ones, which install nothing
    expect(installabilityErrors.filter((one) => one.errorId !== "in-incognito")).toEqual([]);
    for (const icon of manifest.icons) {
        const size = await page.evaluate(async (src) => {
            const image = new Image();
            image.src = src;
            await image.decode();
            return `${image.naturalWidth}x${image.naturalHeight}`;
        }, icon.src);
        if (icon.sizes !== "any") expect(size).toBe(icon.sizes);
    }
    expect(manifest.icons.some((icon) => icon.purpose === "maskable")).toBe(true);
    expect(manifest.share_target.action).toBe("/share-target");
    const colours = () => page.locator('meta[name="theme-color"]').evaluateAll((all) => all.map((one) => (one as HTMLMetaElement).content));
    await page.emulateMedia({ colorScheme: "light" });
    await expect.poll(colours).toEqual(["#fff", "#fff"]);
    await page.emulateMedia({ colorScheme: "dark" });
    await expect.poll(colours).toEqual(["#141a21", "#141a21"]);
});
