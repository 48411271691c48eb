import { existsSync, readdirSync, readFileSync } from "node:fs";
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
                response.setHeader("Content-Type", "text/plain; charset=utf-8");
                response.end(readMails(process.env.INSTASHARE_MAILS ?? ""));
            });
        },
    };
}

/** The mails that Auth would have sent, the newest first. */
function readMails(folder: string): string {
    const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
    const mails = files
        .sort()
        .reverse()
        .map((name) => JSON.parse(readFileSync(`${folder}/${name}`, "utf8")) as { to: string; subject: string; text: string });
    return mails.map((mail) => `To: ${mail.to}\n${mail.subject}\n\n${mail.text}`).join("\n\n----\n\n") || "No mail was sent.";
}

export default defineConfig({
    plugins: [preact({ devToolsEnabled: false, prefreshEnabled: true }), settingsOfStack()],
    css: {
        modules: { localsConvention: "camelCaseOnly" },
        preprocessorOptions: { scss: { loadPaths: ["src/theme"] } },
    },
    build: { target: "es2023", sourcemap: false, assetsInlineLimit: 0, reportCompressedSize: false },
    server: { host: "127.0.0.1", strictPort: true },
});
