import { useQuery, useQueryClient } from "@tanstack/react-query";
import { CalendarClock, Play } from "lucide-react";
import { useEffect, useState } from "react";
import { usePerson } from "../account/session";
import type { Database } from "../client/database.types";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { useOnline } from "../client/surroundings";
import { Button } from "../elements/button";
import { tell } from "../elements/messages";
import { Empty, Failed, Skeleton } from "../elements/states";
import { PageHeader } from "../shell/page_header";
import { useFormat, useLanguage, useText } from "../text/text";
import { act } from "./act";
import styles from "./admin.module.scss";
import { inWords } from "./cron";
import { type Column, Table } from "./table";

type Schedule = Database["public"]["Tables"]["scheduled_jobs"]["Row"];

async function readSchedules(): Promise<Schedule[]> {
    return unwrap(await supabase().from("scheduled_jobs").select("*").order("title"));
}

export function SchedulesPage() {
    const text = useText();
    const format = useFormat();
    const language = useLanguage();
    const online = useOnline();
    const person = usePerson().id;
    const cache = useQueryClient();
    const [busy, setBusy] = useState<string | null>(null);
    const key = keys.admin(person, "schedules");
    const query = useQuery({ queryKey: key, queryFn: readSchedules, refetchInterval: 15_000 });
    const schedules = query.data ?? [];

    useEffect(() => {
        document.title = `${text.nav.schedules} · ${text.product}`;
    }, [text]);

    async function run(schedule: Schedule) {
        setBusy(schedule.id);
        if (await act(supabase().rpc("admin_run_schedule", { schedule_id: schedule.id })))
            tell(text.admin.scheduleRun(text.jobKind[schedule.kind] ?? schedule.title));
        setBusy(null);
        await cache.invalidateQueries({ queryKey: key });
    }

    async function enable(schedule: Schedule, enabled: boolean) {
        cache.setQueryData<Schedule[]>(key, (now) => now?.map((one) => (one.id === schedule.id ? { ...one, enabled } : one)));
        await act(supabase().rpc("admin_enable_schedule", { schedule_id: schedule.id, enabled }));
        await cache.invalidateQueries({ queryKey: key });
    }

    const columns: Column<Schedule>[] = [
        {
            title: text.admin.schedule,
            wide: true,
            cell: (schedule) => (
                <>
                    <b>{text.jobKind[schedule.kind] ?? schedule.title}</b>
                    <small>{text.scheduleMeaning[schedule.kind] ?? schedule.description}</small>
                </>
            ),
        },
        {
            title: text.admin.cron,
            cell: (schedule) => (
                <span className={styles.cron}>
                    {inWords(schedule.schedule, language) ?? schedule.schedule}
                    <small>{schedule.schedule}</small>
                </span>
            ),
        },
        {
            title: text.admin.last,
            low: true,
            cell: (schedule) => <span className={styles.when}>{schedule.last_execution_at ? format.moment(schedule.last_execution_at) : "–"}</span>,
        },
        {
            title: text.admin.next,
            cell: (schedule) => (
                <span className={styles.when}>{schedule.enabled && schedule.next_execution_at ? format.moment(schedule.next_execution_at) : "–"}</span>
            ),
        },
        {
            title: text.admin.enabled,
            cell: (schedule) => (
                <button
                    type="button"
                    role="switch"
                    className={styles.switch}
                    aria-checked={schedule.enabled}
                    aria-label={`${text.admin.enabled}: ${text.jobKind[schedule.kind] ?? schedule.title}`}
                    disabled={!online}
                    onClick={() => void enable(schedule, !schedule.enabled)}
                >
                    <i aria-hidden />
                </button>
            ),
        },
        {
            title: text.library.actions,
            wide: true,
            end: true,
            cell: (schedule) => (
                <Button
                    look="link"
                    icon={Play}
                    busy={busy === schedule.id}
                    disabled={!online}
                    aria-label={text.action.of(text.admin.runNow, text.jobKind[schedule.kind] ?? schedule.title)}
                    onClick={() => void run(schedule)}
                >
                    {text.admin.runNow}
                </Button>
            ),
        },
    ];

    return (
        <>
            <PageHeader title={text.nav.schedules} lead={text.admin.schedulesLead} />
            {query.isPending ? (
                <Skeleton plain />
            ) : query.isError && schedules.length === 0 ? (
                <Failed title={text.admin.failedToLoad} fault={asFault(query.error)} retry={() => void query.refetch()} />
            ) : schedules.length === 0 ? (
                <Empty icon={CalendarClock} title={text.admin.noSchedules} />
            ) : (
                <Table label={text.nav.schedules} columns={columns} rows={schedules} keyOf={(schedule) => schedule.id} />
            )}
        </>
    );
}
