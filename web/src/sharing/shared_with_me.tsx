import { type InfiniteData, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { Download, LogOut, Users } from "lucide-react";
import { useEffect } from "react";
import { usePerson } from "../account/session";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { behindRow } from "../client/keyset";
import { supabase } from "../client/supabase";
import { useOnline } from "../client/surroundings";
import { Button, IconButton } from "../elements/button";
import list from "../elements/list.module.scss";
import { complain, tell } from "../elements/messages";
import { Empty, Failed, Skeleton } from "../elements/states";
import { Tile } from "../elements/tile";
import { downloadDocument } from "../library/actions";
import { hurry } from "../library/freshness";
import { Name } from "../library/name_cell";
import { PageHeader } from "../shell/page_header";
import { sentence } from "../text/sentence";
import { useFormat, useText } from "../text/text";

interface Shared {
    id: string;
    name: string;
    size: number;
    zipSize: number | null;
    status: string;
    owner: string;
    sharedAt: string;
    expiresAt: string | null;
}

const PAGE = 100;

async function readShared(last: Shared | null): Promise<Shared[]> {
    let query = supabase().from("shared_with_me").select("*");
    if (last) {
        const { column, operator, value, beyond } = behindRow("shared_at", last.sharedAt, last.id, true);
        query = query.filter(column, operator, value).or(beyond);
    }
    const rows = unwrap(await query.order("shared_at", { ascending: false }).order("id", { ascending: false }).limit(PAGE));
    return rows.map((row) => ({
        id: row.id ?? "",
        name: row.name ?? "",
        size: row.size_bytes ?? 0,
        zipSize: row.archive_size_bytes,
        status: row.status ?? "",
        owner: row.owner_name || row.owner_email || "",
        sharedAt: row.shared_at ?? "",
        expiresAt: row.expires_at,
    }));
}

export default function SharedWithMe() {
    const text = useText();
    const format = useFormat();
    const online = useOnline();
    const person = usePerson().id;
    const cache = useQueryClient();
    // the pulse asks for it when the number changes; the minute is for what changes within it
    const query = useInfiniteQuery({
        queryKey: keys.shared(person),
        queryFn: ({ pageParam }) => readShared(pageParam),
        initialPageParam: null as Shared | null,
        getNextPageParam: (page) => (page.length === PAGE ? page[page.length - 1] : null),
        refetchInterval: 60_000,
    });

    useEffect(() => {
        document.title = `${text.nav.shared} · ${text.product}`;
    }, [text]);

    async function leave(one: Shared) {
        cache.setQueryData<InfiniteData<Shared[]>>(
            keys.shared(person),
            (now) => now && { ...now, pages: now.pages.map((page) => page.filter((other) => other.id !== one.id)) },
        );
        try {
            const { error, status } = await supabase().rpc("leave_share", { document_id: one.id });
            if (error) unwrap({ data: null, error, status });
            tell(text.sharing.left(one.name));
        } catch (thrown) {
            complain(text.action.failed(sentence(asFault(thrown), text)));
        }
        await cache.invalidateQueries({ queryKey: keys.shared(person) });
        hurry();
    }

    const documents = query.data?.pages.flat() ?? [];

    return (
        <>
            <PageHeader title={text.nav.shared} lead={text.sharing.lead} />
            {query.isPending ? (
                <Skeleton />
            ) : query.isError && !query.data ? (
                <Failed title={text.sharing.failedToLoad} fault={asFault(query.error)} retry={() => void query.refetch()} />
            ) : documents.length === 0 ? (
                <Empty icon={Users} title={text.sharing.emptyTitle}>
                    {text.sharing.emptyLead}
                </Empty>
            ) : (
                <ul className={list.list}>
                    {documents.map((one) => (
                        <li key={one.id} className={list.row}>
                            <Tile name={one.name} />
                            <div className={list.about}>
                                <Name name={one.name} />
                                <span className={list.facts}>
                                    {text.sharing.owner} {one.owner} · {one.zipSize ? text.library.zip(format.size(one.zipSize)) : format.size(one.size)} ·{" "}
                                    {format.ago(one.sharedAt)}
                                    {one.status !== "ready" && ` · ${one.status === "failed" ? text.state.failed : text.state.queued}`}
                                    {one.expiresAt && <span className={list.warn}> · {text.sharing.until(format.moment(one.expiresAt))}</span>}
                                </span>
                            </div>
                            <div className={list.side}>
                                {one.status === "ready" && (
                                    <IconButton
                                        tone="accent"
                                        icon={Download}
                                        label={text.action.of(text.action.download, one.name)}
                                        disabled={!online}
                                        onClick={() => void downloadDocument(one).then(() => query.refetch())}
                                    />
                                )}
                                <IconButton icon={LogOut} label={`${text.sharing.leave}: ${one.name}`} disabled={!online} onClick={() => void leave(one)} />
                            </div>
                        </li>
                    ))}
                </ul>
            )}
            {query.hasNextPage && (
                <div className={list.more}>
                    <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
                        {text.common.more}
                    </Button>
                </div>
            )}
        </>
    );
}
