/** Numbers, sizes and times in the person's language. Sizes are decimal: 1 MB = 1,000,000 bytes. */
export interface Format {
    count(value: number): string;
    percent(part: number): string;
    size(bytes: number): string;
    /** A limit, which is a round number: `5 GB`. */
    limit(bytes: number): string;
    /** `8.1 of 13.0 MB` needs both in one unit. */
    sizePair(part: number, whole: number): [string, string];
    date(moment: string | number | Date): string;
    dateTime(moment: string | number | Date): string;
    /** As short as it is clear: `18:27` of today, else `25 Nov, 02:47`. */
    moment(moment: string | number | Date): string;
    time(moment: string | number | Date): string;
    /** Hours and minutes. */
    clock(moment: string | number | Date): string;
    /** How long ago, as short as a column allows: `now`, `14 min`, `3 h`, `Yesterday`, `18 Nov`. */
    ago(moment: string, now?: number): string;
    /** How long something will last, e.g. `2 min`. */
    duration(seconds: number): string;
    /** A measured time, e.g. `0.4 sec`. */
    seconds(seconds: number): string;
    list(parts: string[]): string;
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

function scaleOf(bytes: number): number {
    let scale = 0;
    for (let size = bytes; size >= 999.5 && scale < UNITS.length - 1; size /= 1000) scale++;
    return scale;
}

/** Makes a thing when it is first asked for: a formatter of Intl takes a phone 5 to 20 ms. */
function lazy<T>(make: () => T): () => T {
    let made: T | undefined;
    return () => {
        made ??= make();
        return made;
    };
}

export function createFormat(locale: string, now: string, yesterday: string): Format {
    const numbers = lazy(() => new Intl.NumberFormat(locale));
    const percents = lazy(() => new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 }));
    const dates = lazy(() => new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" }));
    const yearDates = lazy(() => new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric" }));
    const dateTimes = lazy(() => new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }));
    const moments = lazy(() => new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }));
    const clocks = lazy(() => new Intl.DateTimeFormat(locale, { timeStyle: "short" }));
    const times = lazy(() => new Intl.DateTimeFormat(locale, { timeStyle: "medium" }));
    const lists = lazy(() => new Intl.ListFormat(locale, { type: "conjunction" }));
    const units = new Map<string, Intl.NumberFormat>();

    function unit(name: string, digits: number, display: "short" | "long" | "narrow" = "short"): Intl.NumberFormat {
        const key = `${name} ${digits} ${display}`;
        let made = units.get(key);
        if (!made) {
            made = new Intl.NumberFormat(locale, {
                style: "unit",
                unit: name,
                unitDisplay: display,
                minimumFractionDigits: digits,
                maximumFractionDigits: digits,
            });
            units.set(key, made);
        }
        return made;
    }

    const plain = new Map<number, Intl.NumberFormat>();

    function decimals(digits: number): Intl.NumberFormat {
        let made = plain.get(digits);
        if (!made) {
            made = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
            plain.set(digits, made);
        }
        return made;
    }

    /** A length of time as a column has room for: English writes `mins` and `hrs` where everybody says `min` and `h`. */
    function brief(name: "second" | "minute" | "hour", value: number, digits = 0): string {
        const words = unit(name, digits).format(value);
        return words
            .replace(/\b(sec|min)s\b/, "$1")
            .replace(/\bhrs?\b/, "h")
            .replace(" ", "\u00a0");
    }

    function at(bytes: number, scale: number): string {
        const value = bytes / 1000 ** scale;
        const digits = scale === 0 || value >= 99.95 || scale === 1 ? 0 : scale >= 3 && value < 9.995 ? 2 : 1;
        if (scale === 0) return `${numbers().format(value)}\u00a0B`;
        const text = unit(UNITS[scale] ?? "byte", digits).format(value);
        return scale === 1 ? text.replace("kB", "KB") : text;
    }

    function date(moment: string | number | Date): string {
        const day = new Date(moment);
        return (day.getFullYear() === new Date().getFullYear() ? dates() : yearDates()).format(day);
    }

    return {
        count: (value) => numbers().format(value),
        percent: (part) => percents().format(Math.floor(part * 100) / 100),
        size: (bytes) => at(bytes, scaleOf(bytes)),
        limit: (bytes) => at(bytes, scaleOf(bytes)).replace(/[.,]0+(?=\D*$)/, ""),
        sizePair: (part, whole) => {
            const scale = scaleOf(whole);
            const text = at(whole, scale);
            const value = part / 1000 ** scale;
            const digits = scale >= 2 ? (text.match(/[.,](\d+)/)?.[1]?.length ?? 0) : 0;
            return [decimals(digits).format(value), text];
        },
        date,
        dateTime: (moment) => dateTimes().format(new Date(moment)),
        clock: (moment) => clocks().format(new Date(moment)),
        moment: (moment) => {
            const then = new Date(moment);
            const today = new Date();
            if (then.toDateString() === today.toDateString()) return clocks().format(then);
            return (then.getFullYear() === today.getFullYear() ? moments() : dateTimes()).format(then);
        },
        time: (moment) => times().format(new Date(moment)),
        ago: (moment, instant = Date.now()) => {
            const then = new Date(moment);
            const seconds = (instant - then.getTime()) / 1000;
            if (seconds < 60) return now;
            if (seconds < 3600) return brief("minute", Math.floor(seconds / 60));
            const midnight = new Date(instant);
            midnight.setHours(0, 0, 0, 0);
            if (then >= midnight || seconds < 6 * 3600) return brief("hour", Math.floor(seconds / 3600));
            if (then.getTime() >= midnight.getTime() - 86_400_000) return yesterday;
            return date(then);
        },
        duration: (seconds) => {
            if (seconds < 60) return brief("second", Math.max(1, Math.round(seconds)));
            if (seconds < 5400) return brief("minute", Math.round(seconds / 60));
            if (seconds < 172_800) return brief("hour", Math.round(seconds / 3600));
            return unit("day", 0, "long").format(Math.round(seconds / 86_400));
        },
        seconds: (seconds) =>
            seconds < 0.05
                ? `<\u202f${brief("second", 0.1, 1)}`
                : seconds < 60
                  ? brief("second", seconds, seconds < 10 ? 1 : 0)
                  : brief("minute", Math.round(seconds / 60)),
        list: (parts) => lists().format(parts),
    };
}
