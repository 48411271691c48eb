// Opens storage_page.mjs on an origin of its own in Chromium, hands it its target and prints what it has seen.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const here = import.meta.dirname;
const require = createRequire(new URL("../clients/package.json", import.meta.url));
const { build } = require("esbuild");
const { chromium } = require("playwright-core");

const target = JSON.parse(readFileSync(0, "utf8"));
const { outputFiles } = await build({
    entryPoints: [`${here}/storage_page.mjs`],
    bundle: true,
    format: "esm",
    write: false,
    nodePaths: [`${here}/../clients/node_modules`],
});
const server = createServer((request, response) => {
    const script = request.url === "/page.js";
    response.setHeader("content-type", script ? "text/javascript" : "text/html");
    response.end(script ? outputFiles[0].contents : '<!doctype html><script type="module" src="/page.js"></script>');
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const browser = await chromium.launch({ executablePath: target.chromium, args: ["--no-sandbox"] });
try {
    const page = await browser.newPage();
    page.on("console", (message) => message.type() === "error" && console.error(message.text()));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.waitForFunction(() => "runPage" in globalThis);
    process.stdout.write(JSON.stringify(await page.evaluate((given) => globalThis.runPage(given), target)));
} finally {
    await browser.close();
    server.close();
}
