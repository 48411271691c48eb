import type { Format } from "../text/format";
import type { Text } from "../text/text";

export interface Limits {
    fileSize: number;
    quota: number;
    used: number;
    documentsLimit: number;
    documents: number;
}

/**
 * Which files may go, settled before a byte moves: size, room, number. Those before in the list take their room first.
 * The database decides again; this only spares the person the wait.
 */
export function admit(files: readonly { size: number }[], limits: Limits | null, text: Text, format: Format): (string | null)[] {
    let room = limits ? limits.quota - limits.used : Number.POSITIVE_INFINITY;
    let places = limits ? limits.documentsLimit - limits.documents : Number.POSITIVE_INFINITY;
    return files.map(({ size }) => {
        if (limits && size > limits.fileSize) return text.upload.tooLarge(format.limit(limits.fileSize));
        if (size > room) return text.upload.noRoom(format.size(Math.max(0, room)));
        if (places < 1) return text.upload.tooMany(format.count(limits?.documentsLimit ?? 0));
        room -= size;
        places -= 1;
        return null;
    });
}
