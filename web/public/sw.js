// The service worker, by hand: the shell comes from the cache when the network is away, and files that other apps share
// are kept until the page takes them. Answers of the API and of Storage are on other origins and never pass through here.
const VERSION = "unbuilt"; // of the build, which also fills in the list of its files
const ASSETS = [];
const CACHE = `instashare-shell-${VERSION}`;
const SHELL = ["/", "/icon.svg", "/start.js", "/manifest.webmanifest"];

self.addEventListener("install", (event) => {
    event.waitUntil(
        (async () => {
            await (await caches.open(CACHE)).addAll([...SHELL, ...ASSETS]);
            await self.skipWaiting();
        })(),
    );
});

self.addEventListener("activate", (event) => {
    event.waitUntil(
        (async () => {
            // the build before this one stays: a page that is still open may yet ask for its parts
            const old = (await caches.keys()).filter((name) => name.startsWith("instashare-shell-") && name !== CACHE);
            await Promise.all(old.slice(0, -1).map((name) => caches.delete(name)));
            await self.clients.claim();
        })(),
    );
});

self.addEventListener("fetch", (event) => {
    const url = new URL(event.request.url);
    if (url.origin !== self.location.origin) return;
    if (event.request.method === "POST" && url.pathname === "/share-target") {
        event.respondWith(takeShared(event.request));
        return;
    }
    if (event.request.method !== "GET" || url.pathname === "/config.json" || url.pathname === "/health" || url.pathname === "/mails") return;
    if (url.pathname.startsWith("/assets/")) event.respondWith(fromCacheFirst(event.request));
    else if (event.request.mode === "navigate") event.respondWith(page());
    else event.respondWith(fromNetworkFirst(event.request));
});

async function fromCacheFirst(request) {
    const kept = await caches.match(request);
    if (kept) return kept;
    const fresh = await fetch(request);
    if (fresh.ok) await (await caches.open(CACHE)).put(request, fresh.clone());
    return fresh;
}

async function fromNetworkFirst(request) {
    try {
        const fresh = await fetch(request);
        if (fresh.ok) await (await caches.open(CACHE)).put(request, fresh.clone());
        return fresh;
    } catch (fault) {
        const kept = await caches.match(request);
        if (kept) return kept;
        throw fault;
    }
}

/** Every address of the client is the same page: the newest where there is a network, else the last one. */
async function page() {
    try {
        const fresh = await fetch("/", { cache: "no-cache" });
        if (fresh.ok) await (await caches.open(CACHE)).put("/", fresh.clone());
        return fresh;
    } catch (fault) {
        const kept = await caches.match("/");
        if (kept) return kept;
        throw fault;
    }
}

/** What another app shares is put by; the page makes uploads of it once somebody is signed in (src/uploads/records.ts has the same stores). */
async function takeShared(request) {
    try {
        const form = await request.formData();
        const files = form.getAll("files").filter((one) => typeof one !== "string");
        await putBy(files);
        return Response.redirect(`/?shared=${files.length}`, 303);
    } catch (fault) {
        console.error(fault);
        return Response.redirect("/?shared=failed", 303);
    }
}

function putBy(files) {
    return new Promise((resolve, reject) => {
        const opening = indexedDB.open("instashare", 2);
        opening.onupgradeneeded = () => {
            for (const name of [...opening.result.objectStoreNames]) opening.result.deleteObjectStore(name);
            opening.result.createObjectStore("uploads", { keyPath: "id" });
            opening.result.createObjectStore("bytes");
            opening.result.createObjectStore("shared", { autoIncrement: true });
        };
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
            const database = opening.result;
            const transaction = database.transaction("shared", "readwrite");
            for (const file of files) transaction.objectStore("shared").add(file);
            transaction.oncomplete = () => {
                database.close();
                resolve();
            };
            transaction.onabort = () => {
                database.close();
                reject(transaction.error);
            };
        };
    });
}
