import { announceUrgently } from "../elements/messages";
import { now as spoken } from "../text/text";
import { stayAwake } from "./awake";
import { around, bytes, change, find, type Upload, type UploadState, unfinished, uploads } from "./list";
import { release } from "./lock";
import { endBatch, progress } from "./progress";
import { changeRecord, removeRecord } from "./records";
import { createRows, discardDocument, readStatus, readUploadUrl } from "./rows";
import { type Ended, openTransfer, putEmpty, type Transfer } from "./transfer";

const AT_ONCE = 3;
const RETRY_AFTER = 15_000;
/** A transfer without a byte for so long hangs on a connection that is dead, as after the device's sleep. */
const STALLED = 60_000;
const LOOK_EVERY = 15_000;

const transfers = new Map<string, Transfer>();
/** The taken places, each with the run that has it: what an earlier run still says does not count. */
const active = new Map<string, symbol>();
const movedAt = new Map<string, number>();
let retrying: ReturnType<typeof setTimeout> | undefined;
let looking: ReturnType<typeof setInterval> | undefined;

/** Begins what waits and has its row, three at a time. */
export function pump(): void {
    for (const one of uploads.get()) {
        if (active.size >= AT_ONCE) break;
        if (one.state !== "waiting" || one.documentId === null || active.has(one.key) || !bytes.has(one.key)) continue;
        const run = Symbol(one.key);
        active.set(one.key, run);
        void send(one, one.documentId, run);
    }
    void stayAwake(() => active.size > 0);
    if (active.size > 0) looking ??= setInterval(reviveStalled, LOOK_EVERY);
    else {
        clearInterval(looking);
        looking = undefined;
    }
}

/** Frees the place of an upload, and where it has ended all that was kept for it. */
export function settle(key: string): void {
    active.delete(key);
    const one = find(key);
    if (!one || !unfinished(one)) {
        transfers.delete(key);
        movedAt.delete(key);
        bytes.delete(key);
        // not before the record is gone: another tab that waits for the lock would go on with it
        void removeRecord(key).then(() => {
            const now = find(key);
            if (!now || !unfinished(now)) release(key);
        });
    }
    pump();
}

async function send({ key, size, type }: Upload, documentId: string, run: symbol): Promise<void> {
    const mine = () => active.get(key) === run && find(key)?.state === "waiting";
    const file = bytes.get(key);
    const path = `${around.get()?.userId}/${documentId}`;
    let transfer = transfers.get(key);
    if (!transfer && file && size > 0) {
        try {
            transfer = await openTransfer({
                file,
                key: path,
                type,
                uploadUrl: await readUploadUrl(key),
                onUrl: (uploadUrl) => void changeRecord(key, { uploadUrl }),
                onProgress: (sent) => {
                    movedAt.set(key, Date.now());
                    progress(key, sent);
                },
                onStored: (offset) => void changeRecord(key, { offset }),
                onEnd: (ended) => void end(key, ended),
            });
        } catch {
            // the part of the page that sends could not be fetched
            if (mine()) waitForNetwork(key);
            return;
        }
    }
    if (!mine() || !file) {
        if (active.get(key) === run) settle(key);
        return;
    }
    change(key, { state: "sending", why: null });
    movedAt.set(key, Date.now());
    if (!transfer) return end(key, await putEmpty(path, file, type));
    transfers.set(key, transfer);
    transfer.start();
}

async function end(key: string, ended: Ended): Promise<void> {
    const one = find(key);
    if (!one) return;
    if (ended.kind === "done") return finish(key);
    const sends = () => find(key)?.state === "sending";
    if (!sends()) return settle(key); // paused or gone offline meanwhile
    const { text } = spoken();
    switch (ended.kind) {
        case "unreachable":
            if (await isReadable(bytes.get(key))) return sends() ? waitForNetwork(key) : settle(key);
            bytes.delete(key);
            transfers.delete(key);
            return stopWith(key, "interrupted", text.upload.unreadable);
        case "signed_out":
            change(key, { state: "paused" });
            return settle(key);
    }
    // a refusal of a retried upload may only mean that the first try had arrived: the row tells
    const status = await readStatus(one.documentId);
    if (status === "unknown") return sends() ? waitForNetwork(key) : settle(key);
    if (status === null) return forget(key);
    if (status !== "uploading") return finish(key);
    if (ended.kind === "vanished") {
        transfers.delete(key);
        await changeRecord(key, { uploadUrl: null, offset: 0 });
        change(key, { sent: 0 });
        return stopWith(key, "vanished", text.upload.vanished);
    }
    stopWith(key, "refused", ended.kind === "too_large" ? (text.fault.file_too_large ?? ended.message) : ended.message || (text.fault.unexpected ?? ""));
}

