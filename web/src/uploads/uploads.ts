import { followSiblings, restore, takeIn } from "./intake";
import { around, type Surroundings, uploads } from "./list";
import { releaseAll } from "./lock";
import { goOffline, goOnline, reviveStalled, stopAll } from "./queue";
import { clearRecords } from "./records";

export { addFiles, continueUpload } from "./intake";
export { dismissFinished, dismissUpload, findByDocument, type Surroundings, type Upload, type UploadState, uploads } from "./list";
export { pace } from "./progress";
export { cancelUpload, pauseAll, pauseUpload, resumeAll, resumeUpload } from "./queue";
export { discardDocument } from "./rows";

/** Begins for a person: what a reload interrupted goes on, what another app has shared is taken in. */
export async function beginUploads(person: Surroundings): Promise<void> {
    around.set(person);
    window.addEventListener("offline", goOffline);
    window.addEventListener("online", online);
    document.addEventListener("visibilitychange", seen);
    window.addEventListener("beforeunload", warn);
    followSiblings();
    await restore();
    await takeIn();
}

/** Sign-out: everything stops and nothing of it stays in this browser. */
export async function endUploads(): Promise<void> {
    around.set(null);
    window.removeEventListener("offline", goOffline);
    window.removeEventListener("online", online);
    document.removeEventListener("visibilitychange", seen);
    window.removeEventListener("beforeunload", warn);
    await stopAll();
    await clearRecords();
    releaseAll();
}

const online = () => void goOnline();

/** The person is back, the device may have slept: nothing waits for its next turn. */
function seen(): void {
    if (document.visibilityState !== "visible") return;
    reviveStalled();
    void goOnline();
    void takeIn();
}

/** Only while bytes move: whatever else there is goes on by itself after a reload, or asks for its file. */
function warn(event: BeforeUnloadEvent): void {
    if (uploads.get().some((one) => one.state === "sending")) event.preventDefault();
}
