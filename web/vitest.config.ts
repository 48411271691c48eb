import { defineConfig, mergeConfig } from "vitest/config";
import vite from "./vite.config.ts";

export default mergeConfig(vite, defineConfig({ test: { include: ["unit/**/*.test.{ts,tsx}"], environment: "happy-dom", setupFiles: ["unit/setup.ts"] } }));
