import { useQueries } from "@tanstack/react-query";
import { useRef } from "react";
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

/** Who has access to the documents of the loaded pages. */
export function useAccess(person: string, pages: readonly Page[]): ReadonlyMap<string, readonly Access[]> {
    const known = useRef(new Map<string, readonly Access[]>());
    useQueries({
        queries: pages
            .map((page) => page.rows.map((row) => row.id))
            .filter((ids) => ids.length > 0)
            .map((ids) => ({
                queryKey: keys.accessOf(person, ids),
                queryFn: async () => {
                    const found = Map.groupBy(await readAccess(ids), (one) => one.documentId);
                    for (const id of ids) known.current.set(id, found.get(id) ?? []);
                    return found.size;
                },
            })),
        combine: (results) => results.reduce((sum, result) => sum + (result.dataUpdatedAt ?? 0), 0),
    });
    return known.current;
}
