import { availableParallelism } from "node:os";
import { defineConfig } from "@playwright/test";

export default defineConfig({
    testDir: "e2e",
    outputDir: process.env.WEB_TEST_OUTPUT ?? "../tests/web/pictures/failures",
    // deadlines, far above what anything takes: the machine may be busy
    timeout: 600_000,
    expect: { timeout: 30_000 },
    workers: Number(process.env.WEB_TEST_WORKERS ?? Math.max(2, Math.min(4, availableParallelism()))),
    fullyParallel: true,
    // A browser on a busy machine is late now and then. Whatever passes only then is named by the tests that started this.
    retries: process.env.WEB_TEST_REPORT ? 1 : 0,
    forbidOnly: true,
    reporter: process.env.WEB_TEST_REPORT ? [["json", { outputFile: process.env.WEB_TEST_REPORT }]] : [["list"]],
    use: {
        viewport: { width: 1440, height: 900 },
        locale: "en-GB",
        timezoneId: "UTC",
        trace: "off",
        screenshot: "only-on-failure",
        acceptDownloads: true,
        launchOptions: {
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
        },
    },
});
