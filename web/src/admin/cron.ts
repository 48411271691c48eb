import type { Language } from "../text/text";

const WORDS = {
    en: {
        minute: "Every minute",
        minutes: (n: number) => `Every ${n} minutes`,
        hour: (minute: string) => `Every hour at ${minute} past`,
        hours: (n: number, minute: string) => `Every ${n} hours at ${minute} past`,
        day: (time: string) => `Every day at ${time} UTC`,
        week: (day: string, time: string) => `Every ${day} at ${time} UTC`,
        month: (day: number, time: string) => `On day ${day} of every month at ${time} UTC`,
    },
    es: {
        minute: "Cada minuto",
        minutes: (n: number) => `Cada ${n} minutos`,
        hour: (minute: string) => `Cada hora, en el minuto ${minute}`,
        hours: (n: number, minute: string) => `Cada ${n} horas, en el minuto ${minute}`,
        day: (time: string) => `Cada día a las ${time} UTC`,
        week: (day: string, time: string) => `Cada ${day} a las ${time} UTC`,
        month: (day: number, time: string) => `El día ${day} de cada mes a las ${time} UTC`,
    },
};

/** A cron string as a sentence; null for the rarer ones, which are shown as they are. */
export function inWords(schedule: string, language: Language): string | null {
    const words = WORDS[language];
    const [minute = "", hour = "", day = "", month = "", weekday = "", ...rest] = schedule.trim().split(/\s+/);
    if (rest.length > 0 || month !== "*") return null;
    const number = (text: string) => (/^\d{1,2}$/.test(text) ? Number(text) : null);
    const step = (text: string) => Number(/^\*\/(\d{1,2})$/.exec(text)?.[1] ?? 0);
    const at = number(minute);
    if (hour === "*" && day === "*" && weekday === "*") {
        if (minute === "*") return words.minute;
        if (step(minute)) return words.minutes(step(minute));
        return at === null ? null : words.hour(String(at));
    }
    if (at === null) return null;
    if (step(hour) && day === "*" && weekday === "*") return words.hours(step(hour), String(at));
    const hours = number(hour);
    if (hours === null) return null;
    const time = `${String(hours).padStart(2, "0")}:${String(at).padStart(2, "0")}`;
    if (day === "*" && weekday === "*") return words.day(time);
    const weekdayNumber = number(weekday);
    if (day === "*" && weekdayNumber !== null && weekdayNumber <= 7) {
        // 2023-01-01 was a Sunday
        const name = new Intl.DateTimeFormat(language, { weekday: "long", timeZone: "UTC" }).format(new Date(Date.UTC(2023, 0, 1 + (weekdayNumber % 7))));
        return words.week(name, time);
    }
    const dayNumber = number(day);
    return dayNumber !== null && weekday === "*" ? words.month(dayNumber, time) : null;
}
