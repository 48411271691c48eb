// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { clearRecords, readRecords } from "../src/uploads/records";
import type * as Uploads from "../src/uploads/uploads";
import { createLocks, createWorld, type FakeTransfer } from "./world";

const made = vi.hoisted(() => ({ current: null as unknown as ReturnType<typeof createWorld> }));
vi.mock("../src/client/supabase", () => ({ supabase: () => made.current.client }));
vi.mock("../src/uploads/transfer", () => ({
    openTransfer: (wishes: never) => made.current.openTransfer(wishes),
    putEmpty: async () => ({ kind: "done", message: "" }),
}));

interface Tab {
    uploads: typeof Uploads;
    states(): Record<string, string>;
    close(): void;
}

const LIMITS = { fileSize: 1_000_000, quota: 2_000_000, used: 0, documentsLimit: 100, documents: 0 };
let tabs: Tab[] = [];
let openLocks: ReturnType<typeof createLocks>;
let online = true;
let visible = true;
const listeners: [EventTarget, string, EventListenerOrEventListenerObject][] = [];

const world = () => made.current.world;
const file = (name: string, size = 10) => new File([new Uint8Array(size)], name, { type: "text/plain", lastModified: 5 });

/** A page of its own: its modules, its locks; the browser's storage and the server are everybody's. */
async function openTab({ begin = true } = {}): Promise<Tab> {
    vi.resetModules();
    const { manager, close } = openLocks();
    const uploads: typeof Uploads = await import("../src/uploads/uploads");
    Object.defineProperty(navigator, "locks", { configurable: true, value: manager });
    const tab = {
        uploads,
        states: () => Object.fromEntries(uploads.uploads.get().map((one) => [one.name, one.state])),
        close: () => {
            // a closed page hears nothing any more, and what it holds is free
            for (const [target, name, listener] of listeners.splice(0)) target.removeEventListener(name, listener);
            close();
        },
    };
    tabs.push(tab);
    if (begin) await uploads.beginUploads({ userId: "me", limits: async () => LIMITS, changed: () => undefined });
    return tab;
}

/** A deadline, not an expectation: the machine may be busy. */
const soon = <T>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 20_000 });

async function first(name: string): Promise<FakeTransfer> {
    return soon(() => {
        const found = world().transfers.find((one) => one.documentId.endsWith(name) && one.log.includes("start"));
        if (!found) throw new Error(`${name} is not being sent`);
        return found;
    });
}

beforeEach(async () => {
    made.current = createWorld();
    openLocks = createLocks();
    online = true;
    visible = true;
    tabs = [];
    await clearRecords();
    vi.spyOn(navigator, "onLine", "get").mockImplementation(() => online);
    vi.spyOn(document, "visibilityState", "get").mockImplementation(() => (visible ? "visible" : "hidden"));
    for (const target of [window, document] as const) {
        const add = target.addEventListener.bind(target) as EventTarget["addEventListener"];
        vi.spyOn(target as EventTarget, "addEventListener").mockImplementation((name, listener, options) => {
            if (listener) listeners.push([target, name, listener]);
            add(name, listener, options);
        });
    }
});

afterEach(async () => {
    vi.useRealTimers();
    for (const tab of tabs) await tab.uploads.endUploads();
    for (const [target, name, listener] of listeners.splice(0)) target.removeEventListener(name, listener);
    vi.restoreAllMocks();
});

