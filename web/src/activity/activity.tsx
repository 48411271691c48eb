import { useInfiniteQuery } from "@tanstack/react-query";
import {
    Activity as ActivityIcon,
    CircleAlert,
    CircleCheck,
    Clock,
    Download,
    FilePlus,
    type LucideIcon,
    Pencil,
    RotateCcw,
    Shield,
    Trash2,
    Upload,
    UserMinus,
    UserPlus,
} from "lucide-react";
import { useEffect } from "react";
import { usePerson } from "../account/session";
import type { Database } from "../client/database.types";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { Button } from "../elements/button";
import list from "../elements/list.module.scss";
import { Empty, Failed, Skeleton } from "../elements/states";
import { PageHeader } from "../shell/page_header";
import { useFormat, useText } from "../text/text";
import styles from "./activity.module.scss";
import { detail } from "./detail";

type Event = Database["public"]["Tables"]["logs"]["Row"];

const PAGE = 50;
const ICONS: Record<string, LucideIcon> = {
    created: FilePlus,
    uploaded: Upload,
    ready: CircleCheck,
    failed: CircleAlert,
    renamed: Pencil,
    deleted: Trash2,
    purged: Trash2,
    restored: RotateCcw,
    retried: RotateCcw,
    shared: UserPlus,
    share_changed: Clock,
    share_revoked: UserMinus,
    share_expired: UserMinus,
    share_left: UserMinus,
    download_url_made: Download,
    role_granted: Shield,
    role_revoked: Shield,
};

interface Entry extends Event {
    /** The document's name, where it still exists and is the reader's. */
    documentName: string | null;
}

/** What happened to a person's documents, or what he did: each has its index. An admin may read everybody's, here he sees his own. */
async function readLog(column: "owner_id" | "user_id", person: string, before: number | null): Promise<Event[]> {
    let query = supabase().from("logs").select("*").eq(column, person);
    if (before !== null) query = query.lt("id", before);
    return unwrap(await query.order("id", { ascending: false }).limit(PAGE));
}

async function readEvents(person: string, before: number | null): Promise<Entry[]> {
    const [own, done] = await Promise.all([readLog("owner_id", person, before), readLog("user_id", person, before)]);
    // what one did to one's own documents is in both
    const both = new Map([...own, ...done].map((event) => [event.id, event]));
    const events = [...both.values()].sort((a, b) => b.id - a.id).slice(0, PAGE);
    const ids = [...new Set(events.map((event) => event.document_id).filter((id) => id !== null))];
    const named = ids.length > 0 ? unwrap(await supabase().from("documents").select("id, name").in("id", ids)) : [];
    const names = new Map(named.map((row) => [row.id, row.name]));
    return events.map((event) => ({ ...event, documentName: (event.document_id && names.get(event.document_id)) || null }));
}

export default function Activity() {
    const text = useText();
    const format = useFormat();
    const person = usePerson().id;
    const query = useInfiniteQuery({
        queryKey: keys.activity(person),
        queryFn: ({ pageParam }) => readEvents(person, pageParam),
        initialPageParam: null as number | null,
        getNextPageParam: (page) => (page.length === PAGE ? (page[page.length - 1]?.id ?? null) : null),
        refetchOnMount: "always",
    });
    const events = query.data?.pages.flat() ?? [];
    const days = Map.groupBy(events, (event) => new Date(event.created_at).toDateString());

    useEffect(() => {
        document.title = `${text.activity.title} · ${text.product}`;
    }, [text]);

    const who = (event: Entry) => (event.user_id === person ? text.activity.you : event.user_id === null ? text.activity.system : text.activity.somebody);
    const dayName = (day: string) => {
        if (day === new Date().toDateString()) return text.activity.today;
        if (day === new Date(Date.now() - 86_400_000).toDateString()) return text.yesterday;
        return format.date(day);
    };

    return (
        <>
            <PageHeader title={text.activity.title} lead={text.activity.lead} />
            {query.isPending ? (
                <Skeleton plain />
            ) : query.isError && events.length === 0 ? (
                <Failed title={text.activity.failedToLoad} fault={asFault(query.error)} retry={() => void query.refetch()} />
            ) : events.length === 0 ? (
                <Empty icon={ActivityIcon} title={text.activity.empty}>
                    {text.activity.emptyLead}
                </Empty>
            ) : (
                <>
                    {[...days].map(([day, entries]) => (
                        <section key={day} className={styles.day}>
                            <h2>{dayName(day)}</h2>
                            <ul className={list.list}>
                                {entries.map((event) => {
                                    const Icon = ICONS[event.event_name] ?? ActivityIcon;
                                    return (
                                        <li key={event.id} className={styles.event} data-bad={event.event_name === "failed" || undefined}>
                                            <Icon size={18} strokeWidth={1.75} aria-hidden />
                                            <span className={styles.what}>
                                                <b>{text.event[event.event_name] ?? event.event_name}</b>
                                                <span>{detail(event.event_name, event.event_description, event.documentName, text.role)}</span>
                                            </span>
                                            <span className={styles.who}>{who(event)}</span>
                                            <time dateTime={event.created_at} title={format.dateTime(event.created_at)}>
                                                {format.clock(event.created_at)}
                                            </time>
                                        </li>
                                    );
                                })}
                            </ul>
                        </section>
                    ))}
                    {query.hasNextPage && (
                        <div className={list.more}>
                            <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
                                {text.common.more}
                            </Button>
                        </div>
                    )}
                </>
            )}
        </>
    );
}
