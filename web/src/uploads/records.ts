/**
 * What a reload, a crash or a time without network must not lose: one record an unfinished upload, its bytes where they
 * are few, and the files that another app has shared. The service worker (public/sw.js) writes the last, in the same
 * database: whoever changes its version here changes it there.
 */
export interface UploadRecord {
    /** This browser's own name of the upload: it has one before the database has given the document its id. */
    id: string;
    userId: string;
    documentId: string | null;
    name: string;
    size: number;
    type: string;
    lastModified: number;
    /** When it was added, by this device's clock, in milliseconds. */
    addedAt: number;
    uploadUrl: string | null;
    offset: number;
}

/** Larger files are not copied into the browser's storage: the person chooses them again. */
export const BLOB_LIMIT = 50_000_000;

const VERSION = 2;
type Store = "uploads" | "bytes" | "shared";
const STORES: readonly Store[] = ["uploads", "bytes", "shared"];
let opened: Promise<IDBDatabase> | undefined;

function open(): Promise<IDBDatabase> {
    opened ??= new Promise((resolve, reject) => {
        const request = indexedDB.open("instashare", VERSION);
        request.onupgradeneeded = () => {
            for (const name of [...request.result.objectStoreNames]) request.result.deleteObjectStore(name);
            request.result.createObjectStore("uploads", { keyPath: "id" });
            request.result.createObjectStore("bytes");
            request.result.createObjectStore("shared", { autoIncrement: true });
        };
        request.onsuccess = () => {
            // a newer page in another tab wants to change the stores: it must not wait for this one
            request.result.onversionchange = () => {
                request.result.close();
                opened = undefined;
            };
            resolve(request.result);
        };
        request.onerror = () => reject(request.error);
    });
    opened.catch(() => {
        opened = undefined;
    });
    return opened;
}

/** One transaction: all of `work` or nothing. Resolves with what `work`'s request found, once it is stored. */
async function run<T>(stores: readonly Store[], mode: IDBTransactionMode, work: (open: (name: Store) => IDBObjectStore) => IDBRequest<T> | null): Promise<T> {
    const database = await open();
    return new Promise((resolve, reject) => {
        const transaction = database.transaction([...stores], mode);
        const request = work((name) => transaction.objectStore(name));
        transaction.oncomplete = () => resolve(request?.result as T);
        transaction.onabort = () => reject(transaction.error ?? request?.error);
        transaction.onerror = () => reject(transaction.error ?? request?.error);
    });
}

/** A name that no other upload of this browser has. */
export function newId(): string {
    return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Keeps records, all or none; where the browser keeps nothing, uploads run all the same and a reload forgets them. */
export async function keepRecords(records: readonly UploadRecord[]): Promise<void> {
    await run(["uploads"], "readwrite", (open) => {
        for (const record of records) open("uploads").put(record);
        return null;
    }).catch(() => undefined);
}

/** Keeps the bytes of a record that still exists; where there is no room for them the file must be chosen again after a reload. */
export async function keepBytes(id: string, blob: Blob): Promise<void> {
    if (blob.size > BLOB_LIMIT) return;
    await run(["uploads", "bytes"], "readwrite", (open) => {
        const kept = open("uploads").getKey(id);
        kept.onsuccess = () => {
            if (kept.result !== undefined) open("bytes").put(blob, id);
        };
        return null;
    }).catch(() => undefined);
}

/** Changes a record in part; a change that comes after its end makes no new one. */
export async function changeRecord(id: string, change: Partial<Omit<UploadRecord, "id">>): Promise<void> {
    await run(["uploads"], "readwrite", (open) => {
        const kept: IDBRequest<UploadRecord | undefined> = open("uploads").get(id);
        kept.onsuccess = () => {
            if (kept.result) open("uploads").put({ ...kept.result, ...change });
        };
        return null;
    }).catch(() => undefined);
}

export async function readRecord(id: string): Promise<UploadRecord | undefined> {
    return run(["uploads"], "readonly", (open) => open("uploads").get(id) as IDBRequest<UploadRecord | undefined>).catch(() => undefined);
}

/** A person's records, the oldest first. */
export async function readRecords(userId: string): Promise<UploadRecord[]> {
    const all = await run(["uploads"], "readonly", (open) => open("uploads").getAll() as IDBRequest<UploadRecord[]>).catch(() => []);
    return all.filter((record) => record.userId === userId).sort((a, b) => a.addedAt - b.addedAt);
}

export async function readBytes(id: string): Promise<Blob | undefined> {
    return run(["bytes"], "readonly", (open) => open("bytes").get(id) as IDBRequest<Blob | undefined>).catch(() => undefined);
}

export async function removeRecord(id: string): Promise<void> {
    await run(["uploads", "bytes"], "readwrite", (open) => {
        open("bytes").delete(id);
        return open("uploads").delete(id);
    }).catch(() => undefined);
}

/** Sign-out: nothing of anybody stays in this browser. */
export async function clearRecords(): Promise<void> {
    await run(STORES, "readwrite", (open) => {
        for (const store of STORES) open(store).clear();
        return null;
    }).catch(() => undefined);
}

/**
 * Makes uploads of the files that another app has shared, their bytes of whatever size: nobody can choose them again. One
 * transaction, so that they become one upload each, however many tabs look and whenever the page goes away.
 */
export async function takeShared(userId: string, addedAt: number): Promise<{ record: UploadRecord; file: File }[]> {
    const taken: { record: UploadRecord; file: File }[] = [];
    try {
        await run(STORES, "readwrite", (open) => {
            const shared: IDBRequest<File[]> = open("shared").getAll();
            shared.onsuccess = () => {
                for (const file of shared.result) {
                    const { name, size, type, lastModified } = file;
                    const record = { id: newId(), userId, documentId: null, name, size, type, lastModified, addedAt, uploadUrl: null, offset: 0 };
                    open("uploads").put(record);
                    open("bytes").put(file, record.id);
                    taken.push({ record, file });
                }
                open("shared").clear();
            };
            return null;
        });
    } catch {
        return [];
    }
    return taken;
}
