import { createStore } from "../client/store";
import type { Limits } from "./admission";

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
    /** The id of its record. */
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

export const uploads = createStore<readonly Upload[]>([]);
/** Whose uploads these are; null while nobody is signed in. */
export const around = createStore<Surroundings | null>(null);
/** The bytes at hand, by the upload's key. */
export const bytes = new Map<string, Blob>();

export const find = (key: string): Upload | undefined => uploads.get().find((one) => one.key === key);
export const findByDocument = (list: readonly Upload[], documentId: string): Upload | undefined => list.find((one) => one.documentId === documentId);
export const unfinished = (one: Upload): boolean => one.state !== "done" && one.state !== "refused";

export function change(key: string, next: Partial<Upload>): void {
    uploads.set((list) => list.map((one) => (one.key === key ? { ...one, ...next } : one)));
}

/** Takes a finished or refused upload off the list. */
export function dismissUpload(key: string): void {
    uploads.set((list) => list.filter((one) => one.key !== key || unfinished(one)));
}

export function dismissFinished(): void {
    uploads.set((list) => list.filter(unfinished));
}
