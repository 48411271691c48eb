// The service worker, by hand: the shell comes from the cache when the network is away, and files that other apps share
// are kept until the page takes them. Answers of the API and of Storage are on other origins and never pass through here.
const CACHE = "instashare-shell-1";
const SHELL = ["/", "/icon.svg", "/theme.js", "/manifest.webmanifest"];

self.addEventListener("install", (event) => {
    event.waitUntil(
        (async () => {
            const cache = await caches.open(CACHE);
            await cache.addAll(SHELL);
            // what the page is made of: its scripts, styles and fonts have names for ever
            const page = await (await cache.match("/")).text();
            const assets = [...page.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map((found) => found[1]);
            await cache.addAll(assets);
            for (const style of assets.filter((name) => name.endsWith(".css"))) {
                const text = await (await cache.match(style)).text();
                await cache.addAll([...text.matchAll(/url\(["']?(\/assets\/[^"')]+)/g)].map((found) => found[1]));
            }
            await self.skipWaiting();
        })(),
    );
});

self.addEventListener("activate", (event) => {
    event.waitUntil(
        (async () => {
            for (const name of await caches.keys()) if (name !== CACHE) await caches.delete(name);
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

async function takeShared(request) {
    const form = await request.formData();
    const files = form.getAll("files").filter((one) => typeof one !== "string");
    await new Promise((resolve, reject) => {
        const opening = indexedDB.open("instashare", 1);
        opening.onupgradeneeded = () => {
            opening.result.createObjectStore("uploads", { keyPath: "documentId" });
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
            transaction.onabort = () => reject(transaction.error);
        };
    });
    return Response.redirect(`/?shared=${files.length}`, 303);
}
