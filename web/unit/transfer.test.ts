import { beforeEach, describe, expect, it, vi } from "vitest";
import { type Ended, openTransfer } from "../src/uploads/transfer";

/** What tus-js-client is told; its own doings are tried in the browser (e2e/journeys.spec.ts). */
interface Options {
    endpoint: string | null;
    uploadUrl: string | null;
    chunkSize: number;
    storeFingerprintForResuming: boolean;
    metadata: Record<string, string>;
    onBeforeRequest(request: { setHeader(name: string, value: string): void }): Promise<void>;
    onUploadUrlAvailable(): void;
    onChunkComplete(size: number, accepted: number): void;
    onShouldRetry(error: Error): boolean;
    onError(error: Error): void;
}

const tus = vi.hoisted(() => ({ last: null as { url: string | null; options: unknown } | null }));
vi.mock("tus-js-client", () => ({
    Upload: class {
        url: string | null;
        constructor(
            readonly file: Blob,
            readonly options: { uploadUrl: string | null },
        ) {
            this.url = options.uploadUrl;
            tus.last = this;
        }
    },
}));

const auth = vi.hoisted(() => ({ tokens: 0, refreshed: 0, fails: null as Error | null }));
vi.mock("../src/client/supabase", () => ({
    config: () => ({ supabaseUrl: "http://stack", publishableKey: "sb_publishable_x" }),
    accessToken: async () => `token${auth.refreshed}`,
    freshToken: async () => {
        if (auth.fails) throw auth.fails;
        return `token${++auth.refreshed}`;
    },
}));

/** An answer that was no success, as tus-js-client hands it over. */
function refusal(status: number, body = ""): Error {
    return Object.assign(new Error("tus: unexpected response"), {
        originalRequest: {},
        originalResponse: status === 0 ? null : { getStatus: () => status, getBody: () => body },
    });
}

const EXPIRED = JSON.stringify({ statusCode: "403", error: "Unauthorized", message: '"exp" claim timestamp check failed' });
let ended: Ended | null;

async function begin(uploadUrl: string | null = null): Promise<{ options: Options; token(): Promise<string> }> {
    await openTransfer({
        file: new Blob(["abc"]),
        key: "me/document",
        type: "",
        uploadUrl,
        onUrl: () => undefined,
        onProgress: () => undefined,
        onStored: () => undefined,
        onEnd: (how) => {
            ended = how;
        },
    });
    const options = tus.last?.options as Options;
    const token = async () => {
        let sent = "";
        await options.onBeforeRequest({
            setHeader: (_name, value) => {
                sent = value;
            },
        });
        return sent;
    };
    return { options, token };
}

beforeEach(() => {
    ended = null;
    auth.refreshed = 0;
    auth.fails = null;
});

describe("a resumable upload", () => {
    it("begins at the endpoint in chunks of 6 MiB, and shares its address with no other file", async () => {
        const { options } = await begin();
        expect(options).toMatchObject({ endpoint: "http://stack/storage/v1/upload/resumable", chunkSize: 6_291_456, storeFingerprintForResuming: false });
        expect(options.metadata).toMatchObject({ bucketName: "documents", objectName: "me/document", contentType: "application/octet-stream" });
    });
    it("goes on at its address without any endpoint, which would begin from zero", async () => {
        expect((await begin("http://stack/upload/1")).options.endpoint).toBeNull();
        const { options } = await begin();
        Object.assign(tus.last ?? {}, { url: "http://stack/upload/2" });
        options.onUploadUrlAvailable();
        expect(options).toMatchObject({ endpoint: null, uploadUrl: "http://stack/upload/2" });
    });
});

describe("an expired token", () => {
    it("is refreshed once and the upload goes on; a second refusal in the same place counts", async () => {
        const { options, token } = await begin("http://stack/upload/1");
        expect(await token()).toBe("Bearer token0");
        expect(options.onShouldRetry(refusal(400, EXPIRED))).toBe(true);
        expect(await token()).toBe("Bearer token1");
        expect(await token()).toBe("Bearer token1");
        expect(options.onShouldRetry(refusal(400, EXPIRED))).toBe(false);
    });
    it("may expire again, further on", async () => {
        const { options, token } = await begin("http://stack/upload/1");
        options.onShouldRetry(refusal(400, EXPIRED));
        await token();
        options.onChunkComplete(3, 3);
        expect(options.onShouldRetry(refusal(403))).toBe(true);
        expect(await token()).toBe("Bearer token2");
    });
    it("that cannot be refreshed for want of a network is refreshed at the next try", async () => {
        const { options, token } = await begin("http://stack/upload/1");
        options.onShouldRetry(refusal(400, EXPIRED));
        auth.fails = new Error("The server cannot be reached.");
        await expect(token()).rejects.toThrow("cannot be reached");
        auth.fails = null;
        expect(await token()).toBe("Bearer token1");
    });
    it("of a session that has ended is not tried again", async () => {
        const { options } = await begin("http://stack/upload/1");
        const error = new Error("tus: failed to upload chunk, caused by Error: signed_out");
        expect(options.onShouldRetry(error)).toBe(false);
        options.onError(error);
        expect(ended?.kind).toBe("signed_out");
    });
});

describe("what is tried again", () => {
    it.each([
        [0, true],
        [409, true],
        [423, true],
        [429, true],
        [500, true],
        [503, true],
        [404, false],
        [410, false],
        [413, false],
    ])("%d: %s", async (status, expected) => {
        expect((await begin()).options.onShouldRetry(refusal(status))).toBe(expected);
    });
});

describe("how it ends", () => {
    it.each([
        [413, "", "too_large"],
        [400, JSON.stringify({ statusCode: "413", message: "The object exceeded the maximum allowed size" }), "too_large"],
        [404, "", "vanished"],
        [410, "", "vanished"],
        [503, "", "unreachable"],
        [0, "", "unreachable"],
        [403, "The stored file has 11 bytes, the document 10.", "refused"],
    ])("%d %s: %s", async (status, body, kind) => {
        (await begin("http://stack/upload/1")).options.onError(refusal(status, body));
        expect(ended?.kind).toBe(kind);
    });
    it("a refusal keeps the server's words", async () => {
        const { options } = await begin("http://stack/upload/1");
        options.onError(refusal(400, JSON.stringify({ statusCode: "403", message: "Your account is closed." })));
        expect(ended?.message).toBe("Your account is closed.");
    });
});
