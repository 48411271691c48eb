/** What a reload must not lose: one record an unfinished upload, with its bytes where they are few; and files that were shared with the app. */
export interface UploadRecord {
    documentId: string;
    userId: string;
    name: string;
    size: number;
    type: string;
    lastModified: number;
    uploadUrl: string | null;
    offset: number;
    /** The bytes, when they are few enough to keep. */
    blob: Blob | null;
}

/** Larger files are not copied into the browser's storage: the person chooses them again. */
export const BLOB_LIMIT = 50_000_000;

const STORES = ["uploads", "shared"] as const;
let opened: Promise<IDBDatabase> | undefined;

function open(): Promise<IDBDatabase> {
    opened ??= new Promise((resolve, reject) => {
        const request = indexedDB.open("instashare", 1);
        request.onupgradeneeded = () => {
            request.result.createObjectStore("uploads", { keyPath: "documentId" });
            request.result.createObjectStore("shared", { autoIncrement: true });
        };
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
    opened.catch(() => {
        opened = undefined;
    });
    return opened;
}

async function run<T>(store: (typeof STORES)[number], mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const database = await open();
    return new Promise((resolve, reject) => {
        const transaction = database.transaction(store, mode);
        const request = work(transaction.objectStore(store));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = () => reject(transaction.error ?? request.error);
        transaction.onerror = () => reject(transaction.error ?? request.error);
    });
}

/** Keeps a record; without its bytes where the browser has no room for them. */
export async function keepRecord(record: UploadRecord): Promise<void> {
    const blob = record.blob && record.size <= BLOB_LIMIT ? record.blob : null;
    try {
        await run("uploads", "readwrite", (store) => store.put({ ...record, blob }));
    } catch {
        if (blob) await run("uploads", "readwrite", (store) => store.put({ ...record, blob: null })).catch(() => undefined);
    }
}

export async function changeRecord(documentId: string, change: Partial<UploadRecord>): Promise<void> {
    const kept = await readRecord(documentId);
    if (kept) await run("uploads", "readwrite", (store) => store.put({ ...kept, ...change })).catch(() => undefined);
}

export async function readRecord(documentId: string): Promise<UploadRecord | undefined> {
    return run("uploads", "readonly", (store) => store.get(documentId) as IDBRequest<UploadRecord | undefined>).catch(() => undefined);
}

export async function readRecords(userId: string): Promise<UploadRecord[]> {
    const all = await run("uploads", "readonly", (store) => store.getAll() as IDBRequest<UploadRecord[]>).catch(() => []);
    return all.filter((record) => record.userId === userId);
}

export async function removeRecord(documentId: string): Promise<void> {
    await run("uploads", "readwrite", (store) => store.delete(documentId)).catch(() => undefined);
}

/** Sign-out: nothing of anybody stays in this browser. */
export async function clearRecords(): Promise<void> {
    for (const store of STORES) await run(store, "readwrite", (one) => one.clear()).catch(() => undefined);
}

/** The files that another app has handed to this one (the service worker has put them there); they are taken once. */
export async function takeShared(): Promise<File[]> {
    const files = await run("shared", "readonly", (store) => store.getAll() as IDBRequest<File[]>).catch(() => []);
    if (files.length > 0) await run("shared", "readwrite", (store) => store.clear()).catch(() => undefined);
    return files;
}