describe("files on their way", () => {
    it("what is too large or has no room is refused before anything is asked of the server", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("huge.bin", 1_000_001), file("fits.bin", 999_999), file("also.bin", 1_000_000), file("full.bin", 2)]);
        expect(tab.states()).toMatchObject({ "huge.bin": "refused", "full.bin": "refused" });
        expect(
            world()
                .rows.map((row) => row.name)
                .sort(),
        ).toEqual(["also.bin", "fits.bin"]);
        expect(tab.uploads.uploads.get().find((one) => one.name === "huge.bin")?.why).toContain("Larger than");
    });

    it("three go at once, the next when one has ended", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles(["a", "b", "c", "d"].map((name) => file(name)));
        await first("c");
        expect(world().transfers).toHaveLength(3);
        expect(tab.states().d).toBe("waiting");
        (await first("a")).end("done");
        await first("d");
        expect(tab.states().a).toBe("done");
    });

    it("one that the database refuses does not keep the others", async () => {
        world().refuseNames.add("b");
        const tab = await openTab();
        await tab.uploads.addFiles(["a", "b", "c"].map((name) => file(name)));
        expect(tab.states()).toMatchObject({ a: "sending", b: "refused", c: "sending" });
        expect((await readRecords("me")).map((one) => one.name).sort()).toEqual(["a", "c"]);
    });

    it("a session that is being renewed refuses nothing: the row is asked for again", async () => {
        world().server = "renewing";
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        expect(tab.states().a).toBe("offline");
        world().server = "up";
        window.dispatchEvent(new Event("online"));
        await first("a");
        expect(world().rows).toHaveLength(1);
    });

    it("cancel ends the upload at the server, removes the row and what was kept", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        const [one] = tab.uploads.uploads.get();
        await tab.uploads.cancelUpload(one?.key ?? "");
        expect(transfer.log).toEqual(["start", "terminate"]);
        expect(world().called).toEqual([`delete_document ${transfer.documentId}`, `purge_document ${transfer.documentId}`]);
        expect(tab.uploads.uploads.get()).toEqual([]);
        await soon(async () => expect(await readRecords("me")).toEqual([]));
    });

    it("sign-out stops everything and leaves nothing in the browser", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        await tab.uploads.endUploads();
        expect(transfer.log).toEqual(["start", "abort"]);
        expect(await readRecords("me")).toEqual([]);
        expect(tab.uploads.uploads.get()).toEqual([]);
    });

    it("the page asks before it is left only while bytes move", async () => {
        const tab = await openTab();
        const leave = () => {
            const event = new Event("beforeunload", { cancelable: true });
            window.dispatchEvent(event);
            return event.defaultPrevented;
        };
        expect(leave()).toBe(false);
        await tab.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        expect(leave()).toBe(true);
        const [one] = tab.uploads.uploads.get();
        await tab.uploads.pauseUpload(one?.key ?? "");
        expect(leave()).toBe(false);
        tab.uploads.resumeUpload(one?.key ?? "");
        expect(leave()).toBe(true);
        transfer.end("done");
        expect(leave()).toBe(false);
    });

    it("the device is kept awake while bytes move and the page is seen", async () => {
        let held = 0;
        const request = vi.fn(async () => {
            held++;
            const sentinel = new EventTarget();
            return Object.assign(sentinel, { release: async () => void held-- });
        });
        Object.defineProperty(navigator, "wakeLock", { configurable: true, value: { request } });
        try {
            const tab = await openTab();
            expect(request).not.toHaveBeenCalled();
            visible = false;
            await tab.uploads.addFiles([file("a")]);
            const transfer = await first("a");
            expect(request).not.toHaveBeenCalled();
            visible = true;
            document.dispatchEvent(new Event("visibilitychange"));
            await soon(() => expect(held).toBe(1));
            transfer.end("done");
            await soon(() => expect(held).toBe(0));
        } finally {
            Reflect.deleteProperty(navigator, "wakeLock");
        }
    });
});

describe("refusals", () => {
    it("of an upload whose row is queued are none: the first try had arrived", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        for (const row of world().rows) row.status = "queued";
        transfer.end("refused", "new row violates row-level security policy");
        await soon(() => expect(tab.states().a).toBe("done"));
    });

    it("of one whose row still waits are told in the server's words, and nothing is kept", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        (await first("a")).end("refused", "The stored file has 11 bytes, the document 10.");
        await soon(() => expect(tab.states().a).toBe("refused"));
        expect(tab.uploads.uploads.get()[0]?.why).toBe("The stored file has 11 bytes, the document 10.");
        await soon(async () => expect(await readRecords("me")).toEqual([]));
    });

    it("of one whose document is gone leave nothing behind", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        world().rows = [];
        transfer.end("refused");
        await soon(() => expect(tab.uploads.uploads.get()).toEqual([]));
    });

    it("a vanished upload offers to begin anew, and begins at zero without its old address", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a", 100)]);
        const transfer = await first("a");
        transfer.url("http://storage/upload/1");
        transfer.progress(60);
        transfer.end("vanished");
        await soon(() => expect(tab.states().a).toBe("vanished"));
        const [one] = tab.uploads.uploads.get();
        expect(one?.sent).toBe(0);
        tab.uploads.resumeUpload(one?.key ?? "");
        await soon(() => expect(world().transfers).toHaveLength(2));
        expect(world().transfers[1]?.uploadUrl).toBeNull();
    });

    it("a session that has ended pauses, and does not try again by itself", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        (await first("a")).end("signed_out");
        expect(tab.states().a).toBe("paused");
    });
});

