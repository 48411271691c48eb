// Storage through unmodified supabase-js and tus-js-client. Reads its target from stdin, writes what happened to stdout.

import { createRequire } from "node:module";
import { createReadStream, readFileSync, statSync } from "node:fs";

const require = createRequire(new URL("../clients/package.json", import.meta.url));
const { createClient } = require("@supabase/supabase-js");
const tus = require("tus-js-client");

const target = JSON.parse(readFileSync(0, "utf8"));
// what a test calls is ticked off; what the client calls of its own is not
const called = new Set();
const ticking = (part, object) => {
    const proxy = new Proxy(object, {
        get(object, name) {
            const value = Reflect.get(object, name);
            if (typeof value !== "function") return ["analytics", "vectors"].includes(name) ? ticking(name, value) : value;
            return (...given) => {
                called.add(`${part}.${String(name)}`);
                const answer = value.apply(object, given);
                if (answer === object) return proxy;
                return name === "from" && part === "storage" ? ticking("files", answer) : answer;
            };
        },
    });
    return proxy;
};
const methods = (part, object) => {
    const names = new Set();
    for (let level = object; level !== Object.prototype; level = Object.getPrototypeOf(level))
        for (const name of Object.getOwnPropertyNames(level))
            if (typeof object[name] === "function" && !["constructor", "fetch"].includes(name)) names.add(`${part}.${name}`);
    return [...names];
};
const client = (token) => {
    const made = createClient(target.url, target.key, {
        auth: { persistSession: false, autoRefreshToken: false },
        ...(token ? { global: { headers: { Authorization: `Bearer ${token}` } } } : {}),
    });
    return { storage: ticking("storage", made.storage) };
};
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

    // the rest of the API, with the options that clients may give
    async rest({ bucket, other }) {
        const { storage } = client();
        good(await storage.createBucket(bucket, { public: true }));
        good(await storage.createBucket(other));
        const files = storage.from(bucket);
        const seen = {};
        const metadata = { by: "é" };
        const bodies = {
            text: "text",
            buffer: Buffer.from("buffer"),
            view: new Uint8Array([118, 105, 101, 119]),
            blob: new Blob(["blob"], { type: "text/plain" }),
            file: new File(["file"], "file.txt", { type: "text/plain" }),
            form: Object.entries({ cacheControl: "60", "": new Blob(["form"]) }).reduce((form, [name, value]) => (form.append(name, value), form), new FormData()),
            stream: new Blob(["stream"]).stream(),
        };
        for (const [name, body] of Object.entries(bodies))
            good(await files.upload(`all/${name}`, body, { contentType: "text/plain", cacheControl: "7", metadata, headers: { "x-extra": "1" } }));
        seen.bodies = {};
        for (const name of Object.keys(bodies)) seen.bodies[name] = await text(good(await files.download(`all/${name}`)));
        seen.cached = (await fetch(files.getPublicUrl("all/buffer").data.publicUrl)).headers.get("cache-control");
        const info = good(await files.info("all/buffer"));
        seen.info = [info.name, info.bucketId, info.size, info.contentType, info.cacheControl, info.metadata, typeof info.etag, typeof info.lastModified];
        good(await files.update("all/buffer", Buffer.from("updated"), { metadata: { by: "2" }, contentType: "text/css", cacheControl: "9" }));
        const updated = good(await files.info("all/buffer"));
        seen.updated = [updated.metadata, updated.contentType, updated.cacheControl, updated.size];
        seen.asStream = (await Array.fromAsync(good(await files.download("all/text").asStream()))).map((piece) => Buffer.from(piece).toString()).join("");
        seen.nonce = await text(good(await files.download("all/text", { cacheNonce: "a" })));
        seen.transformed = refusal(await files.download("all/text", { transform: { width: 9 } }));
        const link = files.getPublicUrl("all/text", { download: "as.txt" }).data.publicUrl;
        seen.attached = (await fetch(link)).headers.get("content-disposition");
        const aborting = new AbortController();
        aborting.abort();
        seen.aborted = (await files.download("all/text", {}, { signal: aborting.signal })).error?.name;
        seen.exists = [(await files.exists("all/text")).data, (await files.exists("all/none")).data];
        const page = good(await files.listV2({ prefix: "all/", limit: 3, with_delimiter: true, sortBy: { column: "name", order: "desc" } }));
        const second = good(await files.listV2({ prefix: "all/", limit: 10, with_delimiter: true, cursor: page.nextCursor }));
        seen.pages = [page, second].map(({ hasNext, objects }) => [hasNext, objects.map(({ key }) => key)]);
        seen.folders = good(await files.listV2({ with_delimiter: true })).folders.map(({ name }) => name);
        seen.copied = good(await files.copy("all/text", "copied", { destinationBucket: other })).path;
        good(await files.move("all/blob", "moved", { destinationBucket: other }));
        seen.other = good(await storage.from(other).list("", { sortBy: { column: "name", order: "asc" } })).map(({ name, metadata }) => [name, metadata.size]);
        seen.gone = refusal(await files.move("all/blob", "nowhere"));
        const urls = good(await files.createSignedUrls(["all/text", "all/none"], 60, { download: true }));
        seen.signed = [(await fetch(urls[0].signedUrl)).headers.get("content-disposition"), urls[1].error];
        const leave = good(await files.createSignedUploadUrl("all/text", { upsert: true }));
        good(await files.uploadToSignedUrl(leave.path, leave.token, new Blob(["by link"]), { contentType: "text/plain", metadata }));
        seen.byLink = [await text(good(await files.download("all/text"))), good(await files.info("all/text")).metadata];
        seen.taken = refusal(await files.createSignedUploadUrl("all/text"));
        seen.base64 = Buffer.from(files.toBase64("é"), "base64").toString();
        const thrower = client().storage.from("no such bucket").setHeader("x-extra", "1").throwOnError();
        seen.thrown = await thrower.download("a").catch(({ message }) => message);
        seen.buckets = good(await storage.listBuckets({ search: bucket, limit: 5, sortColumn: "name", sortOrder: "asc" })).map(({ id, type }) => [id === bucket, type]);
        // other products, and a cache that is not here: refused as a Storage without them refuses
        const rules = { rules: [{ status: "Enabled", filter: {}, noncurrentVersionExpiration: { noncurrentDays: 1 } }] };
        seen.refused = [
            await storage.getBucketLifecycle(bucket), await storage.updateBucketLifecycle(bucket, rules),
            await storage.deleteBucketLifecycle(bucket), await storage.purgeBucketCache(bucket), await files.purgeCache("all/text"),
            await storage.analytics.listBuckets(), await storage.vectors.listBuckets(),
        ].map(({ error }) => error?.status);
        good(await files.remove(good(await files.list("all")).map(({ name }) => `all/${name}`)));
        for (const name of [bucket, other]) {
            good(await storage.emptyBucket(name));
            good(await storage.deleteBucket(name));
        }
        return seen;
    },

    // every method that the client has
    async offered() {
        const { storage } = createClient(target.url, target.key);
        return [...methods("storage", storage), ...methods("files", storage.from("b"))].sort();
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

const seen = await flows[target.flow](target);
process.stdout.write(JSON.stringify({ seen, called: [...called] }));
