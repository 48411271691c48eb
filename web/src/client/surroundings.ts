import { useSyncExternalStore } from "react";

export type Width = "phone" | "tablet" | "desktop";

const PHONE = window.matchMedia("(width <= 640px)");
const TABLET = window.matchMedia("(width <= 1100px)");

function watchWidth(changed: () => void) {
    PHONE.addEventListener("change", changed);
    TABLET.addEventListener("change", changed);
    return () => {
        PHONE.removeEventListener("change", changed);
        TABLET.removeEventListener("change", changed);
    };
}

/** Which of the three layouts there is room for. */
export function useWidth(): Width {
    return useSyncExternalStore(watchWidth, () => (PHONE.matches ? "phone" : TABLET.matches ? "tablet" : "desktop"));
}

function watchNetwork(changed: () => void) {
    window.addEventListener("online", changed);
    window.addEventListener("offline", changed);
    return () => {
        window.removeEventListener("online", changed);
        window.removeEventListener("offline", changed);
    };
}

export function useOnline(): boolean {
    return useSyncExternalStore(watchNetwork, () => navigator.onLine);
}
