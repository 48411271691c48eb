// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Beat, nextDelay, type Pulse, startPulse } from "../src/client/pulse";

describe("the pulse", () => {
    it("beats every two seconds while something changes", () => {
        expect(nextDelay({ busy: true, changed: true }, 9000, 0.5)).toBe(2000);
    });
    it("slows down by half to fifteen where nothing does", () => {
        const delays = [2000];
        for (let beat = 0; beat < 10; beat++) delays.push(nextDelay({ busy: true, changed: false }, delays.at(-1) ?? 0, 0.5));
        expect(delays.slice(0, 4)).toEqual([2000, 3000, 4500, 6750]);
        expect(delays.at(-1)).toBe(15_000);
    });
    it("rests a minute where nothing is in progress", () => {
        expect(nextDelay({ busy: false, changed: true }, 2000, 0.5)).toBe(60_000);
    });
    it("is spread by a fifth", () => {
        expect(nextDelay({ busy: false, changed: false }, 0, 0)).toBe(48_000);
        expect(Math.round(nextDelay({ busy: false, changed: false }, 0, 1))).toBe(72_000);
    });
});

describe("a page that is looked at", () => {
    let visible = true;
    let beats = 0;
    let answer: () => Promise<Beat>;
    let pulse: Pulse;
    const idle = async (): Promise<Beat> => ({ busy: false, changed: false });
    const begin = async () => {
        pulse = startPulse(() => {
            beats++;
            return answer();
        });
        await vi.advanceTimersByTimeAsync(0);
    };
    const show = (seen: boolean) => {
        visible = seen;
        document.dispatchEvent(new Event("visibilitychange"));
    };

    beforeEach(() => {
        visible = true;
        beats = 0;
        answer = idle;
        vi.useFakeTimers();
        vi.spyOn(Math, "random").mockReturnValue(0.5);
        vi.spyOn(document, "visibilityState", "get").mockImplementation(() => (visible ? "visible" : "hidden"));
    });
    afterEach(() => {
        pulse.stop();
        vi.useRealTimers();
        vi.restoreAllMocks();
    });

    it("beats at once, then as often as there is something to see", async () => {
        answer = async () => ({ busy: true, changed: true });
        await begin();
        expect(beats).toBe(1);
        await vi.advanceTimersByTimeAsync(6_000);
        expect(beats).toBe(4);
        answer = idle;
        await vi.advanceTimersByTimeAsync(2_000);
        expect(beats).toBe(5);
        await vi.advanceTimersByTimeAsync(59_000);
        expect(beats).toBe(5);
        await vi.advanceTimersByTimeAsync(1_000);
        expect(beats).toBe(6);
    });
    it("does not beat while it is hidden, and once when it is seen and focused again", async () => {
        await begin();
        show(false);
        await vi.advanceTimersByTimeAsync(600_000);
        expect(beats).toBe(1);
        show(true);
        window.dispatchEvent(new Event("focus"));
        await vi.advanceTimersByTimeAsync(0);
        expect(beats).toBe(2);
    });
    it("beats at once after a change, and once more where one is under way", async () => {
        let end: (beat: Beat) => void = () => undefined;
        await begin();
        answer = () => new Promise((resolve) => (end = resolve));
        pulse.hurry();
        pulse.hurry();
        pulse.hurry();
        await vi.advanceTimersByTimeAsync(0);
        expect(beats).toBe(2);
        answer = idle;
        end({ busy: false, changed: false });
        await vi.advanceTimersByTimeAsync(0);
        expect(beats).toBe(3);
    });
    it("slows down where nobody answers, and goes on", async () => {
        answer = () => Promise.reject(new Error("down"));
        await begin();
        await vi.advanceTimersByTimeAsync(2_999);
        expect(beats).toBe(1);
        await vi.advanceTimersByTimeAsync(1);
        expect(beats).toBe(2);
        await vi.advanceTimersByTimeAsync(4_500);
        expect(beats).toBe(3);
    });
    it("is silent once it was stopped", async () => {
        await begin();
        pulse.stop();
        show(true);
        pulse.hurry();
        await vi.advanceTimersByTimeAsync(120_000);
        expect(beats).toBe(1);
    });
});
