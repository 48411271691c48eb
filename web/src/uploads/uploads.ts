import { asFault, type Fault, unwrap } from "../client/faults";
import { createStore } from "../client/store";
import { supabase } from "../client/supabase";
import { announce, announceUrgently, complain, tell } from "../elements/messages";
import { sentence } from "../text/sentence";
import { now as spoken } from "../text/text";
import { admit, type Limits } from "./admission";
import { changeRecord, clearRecords, keepRecord, readRecord, readRecords, removeRecord, takeShared, type UploadRecord } from "./records";
import { type Ended, openTransfer, putEmpty, type Transfer } from "./transfer";

export type UploadState =
    | "waiting" // for one of the three places
    | "sending"
    | "paused" // by the person
    | "offline" // goes on by itself
    | "interrupted" // the file must be chosen again
    | "elsewhere" // another tab has it
    | "vanished" // the server lost the first part
    | "done"
    | "refused";

export interface Upload {
    key: string;
    documentId: string | null;
    name: string;
    size: number;
    type: string;
    lastModified: number;
    sent: number;
    state: UploadState;
    /** Why it was refused, or what is to be done. */
    why: string | null;
}

/** What the uploads need of the rest of the client. */
export interface Surroundings {
    userId: string;
    limits(): Promise<Limits | null>;
    /** A document came, went or changed. */
    changed(): void;
}

const AT_ONCE = 3;
const RETRY_AFTER = 15_000;

export const uploads = createStore<readonly Upload[]>([]);
/** Bytes a second of all uploads together, 0 where none is known. */
export const pace = createStore(0);

const files = new Map<string, Blob>();
const transfers = new Map<string, Transfer>();
const active = new Set<string>();
const locks = new Map<string, () => void>();
let surroundings: Surroundings | null = null;
let wake: WakeLockSentinel | null = null;
let lastKey = 0;
let told = 0;

const find = (key: string) => uploads.get().find((one) => one.key === key);
export const findByDocument = (list: readonly Upload[], documentId: string) => list.find((one) => one.documentId === documentId);
const unfinished = (one: Upload) => one.state !== "done" && one.state !== "refused";

function change(key: string, next: Partial<Upload>): void {
    uploads.set((list) => list.map((one) => (one.key === key ? { ...one, ...next } : one)));
}

/** Begins for a person: what a reload interrupted goes on, what another app has shared is taken in. */
export async function beginUploads(around: Surroundings): Promise<void> {
    surroundings = around;
    window.addEventListener("offline", goOffline);
    window.addEventListener("online", goOnline);
    document.addEventListener("visibilitychange", seen);
    window.addEventListener("beforeunload", warn);
    await restore(around);
    await takeIn();
}

async function takeIn(): Promise<void> {
    const shared = await takeShared();
    if (shared.length === 0) return;
    tell(spoken().text.upload.shared(shared.length));
    await addFiles(shared);
}

/** Sign-out: everything stops and nothing of it stays in this browser. */
export async function endUploads(): Promise<void> {
    surroundings = null;
    window.removeEventListener("offline", goOffline);
    window.removeEventListener("online", goOnline);
    document.removeEventListener("visibilitychange", seen);
    window.removeEventListener("beforeunload", warn);
    const running = [...transfers.values()];
    transfers.clear();
    active.clear();
    files.clear();
    for (const release of locks.values()) release();
    locks.clear();
    uploads.set([]);
    await Promise.all(running.map((transfer) => transfer.abort().catch(() => undefined)));
    await clearRecords();
}

async function restore(around: Surroundings): Promise<void> {
    const records = await readRecords(around.userId);
    if (records.length === 0) return;
    let open: Set<string> | null = null;
    try {
        const rows = unwrap(
            await supabase()
                .from("documents")
                .select("id")
                .in(
                    "id",
                    records.map((record) => record.documentId),
                )
                .eq("status", "uploading")
                .is("deleted_at", null),
        );
        open = new Set(rows.map((row) => row.id));
    } catch {
        // offline: they stay as they are, the server is asked again when they go on
    }
    const here: Upload[] = [];
    for (const record of records) {
        if (open && !open.has(record.documentId)) {
            await removeRecord(record.documentId);
            continue;
        }
        if (findByDocument(uploads.get(), record.documentId)) continue;
        const key = `u${++lastKey}`;
        if (record.blob) files.set(key, record.blob);
        here.push({
            key,
            documentId: record.documentId,
            name: record.name,
            size: record.size,
            type: record.type,
            lastModified: record.lastModified,
            sent: record.offset,
            state: record.blob ? (open ? "waiting" : "offline") : "interrupted",
            why: null,
        });
    }
    uploads.set((list) => [...list, ...here]);
    pump();
}

