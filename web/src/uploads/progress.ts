import { createStore } from "../client/store";
import { announce } from "../elements/messages";
import { now as spoken } from "../text/text";
import { change, find, unfinished, uploads } from "./list";

/** Bytes a second of all uploads together, 0 where none is known. */
export const pace = createStore(0);

let measuredAt = 0;
let measuredBytes = 0;
let announced = 0;
const shownAt = new Map<string, number>();

/** Before more files join: a new batch begins where nothing is on its way. */
export function beginBatch(): void {
    if (uploads.get().some(unfinished)) return;
    announced = 0;
    uploads.set((list) => list.filter((one) => one.state === "refused"));
}

export function progress(key: string, sent: number): void {
    const one = find(key);
    if (one?.state !== "sending") return;
    const moment = performance.now();
    measuredBytes += Math.max(0, sent - one.sent);
    if (measuredAt === 0) measuredAt = moment;
    if (moment - measuredAt > 1000) {
        const rate = (measuredBytes / (moment - measuredAt)) * 1000;
        pace.set((before) => (before === 0 ? rate : before * 0.7 + rate * 0.3));
        measuredAt = moment;
        measuredBytes = 0;
    }
    // ten pictures a second are enough
    if (sent < one.size && moment - (shownAt.get(key) ?? 0) < 100) return;
    shownAt.set(key, moment);
    change(key, { sent });
    announceQuarter();
}

function announceQuarter(): void {
    const list = uploads.get().filter((one) => one.state !== "refused");
    const whole = list.reduce((sum, one) => sum + one.size, 0);
    const sent = list.reduce((sum, one) => sum + (one.state === "done" ? one.size : one.sent), 0);
    const quarter = whole > 0 ? Math.floor((sent / whole) * 4) : 0;
    if (quarter > announced && quarter < 4) {
        const { text, format } = spoken();
        announce(text.upload.announcePart(format.percent(quarter / 4)));
    }
    announced = Math.max(announced, quarter);
}

/** After an upload has ended: says so once, when it was the last one. */
export function endBatch(): void {
    const list = uploads.get();
    if (list.some((one) => one.state === "waiting" || one.state === "sending")) return;
    announce(spoken().text.upload.announceEnd(list.filter((one) => one.state === "done").length));
    pace.set(0);
    measuredAt = 0;
    measuredBytes = 0;
    shownAt.clear();
}
