// The main job in unmodified supabase-js and tus-js-client: a small file by standard upload, one of 13 MB resumably, with
// the connection given up once in the middle. Reads its target from stdin, writes a report to stdout.

import { createRequire } from "node:module";
import { inflateRawSync } from "node:zlib";
import { readFileSync } from "node:fs";

const require = createRequire(new URL("../clients/package.json", import.meta.url));
const { createClient } = require("@supabase/supabase-js");
const tus = require("tus-js-client");

const target = JSON.parse(readFileSync(0, "utf8"));
const supabase = createClient(target.url, target.key, { auth: { persistSession: false } });

function check({ data, error }) {
    if (error) throw new Error(JSON.stringify(error) + error.message);
    return data;
}

async function add(name, bytes) {
    const row = { name, size_bytes: bytes.length };
    return check(await supabase.from("documents").insert(row).select().single());
}

async function ready(id) {
    for (let tries = 0; tries < 300; tries++) {
        const row = check(await supabase.from("documents").select("*").eq("id", id).single());
        if (row.status === "ready") return row;
        if (row.status === "failed") throw new Error(row.error);
        await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error("not ready in time");
}

async function download(id) {
    const { session } = check(await supabase.auth.getSession());
    const answer = await fetch(`${target.backend}/documents/${id}/download-url`, {
        method: "POST",
        headers: { Authorization: `Bearer ${session.access_token}` },
    });
    if (!answer.ok) throw new Error(await answer.text());
    const { url, filename } = await answer.json();
    const zip = Buffer.from(await (await fetch(url)).arrayBuffer());
    const directory = zip.readUInt32LE(zip.length - 22 + 16);
    const nameLength = zip.readUInt16LE(directory + 28);
    const start = 30 + zip.readUInt16LE(26) + zip.readUInt16LE(28);
    const packed = zip.subarray(start, start + zip.readUInt32LE(directory + 20));
    const content = zip.readUInt16LE(directory + 10) === 8 ? inflateRawSync(packed) : packed;
    return { filename, name: zip.toString("utf8", directory + 46, directory + 46 + nameLength), content };
}

async function uploadResumably(row, bytes) {
    const { session } = check(await supabase.auth.getSession());
    const options = {
        endpoint: `${target.url}/storage/v1/upload/resumable`,
        chunkSize: 6 * 1024 * 1024,
        retryDelays: [0, 500, 1000],
        headers: { authorization: `Bearer ${session.access_token}`, apikey: target.key },
        metadata: {
            bucketName: "documents",
            objectName: `${row.owner_id}/${row.id}`,
            contentType: "application/octet-stream",
        },
    };
    const first = await new Promise((resolve, reject) => {
        const upload = new tus.Upload(bytes, {
            ...options,
            onError: reject,
            onChunkComplete: () => upload.abort().then(() => resolve(upload.url), reject),
        });
        upload.start();
    });
    await new Promise((resolve, reject) => {
        new tus.Upload(bytes, { ...options, endpoint: undefined, uploadUrl: first, onError: reject, onSuccess: resolve }).start();
    });
}

check(await supabase.auth.signUp({ email: target.email, password: "correct horse battery" }));

const small = Buffer.from("Hola, 世界. ".repeat(100));
const smallRow = await add("an\u0303o 日本.txt", small); // decomposed: the database composes it
check(await supabase.storage.from("documents").upload(`${smallRow.owner_id}/${smallRow.id}`, small));
await ready(smallRow.id);
const smallZip = await download(smallRow.id);

const big = Buffer.alloc(13_000_000, "0123456789abcdef");
const bigRow = await add("big.bin", big);
await uploadResumably(bigRow, big);
await ready(bigRow.id);
const bigZip = await download(bigRow.id);

console.log(
    JSON.stringify({
        standard: { name: smallZip.name, same: small.equals(smallZip.content), filename: smallZip.filename },
        resumable: { name: bigZip.name, same: big.equals(bigZip.content), filename: bigZip.filename },
    }),
);
process.exit(0);
