import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Download, LogOut, Users } from "lucide-react";
import { useEffect } from "react";
import { usePerson } from "../account/session";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { useOnline } from "../client/surroundings";
import { IconButton } from "../elements/button";
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

async function readShared(): Promise<Shared[]> {
    const rows = unwrap(await supabase().from("shared_with_me").select("*").order("shared_at", { ascending: false }).order("id").limit(1000));
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
    const query = useQuery({ queryKey: keys.shared(person), queryFn: readShared, refetchInterval: 30_000 });

    useEffect(() => {
        document.title = `${text.nav.shared} · ${text.product}`;
    }, [text]);

    async function leave(one: Shared) {
        cache.setQueryData<Shared[]>(keys.shared(person), (now) => now?.filter((other) => other.id !== one.id));
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

    return (
        <>
            <PageHeader title={text.nav.shared} lead={text.sharing.lead} />
            {query.isPending ? (
                <Skeleton />
            ) : query.isError && !query.data ? (
                <Failed title={text.sharing.failedToLoad} fault={asFault(query.error)} retry={() => void query.refetch()} />
            ) : query.data?.length === 0 ? (
                <Empty icon={Users} title={text.sharing.emptyTitle}>
                    {text.sharing.emptyLead}
                </Empty>
            ) : (
                <ul className={list.list}>
                    {query.data?.map((one) => (
                        <li key={one.id} className={list.row}>
                            <Tile name={one.name} />
                            <div className={list.about}>
                                <Name name={one.name} />
                                <span className={list.facts}>
                                    {one.owner} · {one.zipSize ? text.library.zip(format.size(one.zipSize)) : format.size(one.size)} ·{" "}
                                    {format.ago(one.sharedAt)}
                                    {one.status !== "ready" && ` · ${one.status === "failed" ? text.state.failed : text.state.queued}`}
                                    {one.expiresAt && <span className={list.warn}> · {text.sharing.until(format.dateTime(one.expiresAt))}</span>}
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
        </>
    );
}
