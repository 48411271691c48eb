let lock: WakeLockSentinel | null = null;
let asking = false;

/** Keeps the device awake while bytes move, where it can be asked to; the browser drops the lock when the page is hidden. */
export async function stayAwake(moving: () => boolean): Promise<void> {
    if (asking) return;
    if (moving() && !lock && document.visibilityState === "visible" && "wakeLock" in navigator) {
        asking = true;
        lock = await navigator.wakeLock.request("screen").catch(() => null);
        asking = false;
        lock?.addEventListener("release", () => {
            lock = null;
        });
    }
    if (!moving() && lock) {
        const held = lock;
        lock = null;
        await held.release().catch(() => undefined);
    }
}
