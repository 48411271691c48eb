import type { DetailedError, Upload as TusUpload } from "tus-js-client";
import { accessToken, config, fetchInTime, freshToken } from "../client/supabase";

/** Storage takes chunks of exactly this size but for the last. */
export const CHUNK = 6 * 1024 * 1024;
const RETRY_DELAYS = [0, 1000, 3000, 5000, 10_000, 20_000];

export interface Ended {
    kind: "done" | "refused" | "too_large" | "vanished" | "unreachable" | "signed_out";
    message: string;
}

export interface Transfer {
    start(): void;
    abort(): Promise<void>;
    /** Ends the upload at the server too. */
    terminate(): Promise<void>;
}

export interface Wishes {
    file: Blob;
    key: string;
    type: string;
    uploadUrl: string | null;
    onUrl(url: string): void;
    onProgress(sent: number): void;
    onStored(offset: number): void;
    onEnd(ended: Ended): void;
}

/**
 * One resumable upload (TUS 1.0). The token is asked for request by request, so that it may expire in mid-file: Storage
 * answers an expired one with 400 and `statusCode "403"`, and a HEAD has no body, so any refusal is tried once again
 * under a fresh token before it counts. Once the URL is known there is no `endpoint` any more: with one, a HEAD under a
 * stale token would drop the URL and begin from zero.
 */
export async function openTransfer(wishes: Wishes): Promise<Transfer> {
    const tus = await import("tus-js-client");
    let stale = false;
    let refreshed = false;
    const headers = { apikey: config().publishableKey };

    const upload: TusUpload = new tus.Upload(wishes.file, {
        endpoint: wishes.uploadUrl ? null : `${config().supabaseUrl}/storage/v1/upload/resumable`,
        uploadUrl: wishes.uploadUrl,
        chunkSize: CHUNK,
        retryDelays: RETRY_DELAYS,
        storeFingerprintForResuming: false,
        headers,
        metadata: {
            bucketName: "documents",
            objectName: wishes.key,
            contentType: wishes.type || "application/octet-stream",
            cacheControl: "3600",
        },
        onBeforeRequest: async (request) => {
            const token = stale ? await freshToken() : await accessToken();
            if (stale) {
                stale = false;
                refreshed = true;
            }
            request.setHeader("Authorization", `Bearer ${token}`);
        },
        onUploadUrlAvailable: () => {
            if (!upload.url) return;
            upload.options.endpoint = null;
            upload.options.uploadUrl = upload.url;
            wishes.onUrl(upload.url);
        },
        onProgress: (sent) => wishes.onProgress(sent),
        onChunkComplete: (_size, accepted) => {
            refreshed = false;
            wishes.onStored(accepted);
        },
        onShouldRetry: (error) => {
            if (/signed_out/.test(error.message)) return false;
            const status = statusOf(error as DetailedError);
            if ([400, 401, 403].includes(status) && !refreshed) {
                stale = true;
                return true;
            }
            return status === 0 || status === 409 || status === 423 || status === 429 || status >= 500;
        },
        onSuccess: () => wishes.onEnd({ kind: "done", message: "" }),
        onError: (error) => wishes.onEnd(explain(error as DetailedError, Boolean(upload.url))),
    });
    return {
        start: () => upload.start(),
        abort: () => upload.abort().catch(() => undefined),
        terminate: () => upload.abort(true).catch(() => undefined),
    };
}

/** One request for a file without bytes; it needs none of the above. */
export async function putEmpty(key: string, file: Blob, type: string): Promise<Ended> {
    try {
        const response = await fetchInTime(`${config().supabaseUrl}/storage/v1/object/documents/${key}`, {
            method: "POST",
            headers: {
                apikey: config().publishableKey,
                Authorization: `Bearer ${await accessToken()}`,
                "Content-Type": type || "application/octet-stream",
            },
            body: file,
        });
        if (response.ok) return { kind: "done", message: "" };
        return { kind: response.status >= 500 ? "unreachable" : "refused", message: sentenceOf(await response.text()) };
    } catch (thrown) {
        const signedOut = thrown instanceof Error && thrown.message === "signed_out";
        return { kind: signedOut ? "signed_out" : "unreachable", message: "" };
    }
}

function statusOf(error: DetailedError): number {
    return error.originalResponse?.getStatus() ?? 0;
}

function explain(error: DetailedError, begun: boolean): Ended {
    const status = statusOf(error);
    const body = error.originalResponse?.getBody() ?? "";
    const message = sentenceOf(body);
    if (/signed_out/.test(error.message)) return { kind: "signed_out", message };
    if (status === 413 || /"statusCode"\s*:\s*"413"|exceeded the maximum/i.test(body)) return { kind: "too_large", message };
    if (begun && (status === 404 || status === 410)) return { kind: "vanished", message };
    if (status === 0) return { kind: "unreachable", message };
    if (status >= 500 || status === 423 || status === 429) return { kind: "unreachable", message };
    return { kind: "refused", message };
}

function sentenceOf(body: string): string {
    try {
        const told = JSON.parse(body) as { message?: string };
        return told.message ?? "";
    } catch {
        return body.length < 300 ? body : "";
    }
}
