/**
 * Measures the built client in a browser: `node bench.ts STATUS.json SESSION.json` prints one JSON object of figures.
 * The person of the session has ten thousand documents.
 */
import { readFileSync } from "node:fs";
import { type Browser, chromium, type Page } from "@playwright/test";

const [statusFile = "", sessionFile = ""] = process.argv.slice(2);
const status = JSON.parse(readFileSync(statusFile, "utf8")) as { web_url: string };
const session = readFileSync(sessionFile, "utf8");

interface Pace {
    name: "plain" | "slow";
    cpu: number;
    network: { latency: number; downloadThroughput: number; uploadThroughput: number } | null;
}

// slow 4G as Lighthouse simulates it: 150 ms round trip, 1.6 Mbit/s down, 750 kbit/s up
const PACES: Pace[] = [
    { name: "plain", cpu: 1, network: null },
    { name: "slow", cpu: 4, network: { latency: 150, downloadThroughput: 1_600_000 / 8, uploadThroughput: 750_000 / 8 } },
];

const ROUNDS = 5;
const middle = (all: number[]) => all.sort((a, b) => a - b)[all.length >> 1] ?? 0;

async function open(browser: Browser, pace: Pace): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-GB", serviceWorkers: "block" });
    const page = await context.newPage();
    await page.addInitScript((kept) => {
        localStorage.setItem("instashare.session", kept);
        const seen = { shift: 0, interactions: [] as number[] };
        Object.assign(window, { seen });
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries() as (PerformanceEntry & { value: number; hadRecentInput: boolean })[]) {
                if (!entry.hadRecentInput) seen.shift += entry.value;
            }
        }).observe({ type: "layout-shift", buffered: true });
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries() as (PerformanceEntry & { interactionId?: number })[]) {
                if (entry.interactionId) seen.interactions.push(entry.duration);
            }
        }).observe({ type: "event", buffered: true, durationThreshold: 16 } as PerformanceObserverInit);
    }, session);
    const devtools = await context.newCDPSession(page);
    await devtools.send("Network.enable");
    if (pace.network) await devtools.send("Network.emulateNetworkConditions", { offline: false, ...pace.network });
    await devtools.send("Emulation.setCPUThrottlingRate", { rate: pace.cpu });
    return page;
}

async function firstList(page: Page): Promise<number> {
    await page.goto(status.web_url, { waitUntil: "commit" });
    return page.evaluate(
        () =>
            new Promise<number>((resolve) => {
                const look = () => (document.querySelector("[data-row]") ? resolve(performance.now()) : requestAnimationFrame(look));
                look();
            }),
    );
}

async function scroll(page: Page): Promise<{ p95: number; rows: number }> {
    return page.evaluate(async () => {
        const frames: number[] = [];
        let rows = 0;
        let last = performance.now();
        const end = last + 4000;
        while (performance.now() < end) {
            await new Promise(requestAnimationFrame);
            const now = performance.now();
            frames.push(now - last);
            last = now;
            window.scrollBy(0, 120);
            rows = Math.max(rows, document.querySelectorAll("[data-row]").length);
        }
        frames.sort((a, b) => a - b);
        return { p95: frames[Math.floor(frames.length * 0.95)] ?? 0, rows };
    });
}

async function feedback(page: Page): Promise<number> {
    // from the click on Delete to the frame in which the row is gone
    return page.evaluate(
        () =>
            new Promise<number>((resolve, reject) => {
                const row = document.querySelector<HTMLElement>("[data-row]");
                if (!row) return reject(new Error("no row"));
                const id = row.dataset.row;
                row.focus();
                const from = performance.now();
                row.dispatchEvent(new KeyboardEvent("keydown", { key: "Delete", bubbles: true }));
                const look = () => (document.querySelector(`[data-row="${id}"]`) ? requestAnimationFrame(look) : resolve(performance.now() - from));
                look();
            }),
    );
}

const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ],
});
const figures: Record<string, number> = {};
for (const pace of PACES) {
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
        const page = await open(browser, pace);
        times.push(await firstList(page));
        if (round === ROUNDS - 1) {
            await page.waitForTimeout(1500);
            const scrolled = await scroll(page);
            figures[`${pace.name} frame`] = scrolled.p95;
            figures[`${pace.name} rows`] = scrolled.rows;
            await page.evaluate(() => window.scrollTo(0, 0));
            await page.waitForTimeout(500);
            for (const box of (await page.getByRole("checkbox", { name: /^Select Document/ }).all()).slice(0, 5)) await box.click();
            await page
                .getByRole("button", { name: /^Share Document/ })
                .first()
                .click();
            await page.keyboard.press("Escape");
            // the deletions below are no real input: what they move is no shift that a person would see
            const { shift } = await page.evaluate(() => (window as unknown as { seen: { shift: number } }).seen);
            const deletions: number[] = [];
            for (let at = 0; at < ROUNDS; at++) {
                deletions.push(await feedback(page));
                await page.waitForTimeout(500);
            }
            figures[`${pace.name} feedback`] = middle(deletions);
            const seen = await page.evaluate(() => (window as unknown as { seen: { interactions: number[] } }).seen);
            figures[`${pace.name} shift`] = shift;
            figures[`${pace.name} interaction`] = Math.max(0, ...seen.interactions);
        }
        await page.context().close();
    }
    figures[`${pace.name} list`] = middle(times);
}
await browser.close();
console.log(JSON.stringify(figures));
