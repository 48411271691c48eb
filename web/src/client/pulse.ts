/**
 * Freshness by polling: soon while something is in progress, slower when nothing changes, never while the page is
 * hidden, at once on focus and after a change. A push channel would call `hurry()` instead of the clock.
 */
export interface Pulse {
    hurry(): void;
    stop(): void;
}

export interface Beat {
    /** Whether something is in progress. */
    busy: boolean;
    /** Whether this beat brought anything new. */
    changed: boolean;
}

const BUSY = 2_000;
const SLOWEST = 15_000;
const IDLE = 60_000;

/** How long to wait after a beat, in milliseconds; `random` is 0 to 1 and spreads clients by ±20 %. */
export function nextDelay(beat: Beat, last: number, random: number): number {
    const bare = !beat.busy ? IDLE : beat.changed ? BUSY : Math.min(SLOWEST, Math.max(BUSY, last) * 1.5);
    return bare * (0.8 + 0.4 * random);
}

/** Begins at once; `beat` may take its time, there is never more than one. A beat that fails slows down like one without news. */
export function startPulse(beat: () => Promise<Beat>): Pulse {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let running = false;
    let again = false;
    let stopped = false;
    let delay = BUSY;

    async function go() {
        clearTimeout(timer);
        if (stopped) return;
        if (running) {
            again = true;
            return;
        }
        running = true;
        try {
            delay = nextDelay(await beat(), delay, Math.random());
        } catch {
            delay = Math.min(IDLE, Math.max(BUSY, delay * 1.5));
        }
        running = false;
        if (again) {
            again = false;
            void go();
        } else if (!stopped && document.visibilityState !== "hidden") {
            timer = setTimeout(() => void go(), delay);
        }
    }

    // coming back is told twice, as focus and as visibility: a beat that runs already is fresh enough for both
    const seen = () => {
        if (document.visibilityState === "hidden") clearTimeout(timer);
        else if (!running) void go();
    };
    document.addEventListener("visibilitychange", seen);
    window.addEventListener("focus", seen);
    window.addEventListener("online", seen);
    void go();
    return {
        hurry: () => {
            delay = BUSY;
            void go();
        },
        stop: () => {
            stopped = true;
            clearTimeout(timer);
            document.removeEventListener("visibilitychange", seen);
            window.removeEventListener("focus", seen);
            window.removeEventListener("online", seen);
        },
    };
}
