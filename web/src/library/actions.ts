import { download, rename } from "../client/api";
import { cache } from "../client/cache";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { announce, complain, tell, tellWithUndo } from "../elements/messages";
import { sentence } from "../text/sentence";
import { now as spoken } from "../text/text";
import { type Counts, type DocumentRow, put } from "./documents";
import { hurry } from "./freshness";

const why = (thrown: unknown) => sentence(asFault(thrown), spoken().text);

export async function downloadDocument(document: { id: string; name: string }): Promise<void> {
    try {
        await download(document.id);
    } catch (thrown) {
        complain(spoken().text.action.downloadFailed(document.name, why(thrown)));
        hurry();
    }
}

/** One after the other: browsers drop downloads that begin in the same moment. */
export async function downloadDocuments(documents: readonly DocumentRow[]): Promise<void> {
    const { text, format } = spoken();
    const ready = documents.filter((one) => one.status === "ready");
    if (ready.length === 0) return complain(text.action.noneReady);
    if (ready.length < documents.length) tell(text.action.someNotReady(format.count(documents.length - ready.length)));
    for (const one of ready) {
        await downloadDocument(one);
        await new Promise((resolve) => setTimeout(resolve, 400));
    }
}

/** The new name shows at once; where it is refused the old one comes back with the reason. */
export async function renameDocument(person: string, document: DocumentRow, name: string): Promise<void> {
    put(cache, person, [{ ...document, name }]);
    try {
        const renamed = await rename(document.id, name, document.name_revision);
        put(cache, person, [{ ...document, ...renamed }]);
        announce(spoken().text.action.renamed(renamed.name));
    } catch (thrown) {
        put(cache, person, [document]);
        complain(spoken().text.action.renameFailed(document.name, why(thrown)));
    }
    hurry();
}

/** Gone at once, with ten seconds to undo; a refusal brings the rows back. */
export async function deleteDocuments(person: string, documents: readonly DocumentRow[]): Promise<void> {
    const { text, format } = spoken();
    const at = new Date().toISOString();
    // the row goes first; its number, which the whole frame shows, follows when that has been seen
    setTimeout(() => count(person, -documents.length), 50);
    put(
        cache,
        person,
        documents.map((one) => ({ ...one, deleted_at: at })),
    );
    const gone: DocumentRow[] = [];
    for (const one of documents) {
        try {
            unwrap(await supabase().rpc("delete_document", { document_id: one.id }));
            gone.push(one);
        } catch (thrown) {
            put(cache, person, [one]);
            count(person, 1);
            complain(text.action.deleteFailed(one.name, why(thrown)));
        }
    }
    const [first] = gone;
    if (first) {
        tellWithUndo(
            gone.length === 1 ? text.action.deleted(first.name) : text.action.deletedMany(format.count(gone.length)),
            () => void restoreDocuments(person, gone),
        );
    }
    void cache.invalidateQueries({ queryKey: keys.trash(person) });
    hurry();
}

export async function restoreDocuments(person: string, documents: readonly DocumentRow[]): Promise<void> {
    const { text } = spoken();
    for (const one of documents) {
        try {
            const row = unwrap(await supabase().rpc("restore_document", { document_id: one.id })) as DocumentRow;
            put(cache, person, [row]);
            announce(text.action.restored(one.name));
        } catch (thrown) {
            complain(text.action.failed(why(thrown)));
        }
    }
    void cache.invalidateQueries({ queryKey: keys.trash(person) });
    hurry();
}

export async function retryDocument(person: string, document: DocumentRow): Promise<void> {
    try {
        const row = unwrap(await supabase().rpc("retry_document", { document_id: document.id })) as DocumentRow;
        put(cache, person, [row]);
        announce(spoken().text.action.retried(document.name));
    } catch (thrown) {
        complain(spoken().text.action.failed(why(thrown)));
    }
    hurry();
}

function count(person: string, by: number): void {
    cache.setQueryData<Counts>(keys.counts(person), (now) => now && { ...now, documents: Math.max(0, now.documents + by) });
}
