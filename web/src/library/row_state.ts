import type { Upload } from "../uploads/uploads";
import type { DocumentRow } from "./documents";

export type RowKind = "waiting" | "sending" | "paused" | "offline" | "interrupted" | "elsewhere" | "vanished" | "queued" | "processing" | "ready" | "failed";

export interface RowState {
    kind: RowKind;
    /** 0 to 1, of the upload or of the zipping. */
    part: number;
}

/** What is happening to a document: its row tells, and while bytes are on their way the upload of this browser. */
export function stateOf(row: DocumentRow, upload: Upload | undefined): RowState {
    if (row.status === "processing") return { kind: "processing", part: row.progress };
    if (row.status !== "uploading") return { kind: row.status as RowKind, part: 0 };
    if (!upload || upload.state === "refused") return { kind: "interrupted", part: 0 };
    const part = upload.size > 0 ? Math.min(1, upload.sent / upload.size) : 0;
    // the last byte is there, the row will say so in a moment
    if (upload.state === "done") return { kind: "queued", part: 0 };
    return { kind: upload.state, part };
}

export const isUploading = (kind: RowKind): boolean =>
    kind === "waiting" ||
    kind === "sending" ||
    kind === "paused" ||
    kind === "offline" ||
    kind === "interrupted" ||
    kind === "elsewhere" ||
    kind === "vanished";