/** Adds files: refuses what cannot go, announces the others to the database in one request and sends them, three at a time. */
export async function addFiles(chosen: readonly File[]): Promise<void> {
    if (!surroundings || chosen.length === 0) return;
    const { text, format } = spoken();
    const limits = await surroundings.limits().catch(() => null);
    const verdicts = admit(chosen, limits, text, format);
    const added: Upload[] = chosen.map((file, at) => {
        const key = `u${++lastKey}`;
        const why = verdicts[at] ?? null;
        if (!why) files.set(key, file);
        return {
            key,
            documentId: null,
            name: file.name,
            size: file.size,
            type: file.type,
            lastModified: file.lastModified,
            sent: 0,
            state: why ? "refused" : navigator.onLine ? "waiting" : "offline",
            why,
        };
    });
    if (!uploads.get().some(unfinished)) told = 0;
    uploads.set((list) => [...(list.some(unfinished) ? list : list.filter((one) => one.state === "refused")), ...added]);
    for (const one of added) if (one.why) announceUrgently(text.upload.announceFailed(one.name, one.why));
    const going = added.filter((one) => !one.why);
    if (going.length === 0) return;
    announce(text.upload.announceStart(going.length));
    await createDocuments(going);
    pump();
}

async function createDocuments(going: Upload[]): Promise<void> {
    if (!navigator.onLine) return;
    try {
        // one request: twenty rows appear at once; where one is refused each is tried alone. The newest stands on top of
        // the library, so the first file comes last.
        const reversed = going.toReversed();
        const rows = unwrap(await supabase().from("documents").insert(reversed.map(rowOf)).select("id"));
        await Promise.all(reversed.map((one, at) => created(one.key, rows[at]?.id ?? null)));
    } catch (thrown) {
        const fault = asFault(thrown);
        if (fault.code === "unreachable") {
            for (const one of going) change(one.key, { state: "offline" });
            setTimeout(goOnline, RETRY_AFTER);
        } else if (going.length === 1 && going[0]) {
            refuse(going[0].key, fault);
        } else {
            for (const one of going) await createDocuments([one]);
            return;
        }
    }
    surroundings?.changed();
}

const rowOf = (one: Upload) => ({ name: one.name, size_bytes: one.size, mime_type: one.type || "application/octet-stream" });

async function created(key: string, documentId: string | null): Promise<void> {
    const one = find(key);
    if (!documentId || !one || !surroundings) return;
    change(key, { documentId });
    await keepRecord({
        documentId,
        userId: surroundings.userId,
        name: one.name,
        size: one.size,
        type: one.type,
        lastModified: one.lastModified,
        uploadUrl: null,
        offset: 0,
        blob: files.get(key) ?? null,
    });
}

function refuse(key: string, fault: Fault): void {
    const { text } = spoken();
    stopWith(key, "refused", sentence(fault, text));
}

function stopWith(key: string, state: UploadState, why: string): void {
    const one = find(key);
    change(key, { state, why });
    settle(key);
    if (one) announceUrgently(spoken().text.upload.announceFailed(one.name, why));
}

/** Frees the place of an upload. */
function settle(key: string): void {
    active.delete(key);
    const one = find(key);
    if (one && !unfinished(one)) {
        transfers.delete(key);
        files.delete(key);
        locks.get(key)?.();
        locks.delete(key);
    }
    pump();
}

function pump(): void {
    for (const one of uploads.get()) {
        if (active.size >= AT_ONCE) break;
        if (one.state !== "waiting" || active.has(one.key) || !files.has(one.key)) continue;
        active.add(one.key);
        void send(one.key);
    }
    void holdWake();
}

async function send(key: string): Promise<void> {
    const first = find(key);
    if (!first) return settle(key);
    if (!first.documentId) {
        await createDocuments([first]);
        const made = find(key);
        if (!made?.documentId) return settle(key);
    }
    const one = find(key);
    const file = files.get(key);
    const person = surroundings?.userId;
    if (!one?.documentId || !file || !person || one.state !== "waiting") return settle(key);
    if (!(await takeLock(key, one.documentId))) {
        change(key, { state: "elsewhere" });
        return settle(key);
    }
    if (find(key)?.state !== "waiting") return settle(key);
    change(key, { state: "sending", why: null });
    if (one.size === 0) return sendEmpty(key, `${person}/${one.documentId}`, file, one.type);
    const documentId = one.documentId;
    let transfer = transfers.get(key);
    if (!transfer) {
        const record = await readRecord(documentId);
        try {
            transfer = await openTransfer({
                file,
                key: `${person}/${documentId}`,
                type: one.type,
                uploadUrl: record?.uploadUrl ?? null,
                onUrl: (uploadUrl) => void changeRecord(documentId, { uploadUrl }),
                onProgress: (sent) => progress(key, sent),
                onStored: (offset) => void changeRecord(documentId, { offset }),
                onEnd: (ended) => void end(key, ended),
            });
        } catch (thrown) {
            return end(key, { kind: "unreachable", message: asFault(thrown).message });
        }
        if (find(key)?.state !== "sending") return settle(key);
        transfers.set(key, transfer);
    }
    transfer.start();
}

