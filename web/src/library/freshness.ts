import { cache } from "../client/cache";
import { unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { type Beat, type Pulse, startPulse } from "../client/pulse";
import { createStore } from "../client/store";
import { supabase } from "../client/supabase";
import { type Counts, isBusy, type Pages, put, readChanges, readCounts } from "./documents";
import { keepLibrary } from "./kept";

/** Whether the last heartbeat failed: the list is shown all the same, and says so. */
export const stale = createStore(false);

let pulse: Pulse | null = null;

// the service's clock counts; a transaction that began earlier may land later, hence the overlap
const OVERLAP = 10_000;

/** Keeps a person's lists fresh while he is here. */
export function followLibrary(person: string): () => void {
    let since: string | null = null;

    async function beat(): Promise<Beat> {
        try {
            const first = since === null;
            const from = since ?? newest(person);
            let changed = false;
            if (from) {
                const changes = await readChanges(person, new Date(Date.parse(from) - OVERLAP).toISOString());
                changed = put(cache, person, changes);
                since = changes[0]?.updated_at ?? from;
            }
            const known = cache.getQueryData<Counts>(keys.counts(person));
            if (changed || first || !known || known.inProgress > 0) {
                const counts = await readCounts();
                if (JSON.stringify(counts) !== JSON.stringify(known)) {
                    changed = true;
                    cache.setQueryData(keys.counts(person), counts);
                    void cache.invalidateQueries({ queryKey: keys.limits(person) });
                    if (known && known.trash !== counts.trash) void cache.invalidateQueries({ queryKey: keys.trash(person) });
                    if (known && known.shared !== counts.shared) void cache.invalidateQueries({ queryKey: keys.shared(person) });
                }
            } else {
                void readCountsQuietly(person);
            }
            if (changed) keepLibrary(person);
            stale.set(false);
            const counts = cache.getQueryData<Counts>(keys.counts(person));
            // the counts are read a moment after the rows: a row that still looks busy is asked for again
            return { busy: (counts?.inProgress ?? 0) > 0 || showsBusy(person), changed };
        } catch (thrown) {
            stale.set(true);
            throw thrown;
        }
    }

    pulse = startPulse(beat);
    return () => {
        pulse?.stop();
        pulse = null;
    };
}

function showsBusy(person: string): boolean {
    return cache.getQueriesData<Pages>({ queryKey: keys.lists(person) }).some(([, pages]) => pages?.pages.some((page) => page.rows.some((row) => isBusy(row))));
}

async function readCountsQuietly(person: string): Promise<void> {
    const counts = await readCounts().catch(() => null);
    if (counts) cache.setQueryData(keys.counts(person), counts);
}

/** Something of ours has changed: look at once, and often for a while. A push channel would call this too. */
export function hurry(): void {
    pulse?.hurry();
}

function newest(person: string): string | null {
    let found: string | null = null;
    let answered = false;
    for (const [, pages] of cache.getQueriesData<Pages>({ queryKey: keys.lists(person) })) {
        answered ||= pages !== undefined;
        for (const page of pages?.pages ?? []) {
            for (const row of page.rows) if (!found || row.updated_at > found) found = row.updated_at;
        }
    }
    // nothing is newer than a list that is still on its way; of an empty one the last minute is asked for
    return found ?? (answered ? new Date(Date.now() - 60_000).toISOString() : null);
}

export interface LimitsRow {
    fileSize: number;
    quota: number;
    used: number;
    documentsLimit: number;
    documents: number;
    trashDays: number;
}

export async function readLimits(): Promise<LimitsRow> {
    const row = unwrap(await supabase().from("limits").select("*").maybeSingle());
    return {
        fileSize: row.file_size_limit_bytes ?? 0,
        quota: row.quota_bytes ?? 0,
        used: row.used_bytes ?? 0,
        documentsLimit: row.documents_limit ?? 0,
        documents: row.documents ?? 0,
        trashDays: row.trash_days ?? 0,
    };
}
