import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { ScrollText } from "lucide-react";
import { useDeferredValue, useEffect, useState } from "react";
import { usePerson } from "../account/session";
import { detail } from "../activity/detail";
import type { Database } from "../client/database.types";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { Button } from "../elements/button";
import { Choice, Field } from "../elements/field";
import list from "../elements/list.module.scss";
import { Empty, Failed, Skeleton } from "../elements/states";
import { PageHeader } from "../shell/page_header";
import { useFormat, useText } from "../text/text";
import styles from "./admin.module.scss";
import { type Column, Table } from "./table";

type Entry = Database["public"]["Views"]["admin_logs"]["Row"];

const PAGE = 50;

interface Wanted {
    event: string;
    who: string;
    day: string;
}

async function readLog({ event, who, day }: Wanted, before: number | null): Promise<Entry[]> {
    let query = supabase().from("admin_logs").select("*");
    if (event) query = query.eq("event_name", event);
    if (who) query = query.ilike("user_email", `%${who.replace(/[\\%_]/g, "\\$&")}%`);
    if (day) {
        const from = new Date(`${day}T00:00:00`);
        query = query.gte("created_at", from.toISOString()).lt("created_at", new Date(from.getTime() + 86_400_000).toISOString());
    }
    if (before !== null) query = query.lt("id", before);
    return unwrap(await query.order("id", { ascending: false }).limit(PAGE));
}

export function LogPage() {
    const text = useText();
    const format = useFormat();
    const person = usePerson().id;
    const [event, setEvent] = useState("");
    const [who, setWho] = useState("");
    const [day, setDay] = useState("");
    const person2 = useDeferredValue(who.trim());
    const query = useInfiniteQuery({
        queryKey: keys.admin(person, "log", event, person2, day),
        queryFn: ({ pageParam }) => readLog({ event, who: person2, day }, pageParam),
        initialPageParam: null as number | null,
        getNextPageParam: (page) => (page.length === PAGE ? (page[page.length - 1]?.id ?? null) : null),
        placeholderData: keepPreviousData,
        refetchOnMount: "always",
    });
    const entries = query.data?.pages.flat() ?? [];

    useEffect(() => {
        document.title = `${text.nav.log} · ${text.product}`;
    }, [text]);

    // names and addresses, which are of no language; the log's own sentences are English
    const what = ({ event_name, event_description }: Entry) => {
        const sentence = event_description ?? "";
        const told = detail(event_name ?? "", sentence, null, text.role);
        return told && (told !== sentence || event_name === "failed") ? told : (text.event[event_name ?? ""] ?? sentence);
    };
    const columns: Column<Entry>[] = [
        {
            title: text.admin.when,
            cell: (entry) => (
                <time className={styles.when} dateTime={entry.created_at ?? ""} title={format.dateTime(entry.created_at ?? 0)}>
                    {format.moment(entry.created_at ?? 0)}
                </time>
            ),
        },
        {
            title: text.admin.event,
            cell: (entry) => (
                <span className={styles.state} data-tone={entry.event_name === "failed" ? "bad" : undefined}>
                    {text.event[entry.event_name ?? ""] ?? entry.event_name}
                </span>
            ),
        },
        { title: text.admin.what, wide: true, cell: (entry) => <b>{what(entry)}</b> },
        {
            title: text.admin.who,
            cell: (entry) => (
                <span className={styles.mail} title={entry.user_email ?? undefined}>
                    {entry.user_email ?? text.activity.system}
                </span>
            ),
        },
    ];

    return (
        <>
            <PageHeader title={text.nav.log} lead={text.admin.logLead} />
            <div className={styles.tools}>
                <Choice label={text.admin.event} value={event} onChange={(change) => setEvent(change.currentTarget.value)}>
                    <option value="">{text.library.all}</option>
                    {Object.entries(text.event).map(([name, title]) => (
                        <option key={name} value={name}>
                            {title}
                        </option>
                    ))}
                </Choice>
                <Field
                    label={text.admin.who}
                    type="search"
                    placeholder={text.sharing.placeholder}
                    value={who}
                    onChange={(change) => setWho(change.currentTarget.value)}
                />
                <Field label={text.admin.day} type="date" value={day} onChange={(change) => setDay(change.currentTarget.value)} />
            </div>
            {query.isPending ? (
                <Skeleton plain />
            ) : query.isError && entries.length === 0 ? (
                <Failed title={text.admin.failedToLoad} fault={asFault(query.error)} retry={() => void query.refetch()} />
            ) : entries.length === 0 ? (
                <Empty icon={ScrollText} title={text.admin.noEvents}>
                    {text.admin.noEventsLead}
                </Empty>
            ) : (
                <Table label={text.nav.log} columns={columns} rows={entries} keyOf={(entry) => String(entry.id)} />
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