async function sendEmpty(key: string, path: string, file: Blob, type: string): Promise<void> {
    // a resumable upload of nothing fails on some storage backends
    return end(key, await putEmpty(path, file, type));
}

let measuredAt = 0;
let measuredBytes = 0;
let shownAt = new Map<string, number>();

function progress(key: string, sent: number): void {
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
    announceParts();
}

function announceParts(): void {
    const list = uploads.get().filter((one) => one.state !== "refused");
    const whole = list.reduce((sum, one) => sum + one.size, 0);
    const sent = list.reduce((sum, one) => sum + (one.state === "done" ? one.size : one.sent), 0);
    const quarter = whole > 0 ? Math.floor((sent / whole) * 4) : 0;
    if (quarter > told && quarter < 4) {
        const { text, format } = spoken();
        announce(text.upload.announcePart(format.percent(quarter / 4)));
    }
    told = Math.max(told, quarter);
}

async function end(key: string, ended: Ended): Promise<void> {
    const one = find(key);
    if (!one) return;
    const { text } = spoken();
    if (ended.kind === "done") return finish(key);
    if (one.state !== "sending") return settle(key); // paused or gone offline meanwhile
    if (ended.kind === "unreachable") {
        change(key, { state: "offline" });
        settle(key);
        setTimeout(goOnline, RETRY_AFTER);
    } else if (ended.kind === "signed_out") {
        change(key, { state: "paused" });
        settle(key);
    } else if (ended.kind === "unreadable") {
        files.delete(key);
        transfers.delete(key);
        stopWith(key, "interrupted", text.upload.unreadable);
    } else {
        // a refusal of a retried upload may only mean that the first try had arrived: the row tells
        const status = await statusOf(one.documentId);
        if (status === "unknown") {
            change(key, { state: "offline" });
            settle(key);
            setTimeout(goOnline, RETRY_AFTER);
        } else if (status === null) {
            await forget(key);
        } else if (status !== "uploading") {
            await finish(key);
        } else if (ended.kind === "vanished") {
            transfers.delete(key);
            if (one.documentId) await changeRecord(one.documentId, { uploadUrl: null, offset: 0 });
            change(key, { sent: 0 });
            stopWith(key, "vanished", text.upload.vanished);
        } else {
            if (one.documentId) await removeRecord(one.documentId);
            stopWith(key, "refused", ended.message || text.fault.unexpected || "");
        }
    }
}

async function statusOf(documentId: string | null): Promise<string | null> {
    if (!documentId) return null;
    try {
        const answer = await supabase().from("documents").select("status").eq("id", documentId).is("deleted_at", null).maybeSingle();
        if (answer.error) return "unknown";
        return answer.data?.status ?? null;
    } catch {
        return "unknown";
    }
}

async function finish(key: string): Promise<void> {
    const one = find(key);
    if (!one) return;
    change(key, { state: "done", sent: one.size, why: null });
    settle(key);
    if (one.documentId) await removeRecord(one.documentId);
    surroundings?.changed();
    const list = uploads.get();
    if (!list.some((other) => other.state === "waiting" || other.state === "sending")) {
        announce(spoken().text.upload.announceEnd(list.filter((other) => other.state === "done").length));
        pace.set(0);
        measuredAt = 0;
        measuredBytes = 0;
        shownAt = new Map();
    }
}

async function forget(key: string): Promise<void> {
    const one = find(key);
    transfers.delete(key);
    files.delete(key);
    locks.get(key)?.();
    locks.delete(key);
    active.delete(key);
    uploads.set((list) => list.filter((other) => other.key !== key));
    if (one?.documentId) await removeRecord(one.documentId);
    pump();
}

export async function pauseUpload(key: string): Promise<void> {
    const one = find(key);
    if (one?.state !== "sending" && one?.state !== "waiting" && one?.state !== "offline") return;
    change(key, { state: "paused" });
    await transfers
        .get(key)
        ?.abort()
        .catch(() => undefined);
    settle(key);
}

export function resumeUpload(key: string): void {
    const one = find(key);
    if (one?.state !== "paused" && one?.state !== "vanished" && one?.state !== "elsewhere") return;
    if (!files.has(key)) change(key, { state: "interrupted" });
    else change(key, { state: navigator.onLine ? "waiting" : "offline", why: null });
    pump();
}

