import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { RotateCcw, Trash2 } from "lucide-react";
import { useEffect, useState } from "react";
import { usePerson } from "../account/session";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { behindRow } from "../client/keyset";
import { supabase } from "../client/supabase";
import { useOnline, useWidth } from "../client/surroundings";
import { Button, IconButton } from "../elements/button";
import { Dialog } from "../elements/dialog";
import list from "../elements/list.module.scss";
import { complain, tell } from "../elements/messages";
import { Empty, Failed, Skeleton } from "../elements/states";
import { Tile } from "../elements/tile";
import { restoreDocuments } from "../library/actions";
import type { DocumentRow } from "../library/documents";
import { hurry, readLimits } from "../library/freshness";
import { Name } from "../library/name_cell";
import { PageHeader } from "../shell/page_header";
import { sentence } from "../text/sentence";
import { useFormat, useText } from "../text/text";

const PAGE = 100;

async function readTrash(owner: string, last: DocumentRow | null): Promise<DocumentRow[]> {
    let query = supabase().from("documents").select("*").eq("owner_id", owner);
    if (last?.deleted_at) {
        // it says "deleted" as well; said twice, the planner expects few rows and sorts them all
        const { column, operator, value, beyond } = behindRow("deleted_at", last.deleted_at, last.id, true);
        query = query.filter(column, operator, value).or(beyond);
    } else query = query.not("deleted_at", "is", null);
    return unwrap(await query.order("deleted_at", { ascending: false }).order("id", { ascending: false }).limit(PAGE));
}

export default function Trash() {
    const text = useText();
    const format = useFormat();
    const online = useOnline();
    const phone = useWidth() === "phone";
    const person = usePerson().id;
    const cache = useQueryClient();
    const [purging, setPurging] = useState<DocumentRow | null>(null);
    const limits = useQuery({ queryKey: keys.limits(person), queryFn: readLimits }).data;
    const query = useInfiniteQuery({
        queryKey: keys.trash(person),
        queryFn: ({ pageParam }) => readTrash(person, pageParam),
        initialPageParam: null as DocumentRow | null,
        getNextPageParam: (page) => (page.length === PAGE ? page[page.length - 1] : null),
    });
    const rows = query.data?.pages.flat() ?? [];
    const beingPurged = rows.some((row) => row.purge_started_at !== null);

    useEffect(() => {
        document.title = `${text.trash.title} · ${text.product}`;
    }, [text]);

    useEffect(() => {
        if (!beingPurged) return;
        const timer = setInterval(() => {
            void query.refetch();
            void cache.invalidateQueries({ queryKey: keys.limits(person) });
        }, 2000);
        return () => clearInterval(timer);
    }, [beingPurged, query.refetch, query, cache, person]);

    async function purge(row: DocumentRow) {
        setPurging(null);
        const { error, status } = await supabase().rpc("purge_document", { document_id: row.id });
        if (error) {
            try {
                unwrap({ data: null, error, status });
            } catch (thrown) {
                complain(text.action.failed(sentence(asFault(thrown), text)));
            }
        } else tell(text.trash.purged(row.name));
        await query.refetch();
        hurry();
    }

    return (
        <>
            <PageHeader title={text.trash.title} lead={limits && text.trash.lead(format.count(limits.trashDays))} />
            {query.isPending ? (
                <Skeleton />
            ) : query.isError && rows.length === 0 ? (
                <Failed title={text.trash.failedToLoad} fault={asFault(query.error)} retry={() => void query.refetch()} />
            ) : rows.length === 0 ? (
                <Empty icon={Trash2} title={text.trash.empty}>
                    {text.trash.emptyLead}
                </Empty>
            ) : (
                <>
                    <ul className={list.list}>
                        {rows.map((row) => (
                            <li key={row.id} className={list.row}>
                                <Tile name={row.name} />
                                <div className={list.about}>
                                    <Name name={row.name} />
                                    <span className={list.facts}>
                                        {row.purge_started_at
                                            ? text.trash.purging
                                            : limits && text.trash.goneOn(format.date(Date.parse(row.deleted_at ?? "") + limits.trashDays * 86_400_000))}
                                        {!phone && ` · ${format.size(row.size_bytes)}`}
                                    </span>
                                </div>
                                {!row.purge_started_at && (
                                    <div className={list.side}>
                                        {phone ? (
                                            <IconButton
                                                icon={RotateCcw}
                                                tone="accent"
                                                label={text.action.of(text.trash.restore, row.name)}
                                                disabled={!online}
                                                onClick={() => void restoreDocuments(person, [row])}
                                            />
                                        ) : (
                                            <Button
                                                look="link"
                                                icon={RotateCcw}
                                                aria-label={text.action.of(text.trash.restore, row.name)}
                                                disabled={!online}
                                                onClick={() => void restoreDocuments(person, [row])}
                                            >
                                                {text.trash.restore}
                                            </Button>
                                        )}
                                        <IconButton
                                            icon={Trash2}
                                            label={`${text.trash.purge}: ${row.name}`}
                                            disabled={!online}
                                            onClick={() => setPurging(row)}
                                        />
                                    </div>
                                )}
                            </li>
                        ))}
                    </ul>
                    {query.hasNextPage && (
                        <div className={list.more}>
                            <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
                                {text.common.more}
                            </Button>
                        </div>
                    )}
                </>
            )}
            {purging && (
                <Dialog
                    size="small"
                    title={text.trash.purgeTitle(purging.name)}
                    onClose={() => setPurging(null)}
                    footer={
                        <>
                            <Button onClick={() => setPurging(null)}>{text.common.cancel}</Button>
                            <Button look="danger" onClick={() => void purge(purging)}>
                                {text.trash.purge}
                            </Button>
                        </>
                    }
                >
                    <p>{text.trash.purgeLead}</p>
                </Dialog>
            )}
        </>
    );
}
