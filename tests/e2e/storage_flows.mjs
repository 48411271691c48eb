// Storage through unmodified supabase-js and tus-js-client. Reads its target from stdin, writes what happened to stdout.

import { createRequire } from "node:module";
import { createReadStream, readFileSync, statSync } from "node:fs";

const require = createRequire(new URL("../clients/package.json", import.meta.url));
const { createClient } = require("@supabase/supabase-js");
const tus = require("tus-js-client");

const target = JSON.parse(readFileSync(0, "utf8"));
const client = (token) =>
    createClient(target.url, target.key, {
        auth: { persistSession: false, autoRefreshToken: false },
        ...(token ? { global: { headers: { Authorization: `Bearer ${token}` } } } : {}),
    });
const good = ({ data, error }) => {
    if (error) throw new Error(`${error.statusCode ?? error.status} ${error.message}`);
    return data;
};
const refusal = ({ error }) => error && `${error.statusCode} ${error.message}`;
const text = async (blob) => Buffer.from(await blob.arrayBuffer()).toString();

// tus-js-client with Uppy's settings as Supabase's documents give them
const upload = (source, options) =>
    new Promise((resolve, reject) => {
        const requests = [];
        const running = new tus.Upload(source, {
            endpoint: `${target.url}/storage/v1/upload/resumable`,
            retryDelays: [0, 1000, 3000, 5000],
            uploadDataDuringCreation: true,
            removeFingerprintOnSuccess: true,
            chunkSize: 6 * 1024 * 1024,
            headers: { apikey: target.key, authorization: `Bearer ${target.token}` },
            metadata: {
                bucketName: target.bucket,
                objectName: target.object,
                contentType: "application/octet-stream",
                cacheControl: "3600",
            },
            onAfterResponse: (request, response) => void requests.push(`${request.getMethod()} ${response.getStatus()}`),
            onError: reject,
            onSuccess: () => resolve({ requests, url: running.url }),
            ...options,
        });
        running.start();
    });
const file = () => (target.file && statSync(target.file).size ? createReadStream(target.file) : Buffer.alloc(0));

