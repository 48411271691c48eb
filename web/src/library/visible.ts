import { type RefObject, useCallback, useLayoutEffect, useMemo, useReducer, useRef, useState } from "react";

/** How many pixels of rows are kept ready above and below what is seen. */
const AHEAD = 240;

export interface Visible {
    /** The first row that is in the page, and the one after the last. */
    from: number;
    to: number;
    /** The room that all rows before and after them take, in pixels. */
    before: number;
    after: number;
    /** Takes in what rows measure; of rows of one height it is not needed. */
    measure(element: HTMLElement, key: string): void;
    /** Scrolls as far as it takes to see a row. */
    reveal(index: number): void;
}

/**
 * Which rows of a long list are in the page. They stand in the normal flow between two paddings, so that a row that
 * grows moves those below it and the browser keeps what is read in its place. A scroll renders only when a row comes
 * or goes. Heights are `height` until they are measured; `even` ones never are.
 */
export function useVisible(list: RefObject<HTMLElement | null>, keys: readonly string[], height: number, even: boolean): Visible {
    const measured = useRef(new Map<string, number>());
    const [version, grown] = useReducer((now: number) => now + 1, 0);
    const heightOf = useRef(height);
    if (heightOf.current !== height) {
        heightOf.current = height;
        measured.current = new Map();
    }

    // where each row begins, and at last where all end
    // biome-ignore lint/correctness/useExhaustiveDependencies: a new version has new heights
    const tops = useMemo(() => {
        const sums = new Float64Array(keys.length + 1);
        for (let at = 0; at < keys.length; at++) {
            sums[at + 1] = (sums[at] ?? 0) + (even ? height : (measured.current.get(keys[at] ?? "") ?? height));
        }
        return sums;
    }, [keys, height, even, version]);
    const state = useRef(tops);
    state.current = tops;

    const [[from, to], show] = useState<[number, number]>([0, Math.ceil((window.innerHeight + AHEAD) / height)]);
    // how far the window has gone into the list; asked for when that may have changed, since asking lays the page out
    const gone = useRef(0);
    useLayoutEffect(() => {
        const place = () => {
            const first = rowAt(tops, gone.current - AHEAD);
            const end = Math.min(tops.length - 1, rowAt(tops, gone.current + window.innerHeight + AHEAD) + 1);
            show((now) => (now[0] === first && now[1] === end ? now : [first, end]));
        };
        const look = () => {
            gone.current = -(list.current?.getBoundingClientRect().top ?? 0);
            place();
        };
        place();
        window.addEventListener("scroll", look, { passive: true });
        window.addEventListener("resize", look);
        return () => {
            window.removeEventListener("scroll", look);
            window.removeEventListener("resize", look);
        };
    }, [list, tops]);

    const measure = useCallback((element: HTMLElement, key: string) => {
        const now = element.offsetHeight;
        if (now === 0 || (measured.current.get(key) ?? heightOf.current) === now) return;
        measured.current.set(key, now);
        grown();
    }, []);

    const reveal = useCallback(
        (index: number) => {
            const sums = state.current;
            const top = (list.current?.getBoundingClientRect().top ?? 0) + (sums[index] ?? 0);
            const bottom = (list.current?.getBoundingClientRect().top ?? 0) + (sums[index + 1] ?? 0);
            const room = Number.parseFloat(getComputedStyle(document.documentElement).scrollPaddingBottom) || 0;
            if (top < 0) window.scrollBy({ top, behavior: "instant" });
            else if (bottom > window.innerHeight - room) window.scrollBy({ top: bottom - window.innerHeight + room, behavior: "instant" });
        },
        [list],
    );

    const last = Math.min(to, keys.length);
    const first = Math.min(from, last);
    return { from: first, to: last, before: tops[first] ?? 0, after: (tops[keys.length] ?? 0) - (tops[last] ?? 0), measure, reveal };
}

/** The row that stands at a height, by halving. */
export function rowAt(tops: Float64Array, height: number): number {
    let low = 0;
    let high = tops.length - 2;
    while (low < high) {
        const middle = (low + high + 1) >> 1;
        if ((tops[middle] ?? 0) <= height) low = middle;
        else high = middle - 1;
    }
    return Math.max(0, low);
}
