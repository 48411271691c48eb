import { announce, announceUrgently, complain, tell } from "../elements/messages";
import { now as spoken } from "../text/text";
import { admit } from "./admission";
import { around, bytes, change, find, type Surroundings, type Upload, type UploadState, uploads } from "./list";
import { awaitTurn, hold } from "./lock";
import { beginBatch } from "./progress";
import { dropTransfer, forget, goOn, pump, settle } from "./queue";
import { keepBytes, keepRecords, newId, readBytes, readRecord, readRecords, takeShared, type UploadRecord } from "./records";
import { doubtRow, readOpen } from "./rows";

/** Records that are on their way into the list. */
const arriving = new Set<string>();
const siblings = "BroadcastChannel" in globalThis ? new BroadcastChannel("instashare.uploads") : null;

/** Adds files: refuses what cannot go, announces the others to the database in one request and sends them, three at a time. */
export async function addFiles(chosen: readonly File[]): Promise<void> {
    const person = around.get();
    if (!person || chosen.length === 0) return;
    await take(
        person,
        chosen.map((file) => ({ file, id: newId() })),
        (going) => keepRecords(going.map((one) => recordOf(one, person.userId))),
    );
    for (const one of uploads.get()) {
        const blob = bytes.get(one.key);
        // one after the other, and only while they are still wanted: the disk is slower than many networks
        if (blob && chosen.includes(blob as File)) await keepBytes(one.key, blob);
    }
}

const recordOf = ({ key, documentId, name, size, type, lastModified }: Upload, userId: string): UploadRecord => ({
    id: key,
    userId,
    documentId,
    name,
    size,
    type,
    lastModified,
    addedAt: Date.now(),
    uploadUrl: null,
    offset: 0,
});

/** The files that another app has handed to this one; the service worker has put them by until somebody is signed in. */
export async function takeIn(): Promise<void> {
    const person = around.get();
    if (!person) return;
    const told = new URLSearchParams(window.location.search).get("shared");
    if (told) window.history.replaceState(null, "", window.location.pathname);
    if (told === "failed") complain(spoken().text.upload.sharedFailed);
    const taken = await takeShared(person.userId, Date.now());
    if (taken.length === 0 || around.get() !== person) return;
    tell(spoken().text.upload.shared(taken.length));
    await take(
        person,
        taken.map(({ record, file }) => ({ file, id: record.id })),
        () => Promise.resolve(),
    );
}

/** Lists files as uploads, has `keep` keep their records, and begins those that may go. */
async function take(person: Surroundings, given: { file: File; id: string }[], keep: (going: Upload[]) => Promise<void>): Promise<void> {
    const { text, format } = spoken();
    const limits = await person.limits().catch(() => null);
    if (around.get() !== person) return;
    const verdicts = admit(
        given.map((one) => one.file),
        limits,
        text,
        format,
    );
    const added = given.map(({ file, id }, at): Upload => {
        const why = verdicts[at] ?? null;
        const { name, size, type, lastModified } = file;
        const state = why ? "refused" : navigator.onLine ? "waiting" : "offline";
        return { key: id, documentId: null, name, size, type, lastModified, sent: 0, state, why };
    });
    for (const { file, id } of given) bytes.set(id, file);
    beginBatch();
    uploads.set((list) => [...list, ...added]);
    const going = added.filter((one) => one.state !== "refused");
    for (const one of added) {
        if (one.state !== "refused") continue;
        announceUrgently(text.upload.announceFailed(one.name, one.why ?? ""));
        settle(one.key);
    }
    if (going.length === 0) return;
    announce(text.upload.announceStart(going.length));
    // no other tab may think that nobody has them, and no reload may lose them
    await Promise.all(going.map((one) => hold(one.key)));
    await keep(going);
    await goOn();
    siblings?.postMessage("added");
}

/** What a reload, another tab or a lost network has left: it goes on, waits for its file, or is watched in its own tab. */
export async function restore(): Promise<void> {
    const person = around.get();
    if (!person) return;
    const free: UploadRecord[] = [];
    for (const record of await readRecords(person.userId)) {
        const here = find(record.id);
        if (here && !here.documentId && record.documentId) change(record.id, { documentId: record.documentId });
        if (here || arriving.has(record.id)) continue;
        arriving.add(record.id);
        if (await hold(record.id)) {
            free.push(record);
            continue;
        }
        list(record, "elsewhere");
        awaitTurn(record.id, () => void takeOver(record.id));
    }
    await bring(free);
}

/** The tab that had it has ended the upload, or was closed in the middle. */
async function takeOver(key: string): Promise<void> {
    const record = await readRecord(key);
    if (record && find(key)) await bring([record]);
    else forget(key);
}

async function bring(records: readonly UploadRecord[]): Promise<void> {
    const blobs = new Map<string, Blob>();
    for (const record of records) {
        const blob = await readBytes(record.id);
        if (blob) blobs.set(record.id, blob);
        if (!record.documentId) doubtRow(record.id);
        // it shows at once; without its bytes at hand nothing begins yet
        list(record, blob ? "waiting" : "interrupted");
    }
    const open = await readOpen(records.map((record) => record.documentId).filter((id) => id !== null));
    for (const { id, documentId } of records) {
        const blob = blobs.get(id);
        if (documentId ? open && !open.has(documentId) : !blob) forget(id);
        else if (blob && find(id)) {
            bytes.set(id, blob);
            // without an answer it stays as it is; the server is asked again when it goes on
            if (!open) change(id, { state: "offline" });
        }
    }
    await goOn();
}

function list(record: UploadRecord, state: UploadState): void {
    const { id: key, documentId, name, size, type, lastModified, offset: sent } = record;
    const one: Upload = { key, documentId, name, size, type, lastModified, sent, state, why: null };
    arriving.delete(key);
    if (!around.get()) return;
    uploads.set((all) => (all.some((other) => other.key === key) ? all.map((other) => (other.key === key ? one : other)) : [...all, one]));
}

/** Goes on with an interrupted upload from a file that was chosen again; false where it is another file. */
export async function continueUpload(document: { id: string; name: string; size_bytes: number; mime_type: string }, file: File): Promise<boolean> {
    const person = around.get();
    if (!person) return false;
    const kept = (await readRecords(person.userId)).find((record) => record.documentId === document.id);
    const same = kept ? file.name === kept.name && file.size === kept.size && file.lastModified === kept.lastModified : file.size === document.size_bytes;
    if (!same) {
        complain(spoken().text.upload.mismatch(kept?.name ?? document.name));
        return false;
    }
    // a document without a record lends its id: two tabs that begin at once want the same lock
    const record: UploadRecord = kept ?? {
        id: document.id,
        userId: person.userId,
        documentId: document.id,
        name: file.name,
        size: file.size,
        type: document.mime_type,
        lastModified: file.lastModified,
        addedAt: Date.now(),
        uploadUrl: null,
        offset: 0,
    };
    if (!(await hold(record.id))) {
        list(record, "elsewhere");
        awaitTurn(record.id, () => void takeOver(record.id));
        return true;
    }
    if (!kept) await keepRecords([record]);
    bytes.set(record.id, file);
    dropTransfer(record.id);
    list(record, navigator.onLine ? "waiting" : "offline");
    pump();
    siblings?.postMessage("added");
    await keepBytes(record.id, file);
    return true;
}

/** Follows the other tabs: what one adds, the others show as its own. */
export function followSiblings(): void {
    if (siblings) siblings.onmessage = () => void restore();
}