export function pauseAll(): void {
    for (const one of uploads.get()) void pauseUpload(one.key);
}

export function resumeAll(): void {
    for (const one of uploads.get()) if (one.state === "paused") resumeUpload(one.key);
}

/** Ends an upload for good: at the server, in this browser, and its row. */
export async function cancelUpload(key: string): Promise<void> {
    const one = find(key);
    if (!one) return;
    const transfer = transfers.get(key);
    change(key, { state: "paused" });
    await transfer?.terminate();
    await forget(key);
    if (one.documentId) await discardDocument(one.documentId);
}

/** Removes a document that never got its bytes; it does not stay in the trash. */
export async function discardDocument(documentId: string): Promise<void> {
    try {
        unwrap(await supabase().rpc("delete_document", { document_id: documentId }));
        const { error } = await supabase().rpc("purge_document", { document_id: documentId });
        if (error) throw error;
        await removeRecord(documentId);
    } catch (thrown) {
        const { text } = spoken();
        complain(text.action.failed(sentence(asFault(thrown), text)));
    }
    surroundings?.changed();
}

/** Takes a finished or refused upload off the tray. */
export function dismissUpload(key: string): void {
    uploads.set((list) => list.filter((one) => one.key !== key || unfinished(one)));
}

export function dismissFinished(): void {
    uploads.set((list) => list.filter(unfinished));
}

/** Goes on with an interrupted upload from a file that was chosen again; false where it is another file. */
export async function continueUpload(document: { id: string; name: string; size_bytes: number; mime_type: string }, file: File): Promise<boolean> {
    if (!surroundings) return false;
    const known = findByDocument(uploads.get(), document.id);
    const record = await readRecord(document.id);
    const same = record
        ? file.name === record.name && file.size === record.size && file.lastModified === record.lastModified
        : file.size === document.size_bytes;
    if (!same) {
        complain(spoken().text.upload.mismatch(record?.name ?? document.name));
        return false;
    }
    const key = known?.key ?? `u${++lastKey}`;
    files.set(key, file);
    transfers.delete(key);
    const kept: UploadRecord = record ?? {
        documentId: document.id,
        userId: surroundings.userId,
        name: file.name,
        size: file.size,
        type: document.mime_type,
        lastModified: file.lastModified,
        uploadUrl: null,
        offset: 0,
        blob: null,
    };
    await keepRecord({ ...kept, blob: file });
    if (known) {
        change(key, { state: "waiting", why: null, lastModified: file.lastModified });
    } else {
        uploads.set((list) => [
            ...list,
            {
                key,
                documentId: document.id,
                name: file.name,
                size: file.size,
                type: document.mime_type,
                lastModified: file.lastModified,
                sent: kept.offset,
                state: "waiting",
                why: null,
            },
        ]);
    }
    pump();
    return true;
}

/** One lock a document: two tabs never send the same one. It is held until the upload ends. */
async function takeLock(key: string, documentId: string): Promise<boolean> {
    if (locks.has(key) || !navigator.locks) return true;
    return new Promise((answer) => {
        void navigator.locks.request(`instashare.upload.${documentId}`, { ifAvailable: true }, (lock) => {
            if (!lock) {
                answer(false);
                return undefined;
            }
            return new Promise<void>((release) => {
                locks.set(key, release);
                answer(true);
            });
        });
    });
}

function goOffline(): void {
    for (const one of uploads.get()) {
        if (one.state !== "sending" && one.state !== "waiting") continue;
        change(one.key, { state: "offline" });
        active.delete(one.key);
        void transfers
            .get(one.key)
            ?.abort()
            .catch(() => undefined);
    }
}

function goOnline(): void {
    if (!navigator.onLine) return;
    for (const one of uploads.get()) {
        if (one.state === "offline") change(one.key, { state: files.has(one.key) ? "waiting" : "interrupted" });
    }
    pump();
}

function seen(): void {
    if (document.visibilityState !== "visible") return;
    goOnline();
    // another tab may have gone: its uploads can go on here
    for (const one of uploads.get()) if (one.state === "elsewhere") resumeUpload(one.key);
    void holdWake();
    void takeIn();
}

function warn(event: BeforeUnloadEvent): void {
    if (uploads.get().some((one) => one.state === "sending")) event.preventDefault();
}

/** The device stays awake while bytes move, where it can be asked to. */
async function holdWake(): Promise<void> {
    const moving = active.size > 0 && document.visibilityState === "visible";
    if (moving && !wake && "wakeLock" in navigator) {
        wake = await navigator.wakeLock.request("screen").catch(() => null);
        wake?.addEventListener("release", () => {
            wake = null;
        });
    } else if (!moving && wake) {
        const held = wake;
        wake = null;
        await held.release().catch(() => undefined);
    }
}
