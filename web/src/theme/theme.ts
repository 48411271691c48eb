import { createStore } from "../client/store";

export type Theme = "system" | "light" | "dark";

const KEPT = "instashare.theme";
const DARK = window.matchMedia("(prefers-color-scheme: dark)");

function kept(): Theme {
    const text = localStorage.getItem(KEPT);
    return text === "light" || text === "dark" ? text : "system";
}

export const theme = createStore<Theme>(kept());

function apply(): void {
    const chosen = theme.get();
    const dark = chosen === "dark" || (chosen === "system" && DARK.matches);
    const root = document.documentElement;
    root.dataset.theme = dark ? "dark" : "light";
    // the bars of the browser and of the installed app follow what was chosen here, not what the device says
    const ground = getComputedStyle(root).getPropertyValue("--surface");
    if (ground) for (const meta of document.querySelectorAll<HTMLMetaElement>('meta[name="theme-color"]')) meta.content = ground;
}

export function setTheme(next: Theme): void {
    if (next === "system") localStorage.removeItem(KEPT);
    else localStorage.setItem(KEPT, next);
    theme.set(next);
    apply();
}

/** Follows the device as long as nothing was chosen, and the other tabs. */
export function followTheme(): void {
    apply();
    DARK.addEventListener("change", apply);
    window.addEventListener("storage", (event) => {
        if (event.key !== KEPT) return;
        theme.set(kept());
        apply();
    });
}