/** A request whose file was changed, moved or deleted since it was chosen fails like one without a network. */
async function isReadable(file: Blob | undefined): Promise<boolean> {
    try {
        await file?.slice(0, 1).arrayBuffer();
        return true;
    } catch {
        return false;
    }
}

function waitForNetwork(key: string): void {
    change(key, { state: "offline" });
    settle(key);
    retryLater();
}

function stopWith(key: string, state: UploadState, why: string): void {
    const one = find(key);
    change(key, { state, why });
    settle(key);
    if (one) announceUrgently(spoken().text.upload.announceFailed(one.name, why));
}

function finish(key: string): void {
    const one = find(key);
    if (!one) return;
    change(key, { state: "done", sent: one.size, why: null });
    settle(key);
    around.get()?.changed();
    endBatch();
}

/** Takes an upload off the list with all that was kept for it. */
export function forget(key: string): void {
    uploads.set((list) => list.filter((one) => one.key !== key));
    settle(key);
}

export async function pauseUpload(key: string): Promise<void> {
    const one = find(key);
    if (one?.state !== "sending" && one?.state !== "waiting" && one?.state !== "offline") return;
    change(key, { state: "paused" });
    await transfers.get(key)?.abort();
    settle(key);
}

export function resumeUpload(key: string): void {
    const one = find(key);
    if (one?.state !== "paused" && one?.state !== "vanished") return;
    if (!bytes.has(key)) change(key, { state: "interrupted" });
    else change(key, { state: navigator.onLine ? "waiting" : "offline", why: null });
    void goOn();
}

export function pauseAll(): void {
    for (const one of uploads.get()) void pauseUpload(one.key);
}

export function resumeAll(): void {
    for (const one of uploads.get()) if (one.state === "paused") resumeUpload(one.key);
}

/** Ends an upload for good: in this browser, at the server, and its row. */
export async function cancelUpload(key: string): Promise<void> {
    const one = find(key);
    if (!one) return;
    const transfer = transfers.get(key);
    forget(key);
    if (!one.documentId) return;
    // first the bytes: nobody may end the upload of a document that is gone
    if (navigator.onLine) await transfer?.terminate();
    else await transfer?.abort();
    await discardDocument(one.documentId);
}

export function goOffline(): void {
    for (const one of uploads.get()) {
        if (one.state !== "sending" && one.state !== "waiting") continue;
        change(one.key, { state: "offline" });
        active.delete(one.key);
        void transfers.get(one.key)?.abort();
    }
    pump();
}

/** The network is back, or may be: what waited for it goes on. */
export async function goOnline(): Promise<void> {
    clearTimeout(retrying);
    retrying = undefined;
    if (!navigator.onLine) return;
    for (const one of uploads.get()) {
        if (one.state === "offline") change(one.key, { state: bytes.has(one.key) ? "waiting" : "interrupted" });
    }
    await goOn();
}

/** Gives all that wait for one their rows, in one request, and sends what has one; those that are refused end here. */
export async function goOn(): Promise<void> {
    pump();
    const fresh = uploads.get().filter((one) => one.state === "waiting" && one.documentId === null);
    if (fresh.length === 0) return;
    if (!(await createRows(fresh))) retryLater();
    for (const { key } of fresh) if (find(key)?.state === "refused") settle(key);
    pump();
}

function retryLater(): void {
    retrying ??= setTimeout(() => void goOnline(), RETRY_AFTER);
}

/** Begins anew, from what the server has, with transfers that hang: a device that slept is not told that its connections are dead. */
export function reviveStalled(): void {
    for (const key of active.keys()) {
        const transfer = transfers.get(key);
        if (!transfer || find(key)?.state !== "sending" || Date.now() - (movedAt.get(key) ?? 0) < STALLED) continue;
        movedAt.set(key, Date.now());
        void transfer.abort().then(() => {
            if (transfers.get(key) === transfer && find(key)?.state === "sending") transfer.start();
        });
    }
}

/** Sign-out: everything stops; nothing goes on by itself. */
export async function stopAll(): Promise<void> {
    clearTimeout(retrying);
    retrying = undefined;
    const running = [...transfers.values()];
    transfers.clear();
    active.clear();
    movedAt.clear();
    bytes.clear();
    uploads.set([]);
    pump();
    await Promise.all(running.map((transfer) => transfer.abort()));
}

/** Forgets how an upload was being sent: its file was chosen anew. */
export function dropTransfer(key: string): void {
    transfers.delete(key);
}