const flows = {
    // what an operator does with buckets
    async buckets({ bucket }) {
        const { storage } = client();
        const options = { public: true, fileSizeLimit: "1MB", allowedMimeTypes: ["text/plain"] };
        const made = good(await storage.createBucket(bucket, options));
        const again = refusal(await storage.createBucket(bucket));
        const read = good(await storage.getBucket(bucket));
        const listed = good(await storage.listBuckets()).some(({ name }) => name === bucket);
        good(await storage.updateBucket(bucket, { public: false, fileSizeLimit: 5 }));
        const large = refusal(await storage.from(bucket).upload("a.txt", Buffer.from("123456"), { contentType: "text/plain" }));
        good(await storage.from(bucket).upload("a.txt", Buffer.from("12345"), { contentType: "text/plain" }));
        const full = refusal(await storage.deleteBucket(bucket));
        good(await storage.emptyBucket(bucket));
        good(await storage.deleteBucket(bucket));
        const gone = refusal(await storage.getBucket(bucket));
        return { made: made.name, again, limit: read.file_size_limit, listed, large, full, gone };
    },

    // what a person does with files
    async files({ token, folder, bucket, publicBucket }) {
        const { storage } = client(token);
        const files = storage.from(bucket);
        const seen = {};
        const name = (rest) => `${folder}/${rest}`;
        seen.uploaded = good(await files.upload(name("a.txt"), new Blob(["first"], { type: "text/plain" }), { metadata: { a: "1" } })).path;
        seen.twice = refusal(await files.upload(name("a.txt"), Buffer.from("x")));
        good(await files.update(name("a.txt"), Buffer.from("second"), { contentType: "text/plain", metadata: { b: "2" } }));
        good(await files.upload(name("a.txt"), Buffer.from("third"), { contentType: "text/plain", upsert: true }));
        seen.read = await text(good(await files.download(name("a.txt"))));
        good(await files.move(name("a.txt"), name("b/b.txt")));
        good(await files.copy(name("b/b.txt"), name("b/c.txt")));
        seen.exists = [(await files.exists(name("a.txt"))).data, (await files.exists(name("b/c.txt"))).data];
        const { size, contentType } = good(await files.info(name("b/b.txt")));
        seen.info = [size, contentType];
        seen.top = good(await files.list(folder)).map((item) => item.name);
        const order = { sortBy: { column: "name", order: "desc" }, limit: 1 };
        seen.sorted = good(await files.list(name("b"), order)).map((item) => item.name);
        seen.searched = good(await files.list(name("b"), { search: "b" })).map((item) => item.name);
        const signed = good(await files.createSignedUrl(name("b/b.txt"), 60, { download: "über.txt" })).signedUrl;
        const answer = await fetch(signed);
        seen.signed = [await answer.text(), answer.headers.get("content-disposition")];
        const many = good(await files.createSignedUrls([name("b/c.txt"), name("no")], 60));
        seen.many = [await (await fetch(many[0].signedUrl)).text(), many[1].error];
        const leave = good(await files.createSignedUploadUrl(name("d.txt")));
        const body = Buffer.from("by a link");
        seen.byLink = good(await storage.from(bucket).uploadToSignedUrl(leave.path, leave.token, body)).path;
        good(await storage.from(publicBucket).upload(name("p.txt"), Buffer.from("public")));
        const { publicUrl } = storage.from(publicBucket).getPublicUrl(name("p.txt")).data;
        seen.open = await (await fetch(publicUrl)).text();
        const range = await fetch(publicUrl, { headers: { range: "bytes=1-3" } });
        seen.range = [range.status, await range.text()];
        const stranger = client().storage.from(bucket);
        seen.stranger = [
            refusal(await stranger.upload(name("s.txt"), Buffer.from("x"))),
            good(await stranger.list(folder)).length,
            good(await stranger.remove([name("d.txt")])).length,
        ];
        seen.removed = good(await files.remove([name("b/b.txt"), name("b/c.txt"), name("d.txt"), name("no")])).length;
        good(await storage.from(publicBucket).remove([name("p.txt")]));
        return seen;
    },

    // a resumable upload; retries as often as the connection is cut
    async resumable() {
        return upload(file(), {});
    },

    // a resumable upload whose token expires half-way; the person's session is refreshed and it goes on
    async expiring({ tokens, expires }) {
        let [token] = tokens;
        let sent = 0;
        return upload(file(), {
            onProgress: (bytes) => void (sent = bytes),
            async onBeforeRequest(request) {
                const half = sent > 9 * 1024 * 1024 && token === tokens[0];
                while (half && Date.now() / 1000 < expires + 1) await new Promise((resolve) => setTimeout(resolve, 100));
                request.setHeader("authorization", `Bearer ${token}`);
            },
            onShouldRetry(error) {
                token = tokens[1];
                return error.originalResponse?.getStatus() === 400;
            },
        });
    },

    // begun by one client, gone on by another that remembers the address
    async abandoned() {
        const first = new Promise((resolve) => {
            const options = { uploadDataDuringCreation: false, onChunkComplete: () => running.abort().then(() => resolve(running.url)) };
            const running = new tus.Upload(createReadStream(target.file), {
                endpoint: `${target.url}/storage/v1/upload/resumable`,
                chunkSize: 6 * 1024 * 1024,
                headers: { apikey: target.key, authorization: `Bearer ${target.token}` },
                metadata: { bucketName: target.bucket, objectName: target.object, contentType: "application/octet-stream" },
                ...options,
            });
            running.start();
        });
        return upload(file(), { uploadUrl: await first });
    },
};

process.stdout.write(JSON.stringify(await flows[target.flow](target)));
