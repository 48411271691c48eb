import { createRoot } from "react-dom/client";
import "./theme/base.scss";
import { watchSession } from "./account/session";
import { App } from "./app";
import { readConfig } from "./client/config";
import { connect } from "./client/supabase";
import { now, preferredLanguage, setLanguage } from "./text/text";
import { followTheme } from "./theme/theme";

followTheme();

async function begin(): Promise<void> {
    const root = document.getElementById("root");
    if (!root) return;
    try {
        const [config] = await Promise.all([readConfig(), setLanguage(preferredLanguage())]);
        connect(config);
    } catch (fault) {
        console.error(fault);
        root.textContent = now().text.common.notConfigured;
        return;
    }
    watchSession();
    createRoot(root).render(<App />);
}

void begin();

if ("serviceWorker" in navigator && import.meta.env.PROD) void navigator.serviceWorker.register("/sw.js").catch(console.error);
