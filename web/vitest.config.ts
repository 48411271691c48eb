import { defineConfig, mergeConfig } from "vitest/config";
import vite from "./vite.config.ts";

// a file that needs a page says so in its first line; the others begin five times as fast
const test = { include: ["unit/**/*.test.{ts,tsx}"], environment: "node", setupFiles: ["unit/setup.ts"], testTimeout: 30_000, hookTimeout: 30_000 };
export default mergeConfig(vite, defineConfig({ test }));
