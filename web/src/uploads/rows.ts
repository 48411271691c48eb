import { asFault, unwrap } from "../client/faults";
import { supabase } from "../client/supabase";
import { announceUrgently, complain } from "../elements/messages";
import { sentence } from "../text/sentence";
import { now as spoken } from "../text/text";
import { around, change, find, type Surroundings, type Upload } from "./list";
import { changeRecord, readRecord, readRecords } from "./records";

/** Uploads whose row was asked for without an answer: it may be there. */
const uncertain = new Set<string>();
/** Uploads whose row is being asked for. */
const asked = new Set<string>();
// a device's clock is rarely further off; where it is, an unfinished row is left over
const CLOCK_SKEW = 5 * 60_000;
/** Refusals that say nothing of the files: a session that is being renewed, a server that is busy. */
const PASSING = new Set([401, 408, 429]);
/** Ids in one question: an address has its limits. */
const ASKED_AT_ONCE = 100;

export function doubtRow(key: string): void {
    uncertain.add(key);
}

/**
 * Announces uploads to the database, in one request: twenty rows appear at once. Where one is refused each is tried alone;
 * where nobody answers they become `offline`. Tells whether the server could be reached.
 */
export async function createRows(wanted: readonly Upload[]): Promise<boolean> {
    const person = around.get();
    const going = wanted.filter((one) => !asked.has(one.key));
    if (!person || going.length === 0) return true;
    for (const one of going) asked.add(one.key);
    try {
        const missing = await withoutRow(going, person);
        if (missing.length > 0) {
            for (const one of missing) uncertain.add(one.key);
            // the newest stands on top of the library, so the first file comes last
            const reversed = missing.toReversed();
            const rows = unwrap(await supabase().from("documents").insert(reversed.map(rowOf)).select("id"));
            await Promise.all(reversed.map((one, at) => assign(one.key, rows[at]?.id ?? null, person)));
        }
    } catch (thrown) {
        const fault = asFault(thrown);
        for (const one of going) asked.delete(one.key);
        if (fault.code === "unreachable" || fault.status >= 500 || PASSING.has(fault.status)) {
            for (const one of going) if (find(one.key)?.state === "waiting") change(one.key, { state: "offline" });
            return false;
        }
        for (const one of going) uncertain.delete(one.key);
        const [only] = going;
        if (going.length > 1) {
            for (const one of going) if (!(await createRows([one]))) return false;
        } else if (only) {
            const why = sentence(fault, spoken().text);
            change(only.key, { state: "refused", why });
            announceUrgently(spoken().text.upload.announceFailed(only.name, why));
        }
    } finally {
        for (const one of going) asked.delete(one.key);
    }
    if (around.get() === person) person.changed();
    return true;
}

const rowOf = (one: Upload) => ({ name: one.name, size_bytes: one.size, mime_type: one.type || "application/octet-stream" });

async function assign(key: string, documentId: string | null, person: Surroundings): Promise<void> {
    uncertain.delete(key);
    if (!documentId || around.get() !== person) return;
    if (!find(key)) return discardDocument(documentId); // cancelled meanwhile
    change(key, { documentId });
    await changeRecord(key, { documentId });
}

/**
 * Those that have no row yet. A request whose answer was lost, or whose page went away, may have made one: then it is an
 * unfinished document of that name and size, not older than the upload, that no record of this browser names.
 */
async function withoutRow(going: readonly Upload[], person: Surroundings): Promise<readonly Upload[]> {
    const doubted = going.filter((one) => uncertain.has(one.key));
    if (doubted.length === 0) return going;
    const records = await readRecords(person.userId);
    const known = new Set(records.map((record) => record.documentId));
    const rows = unwrap(
        await supabase()
            .from("documents")
            .select("id, name, size_bytes, created_at")
            .eq("owner_id", person.userId)
            .eq("status", "uploading")
            .is("deleted_at", null)
            .order("created_at", { ascending: false })
            .order("id", { ascending: false })
            .limit(1000),
    );
    const found = new Set<string>();
    for (const one of doubted) {
        const addedAt = records.find((record) => record.id === one.key)?.addedAt ?? Date.now();
        const row = rows.find(
            (row) =>
                !known.has(row.id) &&
                row.name === one.name.normalize("NFC").trim() &&
                row.size_bytes === one.size &&
                Date.parse(row.created_at) > addedAt - CLOCK_SKEW,
        );
        if (!row) continue;
        known.add(row.id);
        found.add(one.key);
        await assign(one.key, row.id, person);
    }
    return going.filter((one) => !found.has(one.key));
}

/** The document's state; null where it is gone, `unknown` where nobody answers. */
export async function readStatus(documentId: string | null): Promise<string | null> {
    if (!documentId) return null;
    try {
        const answer = await supabase().from("documents").select("status").eq("id", documentId).is("deleted_at", null).maybeSingle();
        if (answer.error) return "unknown";
        return answer.data?.status ?? null;
    } catch {
        return "unknown";
    }
}

/** Which of these documents still wait for their bytes; null where nobody answers. */
export async function readOpen(documentIds: readonly string[]): Promise<Set<string> | null> {
    const open = new Set<string>();
    try {
        for (let from = 0; from < documentIds.length; from += ASKED_AT_ONCE) {
            const query = supabase()
                .from("documents")
                .select("id")
                .in("id", documentIds.slice(from, from + ASKED_AT_ONCE));
            for (const row of unwrap(await query.eq("status", "uploading").is("deleted_at", null))) open.add(row.id);
        }
        return open;
    } catch {
        return null;
    }
}

/** Removes a document that never got its bytes; it does not stay in the trash. */
export async function discardDocument(documentId: string): Promise<void> {
    try {
        unwrap(await supabase().rpc("delete_document", { document_id: documentId }));
        unwrap(await supabase().rpc("purge_document", { document_id: documentId }));
    } catch (thrown) {
        const { text } = spoken();
        complain(text.action.failed(sentence(asFault(thrown), text)));
    }
    around.get()?.changed();
}

/** Where an upload goes on: null from the beginning. */
export async function readUploadUrl(key: string): Promise<string | null> {
    return (await readRecord(key))?.uploadUrl ?? null;
}
