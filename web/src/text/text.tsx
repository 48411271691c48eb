import { createStore, useStore } from "../client/store";
import { english } from "./en";
import { createFormat, type Format } from "./format";

export type Text = typeof english;
export type Language = "en" | "es";

interface Spoken {
    language: Language;
    text: Text;
    format: Format;
}

const KEPT = "instashare.language";

function speak(language: Language, text: Text): Spoken {
    const region = navigator.languages.find((one) => one.toLowerCase().startsWith(language)) ?? language;
    return { language, text, format: createFormat(region, text.now, text.yesterday) };
}

const spoken = createStore<Spoken>(speak("en", english));

/** The language that was chosen, else the browser's first one that we have. */
export function preferredLanguage(): Language {
    const kept = localStorage.getItem(KEPT);
    if (kept === "en" || kept === "es") return kept;
    for (const one of navigator.languages) {
        const language = one.slice(0, 2).toLowerCase();
        if (language === "en" || language === "es") return language;
    }
    return "en";
}

/** Changes the language of everything; another than English is fetched when it is wanted. */
export async function setLanguage(language: Language): Promise<void> {
    const text = language === "es" ? (await import("./es")).spanish : english;
    spoken.set(speak(language, text));
    document.documentElement.lang = language;
}

export function keepLanguage(language: Language): void {
    localStorage.setItem(KEPT, language);
}

export function useText(): Text {
    return useStore(spoken).text;
}

export function useFormat(): Format {
    return useStore(spoken).format;
}

export function useLanguage(): Language {
    return useStore(spoken).language;
}

/** For what speaks outside of components: announcements and messages. */
export function now(): Spoken {
    return spoken.get();
}