describe("networks and sleep", () => {
    it("offline stops, online starts the same transfer again", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        online = false;
        window.dispatchEvent(new Event("offline"));
        expect(tab.states().a).toBe("offline");
        online = true;
        window.dispatchEvent(new Event("online"));
        await soon(() => expect(tab.states().a).toBe("sending"));
        expect(transfer.log).toEqual(["start", "abort", "start"]);
    });

    it("one that was paused while nobody answered stays so", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        const [one] = tab.uploads.uploads.get();
        transfer.end("unreachable");
        await tab.uploads.pauseUpload(one?.key ?? "");
        expect(tab.states().a).toBe("paused");
        await soon(() => expect(tab.states().a).toBe("paused"));
        window.dispatchEvent(new Event("online"));
        expect(tab.states().a).toBe("paused");
    });

    it("a server that does not answer is tried again after a while", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
        transfer.end("unreachable");
        await soon(() => expect(tab.states().a).toBe("offline"));
        await vi.advanceTimersByTimeAsync(15_000);
        expect(transfer.log).toEqual(["start", "start"]);
    });

    it("a file that was changed since it was chosen is asked for again", async () => {
        const tab = await openTab();
        const changed = file("a");
        const part = { arrayBuffer: () => Promise.reject(new DOMException("The requested file could not be read.", "NotReadableError")) };
        vi.spyOn(changed, "slice").mockReturnValue(part as unknown as Blob);
        await tab.uploads.addFiles([changed]);
        (await first("a")).end("unreachable");
        await soon(() => expect(tab.states().a).toBe("interrupted"));
        expect(tab.uploads.uploads.get()[0]?.why).toContain("file");
        expect(await readRecords("me")).toHaveLength(1);
    });

    it("after a sleep a transfer that hangs begins anew from what the server has; one that moves is left alone", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("hangs", 100), file("moves", 100)]);
        const hangs = await first("hangs");
        const moves = await first("moves");
        // the device slept for an hour: timers did not run, the clock did
        const woken = Date.now() + 3_600_000;
        vi.spyOn(Date, "now").mockImplementation(() => woken);
        moves.progress(50);
        document.dispatchEvent(new Event("visibilitychange"));
        await soon(() => expect(hangs.log).toEqual(["start", "abort", "start"]));
        expect(moves.log).toEqual(["start"]);
        document.dispatchEvent(new Event("visibilitychange"));
        expect(hangs.log).toHaveLength(3);
    });

    it("a transfer that hangs is noticed without anybody looking, too", async () => {
        vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
        const tab = await openTab();
        await tab.uploads.addFiles([file("hangs", 100)]);
        const hangs = await first("hangs");
        await vi.advanceTimersByTimeAsync(45_000);
        expect(hangs.log).toEqual(["start"]);
        await vi.advanceTimersByTimeAsync(30_000);
        expect(hangs.log).toEqual(["start", "abort", "start"]);
    });

    it("files added without a network are announced when it is back, in order", async () => {
        online = false;
        const tab = await openTab();
        await tab.uploads.addFiles([file("a"), file("b")]);
        expect(tab.states()).toEqual({ a: "offline", b: "offline" });
        expect(world().rows).toEqual([]);
        online = true;
        window.dispatchEvent(new Event("online"));
        await first("a");
        await first("b");
        expect(world().rows.map((row) => row.name)).toEqual(["b", "a"]);
    });
});

