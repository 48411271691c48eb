// What a page on another origin does with Storage in a real browser: supabase-js, tus-js-client and Uppy, unmodified.
import { createClient } from "@supabase/supabase-js";
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";
import * as tus from "tus-js-client";

const CHUNK = 6 * 1024 * 1024;
const bytes = (size) => Uint8Array.from({ length: size }, (_, place) => (place * 31 + 7) % 251);
const same = async (blob, expected) => {
    const got = new Uint8Array(await blob.arrayBuffer());
    return got.length === expected.length && got.every((value, place) => value === expected[place]);
};
const good = ({ data, error }) => {
    if (error) throw new Error(`${error.statusCode ?? error.status} ${error.message}`);
    return data;
};

// Uppy's settings as Supabase's documents give them, with the endpoint behind a proxy that cuts
const settings = ({ url, key, token }, endpoint = url) => ({
    endpoint: `${endpoint}/storage/v1/upload/resumable`,
    retryDelays: [0, 200, 500, 1000],
    headers: { authorization: `Bearer ${token}`, apikey: key },
    uploadDataDuringCreation: true,
    removeFingerprintOnSuccess: true,
    chunkSize: CHUNK,
    allowedMetaFields: ["bucketName", "objectName", "contentType", "cacheControl", "metadata"],
});

const run = async (target) => {
    const { url, key, token, bucket, folder, cutting } = target;
    const { storage } = createClient(url, key, {
        auth: { persistSession: false, autoRefreshToken: false },
        global: { headers: { Authorization: `Bearer ${token}` } },
    });
    const files = storage.from(bucket);
    const seen = {};
    // supabase-js: a form, a signed link, a range, a refusal that the page may read
    good(await files.upload(`${folder}/small.txt`, new File(["from a page"], "small.txt", { type: "text/plain" })));
    seen.small = await good(await files.download(`${folder}/small.txt`)).text();
    seen.listed = good(await files.list(folder)).map(({ name }) => name);
    const { signedUrl } = good(await files.createSignedUrl(`${folder}/small.txt`, 60));
    const part = await fetch(signedUrl, { headers: { range: "bytes=0-3" } });
    seen.range = [part.status, await part.text(), part.headers.get("content-range"), part.headers.get("etag") !== null];
    seen.refused = (await files.upload(`${folder}/small.txt`, new Blob(["x"]))).error?.statusCode;
    // tus-js-client, cut twice
    const large = bytes(2 * CHUNK + 5);
    const requests = [];
    await new Promise((onSuccess, onError) => {
        const metadata = { bucketName: bucket, objectName: `${folder}/tus.bin`, contentType: "application/octet-stream" };
        const onAfterResponse = (request, response) => void requests.push(`${request.getMethod()} ${response.getStatus()}`);
        new tus.Upload(new Blob([large]), { ...settings(target, cutting), metadata, onAfterResponse, onSuccess, onError }).start();
    });
    seen.resumed = requests.includes("HEAD 200");
    seen.tus = await same(good(await files.download(`${folder}/tus.bin`)), large);
    // Uppy
    const uppy = new Uppy().use(Tus, settings(target));
    const sizes = { "empty.bin": 0, "under.bin": CHUNK - 1, "even.bin": CHUNK, "over.bin": CHUNK + 1 };
    for (const [name, size] of Object.entries(sizes)) {
        const meta = { bucketName: bucket, objectName: `${folder}/${name}`, contentType: "application/octet-stream", cacheControl: "3600" };
        uppy.addFile({ name, type: "application/octet-stream", data: new Blob([bytes(size)]), meta });
    }
    const { successful, failed } = await uppy.upload();
    seen.uppy = [successful.length, failed.map(({ error }) => error)];
    seen.stored = {};
    for (const [name, size] of Object.entries(sizes))
        seen.stored[name] = await same(good(await files.download(`${folder}/${name}`)), bytes(size));
    return seen;
};

globalThis.runPage = (target) => run(target).then((seen) => ({ seen }), (error) => ({ error: String(error.stack ?? error) }));
