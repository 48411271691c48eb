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
        },
    };
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
