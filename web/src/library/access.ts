import { useQueries } from "@tanstack/react-query";
import { useMemo, useRef } from "react";
import { unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import type { Page } from "./documents";

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

/** Who has access to the documents of the loaded pages; what was known stays until its page is asked anew. */
export function useAccess(person: string, pages: readonly Page[]): ReadonlyMap<string, readonly Access[]> {
    const known = useRef<ReadonlyMap<string, readonly Access[]>>(new Map());
    const asked = pages.map((page) => page.rows.map((row) => row.id)).filter((ids) => ids.length > 0);
    const answers = useQueries({
        queries: asked.map((ids) => ({ queryKey: keys.accessOf(person, ids), queryFn: () => readAccess(ids) })),
        combine: (results) => results.map((result) => result.data),
    });
    // biome-ignore lint/correctness/useExhaustiveDependencies: the answers follow what was asked
    return useMemo(() => {
        const next = new Map(known.current);
        answers.forEach((answer, at) => {
            if (!answer) return;
            const found = Map.groupBy(answer, (one) => one.documentId);
            for (const id of asked[at] ?? []) next.set(id, found.get(id) ?? NOBODY);
        });
        known.current = next;
        return next;
    }, [answers]);
}
