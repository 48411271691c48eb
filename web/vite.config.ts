import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import preact from "@preact/preset-vite";
import { defineConfig, type Plugin } from "vite";

/** In development the page's settings come from the environment (`instashare up --dev` sets it), built they are a file of the stack. */
function settingsOfStack(): Plugin {
    return {
        name: "instashare-config",
        configureServer(server) {
            server.middlewares.use("/config.json", (_request, response) => {
                response.setHeader("Content-Type", "application/json");
                response.setHeader("Cache-Control", "no-cache");
                response.end(process.env.INSTASHARE_CONFIG ?? "{}");
            });
            server.middlewares.use("/mails", (_request, response) => {
                response.setHeader("Content-Type", "text/html; charset=utf-8");
                response.end(listMails(process.env.INSTASHARE_MAILS ?? ""));
            });
        },
    };
}

interface Mail {
    to: string;
    subject: string;
    text: string;
}

/** The mails that Auth would have sent, the newest first, with their links to click. */
function listMails(folder: string): string {
    const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
    const mails = files
        .sort()
        .reverse()
        .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as Mail);
    const safe = (text: string) => text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
    const linked = (text: string) =>
        text
            .split(/(https?:\/\/[^\s<>"]+)/)
            .map((part, at) => (at % 2 === 1 ? `<a href="${safe(part)}">${safe(part)}</a>` : safe(part)))
            .join("");
    const body = mails.map((mail) => `<h2>${safe(mail.subject)}</h2><p>${safe(mail.to)}</p><pre>${linked(mail.text)}</pre>`).join("");
    return `<!doctype html><meta charset="utf-8"><title>Caught mails</title><h1>Caught mails</h1>${body || "<p>No mail was sent.</p>"}`;
}

// who imports it, and what: see src/client/left_out.ts
const LEFT_OUT: [from: RegExp, what: RegExp][] = [
    [/[\\/]@supabase[\\/]supabase-js[\\/]/, /^@supabase\/(realtime|functions|storage)-js$/],
    [/[\\/]@supabase[\\/]auth-js[\\/]/, /\/(webauthn|ethereum)$/],
];

/** Replaces the parts of supabase-js that nobody here calls. */
function leaveOut(): Plugin {
    return {
        name: "instashare-left-out",
        apply: "build",
        enforce: "pre",
        resolveId(source, importer) {
            const unused = LEFT_OUT.some(([from, what]) => importer !== undefined && from.test(importer) && what.test(source));
            return unused ? join(import.meta.dirname, "src/client/left_out.ts") : null;
        },
    };
}

/** Tells the service worker every file of this build: screens that were never opened work without a network, too. */
function listOfShell(): Plugin {
    return {
        name: "instashare-shell",
        apply: "build",
        writeBundle({ dir = "dist" }, bundle) {
            const assets = Object.keys(bundle)
                .filter((name) => name.startsWith("assets/"))
                .map((name) => `/${name}`)
                .sort();
            const worker = join(dir, "sw.js");
            const text = readFileSync(worker, "utf8");
            const version = createHash("sha256").update(assets.join("\n")).digest("hex").slice(0, 12);
            writeFileSync(worker, text.replace('"unbuilt"', `"${version}"`).replace("const ASSETS = [];", `const ASSETS = ${JSON.stringify(assets)};`));
        },
    };
}

export default defineConfig({
    plugins: [preact({ devToolsEnabled: false, prefreshEnabled: true }), settingsOfStack(), leaveOut(), listOfShell()],
    css: {
        modules: { localsConvention: "camelCaseOnly" },
        preprocessorOptions: { scss: { loadPaths: ["src/theme"] } },
    },
    build: { target: "es2023", sourcemap: false, assetsInlineLimit: 0, reportCompressedSize: false },
    server: { host: "127.0.0.1", strictPort: true },
});
