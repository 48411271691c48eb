import { useQueries } from "@tanstack/react-query";
import { useMemo, useRef } from "react";
import { unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import type { DocumentRow, Page } from "./documents";

export interface Access {
    id: string;
    documentId: string;
    email: string;
    sharedAt: string;
    expiresAt: string | null;
}

export async function readAccess(documents: readonly string[]): Promise<Access[]> {
    const rows = unwrap(
        await supabase()
            .from("document_access")
            .select("*")
            .in("document_id", [...documents])
            .order("shared_at"),
    );
    return rows.map((row) => ({
        id: row.id ?? "",
        documentId: row.document_id ?? "",
        email: row.email ?? "",
        sharedAt: row.shared_at ?? "",
        expiresAt: row.expires_at,
    }));
}

const NOBODY: readonly Access[] = [];

/** The ids of a page, and the number that stands for them in a query's key. */
interface Asked {
    ids: readonly string[];
    number: number;
}

// a page does not change, a changed page is another one: a hundred pages of ids are not joined again at every render
const known = new WeakMap<readonly DocumentRow[], Asked>();
const numbers = new Map<string, number>();

function askedOf(rows: readonly DocumentRow[]): Asked {
    let asked = known.get(rows);
    if (!asked) {
        const ids = rows.map((row) => row.id);
        const joined = ids.join();
        const number = numbers.get(joined) ?? numbers.size;
        numbers.set(joined, number);
        asked = { ids, number };
        known.set(rows, asked);
    }
    return asked;
}

/** Who has access to the documents of the loaded pages; what was known stays until its page is asked anew. */
export function useAccess(person: string, pages: readonly Page[]): ReadonlyMap<string, readonly Access[]> {
    const told = useRef<ReadonlyMap<string, readonly Access[]>>(new Map());
    const taken = useRef(new WeakSet<readonly Access[]>());
    const asked = pages.map((page) => askedOf(page.rows)).filter((one) => one.ids.length > 0);
    const answers = useQueries({
        queries: asked.map(({ ids, number }) => ({ queryKey: keys.accessOf(person, number), queryFn: () => readAccess(ids) })),
        combine: (results) => results.map((result) => result.data),
    });
    // biome-ignore lint/correctness/useExhaustiveDependencies: the answers follow what was asked
    return useMemo(() => {
        const fresh = answers.flatMap((answer, at) => (answer && !taken.current.has(answer) ? [[answer, asked[at]?.ids ?? []] as const] : []));
        if (fresh.length === 0) return told.current;
        const next = new Map(told.current);
        for (const [answer, ids] of fresh) {
            taken.current.add(answer);
            const found = Map.groupBy(answer, (one) => one.documentId);
            for (const id of ids) next.set(id, found.get(id) ?? NOBODY);
        }
        told.current = next;
        return next;
    }, [answers]);
}