describe("reloads and other tabs", () => {
    it("files added without a network survive a reload", async () => {
        online = false;
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        tab.close();
        online = true;
        const again = await openTab();
        await first("a");
        expect(world().rows).toHaveLength(1);
        expect(again.states().a).toBe("sending");
    });

    it("a row whose answer was lost is not made twice", async () => {
        world().server = "deaf";
        const tab = await openTab();
        await tab.uploads.addFiles([file("a"), file("a")]);
        expect(world().rows).toHaveLength(2);
        expect(tab.states().a).toBe("offline");
        world().server = "up";
        window.dispatchEvent(new Event("online"));
        await soon(() => expect(world().transfers).toHaveLength(2));
        expect(world().rows).toHaveLength(2);
        expect(new Set(world().transfers.map((one) => one.documentId)).size).toBe(2);
    });

    it("a page that goes away before it knows its row finds it again", async () => {
        world().server = "deaf";
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        tab.close();
        world().server = "up";
        await openTab();
        const transfer = await first("a");
        expect(world().rows.map((row) => row.id)).toEqual([transfer.documentId]);
    });

    it("an old unfinished document of the same name is another one", async () => {
        world().rows.push({
            id: "d0-a",
            owner_id: "me",
            name: "a",
            size_bytes: 10,
            status: "uploading",
            deleted_at: null,
            created_at: new Date(Date.now() - 3_600_000).toISOString(),
        });
        world().server = "down";
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        world().server = "up";
        window.dispatchEvent(new Event("online"));
        expect((await first("a")).documentId).not.toBe("d0-a");
        expect(tab.states().a).toBe("sending");
    });

    it("a reload goes on from the stored address; a large file asks to be chosen, and no other will do", async () => {
        const limit = LIMITS.fileSize;
        LIMITS.fileSize = LIMITS.quota = 200_000_000;
        try {
            const tab = await openTab();
            const large = file("large", 50_000_001);
            await tab.uploads.addFiles([file("small"), large]);
            (await first("small")).url("http://storage/upload/small");
            const sent = await first("large");
            sent.url("http://storage/upload/large");
            await soon(async () => expect((await readRecords("me")).every((one) => one.uploadUrl)).toBe(true));
            tab.close();
            world().transfers = [];

            const again = await openTab();
            expect((await first("small")).uploadUrl).toBe("http://storage/upload/small");
            expect(again.states().large).toBe("interrupted");
            const document = { id: sent.documentId, name: "large", size_bytes: large.size, mime_type: "text/plain" };
            const touched = new File([large], "large", { lastModified: 6 });
            expect(await again.uploads.continueUpload(document, touched)).toBe(false);
            expect(again.states().large).toBe("interrupted");
            expect(await again.uploads.continueUpload(document, large)).toBe(true);
            expect((await first("large")).uploadUrl).toBe("http://storage/upload/large");
        } finally {
            LIMITS.fileSize = limit;
            LIMITS.quota = 2_000_000;
        }
    });

    it("what was finished elsewhere meanwhile is not taken up again", async () => {
        const tab = await openTab();
        await tab.uploads.addFiles([file("a")]);
        await first("a");
        tab.close();
        for (const row of world().rows) row.status = "ready";
        const again = await openTab();
        expect(again.uploads.uploads.get()).toEqual([]);
        await soon(async () => expect(await readRecords("me")).toEqual([]));
    });

    it("two tabs never send the same document; the second goes on when the first is closed", async () => {
        const one = await openTab();
        await one.uploads.addFiles([file("a")]);
        (await first("a")).url("http://storage/upload/a");
        const two = await openTab();
        expect(two.states().a).toBe("elsewhere");
        expect(world().transfers).toHaveLength(1);
        one.close();
        await soon(() => expect(two.states().a).toBe("sending"));
        expect(world().transfers).toHaveLength(2);
        expect(world().transfers[1]?.uploadUrl).toBe("http://storage/upload/a");
    });

    it("what the first tab ends the second leaves alone", async () => {
        const one = await openTab();
        await one.uploads.addFiles([file("a")]);
        const transfer = await first("a");
        const two = await openTab();
        expect(two.states().a).toBe("elsewhere");
        for (const row of world().rows) row.status = "queued";
        transfer.end("done");
        await soon(() => expect(two.uploads.uploads.get()).toEqual([]));
        expect(world().transfers).toHaveLength(1);
    });

    it("two tabs that choose the file of one document at once send it once", async () => {
        world().rows.push({
            id: "d9-a",
            owner_id: "me",
            name: "a",
            size_bytes: 10,
            status: "uploading",
            deleted_at: null,
            created_at: new Date().toISOString(),
        });
        const document = { id: "d9-a", name: "a", size_bytes: 10, mime_type: "text/plain" };
        const one = await openTab();
        await one.uploads.continueUpload(document, file("a"));
        const two = await openTab();
        await two.uploads.continueUpload(document, file("a"));
        await first("a");
        expect(world().transfers).toHaveLength(1);
        expect(two.states().a).toBe("elsewhere");
    });
});
