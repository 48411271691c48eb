import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { ListChecks, RotateCcw, X } from "lucide-react";
import { useEffect, useState } from "react";
import { usePerson } from "../account/session";
import type { Database } from "../client/database.types";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { useOnline } from "../client/surroundings";
import { Bar } from "../elements/bar";
import { Button, IconButton } from "../elements/button";
import { Choice } from "../elements/field";
import list from "../elements/list.module.scss";
import { tell } from "../elements/messages";
import { Empty, Failed, Notice, Skeleton } from "../elements/states";
import { PageHeader } from "../shell/page_header";
import { useFormat, useText } from "../text/text";
import { act } from "./act";
import styles from "./admin.module.scss";
import { type Column, Table } from "./table";

type Job = Database["public"]["Views"]["admin_jobs"]["Row"];

const PAGE = 50;
const LIVE = 3_000;
const FILTERS: Record<string, readonly string[] | null> = {
    all: null,
    open: ["pending", "scheduled", "running"],
    failed: ["dead"],
    done: ["succeeded"],
    dropped: ["cancelled", "superseded"],
};
const TONES: Record<string, string> = { running: "accent", succeeded: "ok", dead: "bad", cancelled: "warn" };

async function readJobs(filter: string, count: number): Promise<Job[]> {
    let query = supabase().from("admin_jobs").select("*");
    const states = FILTERS[filter];
    if (states) query = query.in("state", [...states]);
    return unwrap(await query.order("id", { ascending: false }).limit(count));
}

async function readRates() {
    return unwrap(await supabase().from("admin_job_rates").select("*").maybeSingle());
}

async function readRunners() {
    return unwrap(await supabase().from("admin_runners").select("*").order("seen_at", { ascending: false }).limit(20));
}

export function JobsPage() {
    const text = useText();
    const format = useFormat();
    const online = useOnline();
    const person = usePerson().id;
    const cache = useQueryClient();
    const [filter, setFilter] = useState("all");
    const [count, setCount] = useState(PAGE);
    const live = { refetchInterval: LIVE, placeholderData: keepPreviousData, staleTime: 0 };
    const query = useQuery({ queryKey: keys.admin(person, "jobs", filter, String(count)), queryFn: () => readJobs(filter, count), ...live });
    const rates = useQuery({ queryKey: keys.admin(person, "rates"), queryFn: readRates, ...live }).data;
    const runners = useQuery({ queryKey: keys.admin(person, "runners"), queryFn: readRunners, ...live }).data ?? [];
    const jobs = query.data ?? [];

    useEffect(() => {
        document.title = `${text.nav.jobs} · ${text.product}`;
    }, [text]);

    async function retry(job: Job) {
        if (await act(supabase().rpc("admin_retry_job", { job_id: job.id ?? 0 }))) tell(text.admin.jobRetried(String(job.id)));
        await cache.invalidateQueries({ queryKey: keys.admin(person, "jobs") });
    }

    async function cancel(job: Job) {
        if (await act(supabase().rpc("admin_cancel_job", { job_id: job.id ?? 0 }))) tell(text.admin.jobCancelled(String(job.id)));
        await cache.invalidateQueries({ queryKey: keys.admin(person, "jobs") });
    }

    const state = (job: Job) => text.jobState[job.state ?? ""] ?? job.state;
    const columns: Column<Job>[] = [
        {
            title: text.admin.job,
            wide: true,
            cell: (job) => (
                <>
                    <b>{text.jobKind[job.kind ?? ""] ?? job.kind}</b>
                    <small>{[`#${job.id}`, job.document_name, job.owner_email].filter(Boolean).join(" · ")}</small>
                </>
            ),
        },
        {
            title: text.library.status,
            cell: (job) =>
                job.state === "running" && job.progress !== null ? (
                    <span className={styles.progress}>
                        <span>
                            {state(job)} {format.percent(job.progress)}
                        </span>
                        <Bar look="zipper" part={job.progress} label={`${state(job)} #${job.id}`} />
                    </span>
                ) : (
                    <span className={styles.state} data-tone={TONES[job.state ?? ""]}>
                        {state(job)}
                    </span>
                ),
        },
        {
            title: text.admin.reason,
            low: !jobs.some((job) => job.error),
            cell: (job) =>
                job.error && (
                    <span className={job.state === "dead" ? styles.bad : undefined}>
                        {job.error}
                        {(job.failures ?? 0) + (job.crashes ?? 0) > 0 && <small>{text.admin.attempts(job.attempt ?? 0)}</small>}
                    </span>
                ),
        },
        {
            title: text.admin.took,
            cell: (job) => {
                if (!job.claimed_at) return null;
                const end = job.finished_at ? Date.parse(job.finished_at) : Date.now();
                return <span className={styles.when}>{format.seconds(Math.max(0, end - Date.parse(job.claimed_at)) / 1000)}</span>;
            },
        },
        {
            title: text.admin.when,
            cell: (job) => {
                const at = job.finished_at ?? job.claimed_at ?? job.run_at ?? job.created_at ?? "";
                return (
                    <time className={styles.when} dateTime={at} title={format.dateTime(at)}>
                        {job.state === "scheduled" ? format.moment(at) : format.time(at)}
                    </time>
                );
            },
        },
        {
            title: text.library.actions,
            end: true,
            wide: true,
            cell: (job) =>
                job.state === "dead" || (job.state === "cancelled" && job.kind !== "remove_archive") ? (
                    <Button
                        look="link"
                        icon={RotateCcw}
                        disabled={!online}
                        aria-label={text.action.of(text.action.retry, `#${job.id}`)}
                        onClick={() => void retry(job)}
                    >
                        {text.action.retry}
                    </Button>
                ) : job.finished_at === null ? (
                    <IconButton icon={X} label={text.action.of(text.action.cancel, `#${job.id}`)} disabled={!online} onClick={() => void cancel(job)} />
                ) : null,
        },
    ];

    const facts: { title: string; value: string; bad?: boolean }[] = rates
        ? [
              { title: text.admin.running, value: format.count(rates.running ?? 0) },
              { title: text.admin.waiting, value: format.count(rates.waiting ?? 0) },
              { title: text.admin.perMinute, value: format.count(rates.finished_last_minute ?? 0) },
              { title: text.admin.perHour, value: format.count(rates.finished_last_hour ?? 0) },
              { title: text.admin.failedHour, value: format.count(rates.failed_last_hour ?? 0), bad: (rates.failed_last_hour ?? 0) > 0 },
              { title: text.admin.median, value: rates.median_seconds === null ? "–" : format.seconds(rates.median_seconds) },
          ]
        : [];

    return (
        <>
            <PageHeader
                title={text.nav.jobs}
                lead={
                    rates && (
                        <span title={runners.map((one) => `${one.host}: ${format.dateTime(one.seen_at ?? 0)}`).join("\n")}>
                            {text.admin.runners(rates.runners ?? 0)}
                        </span>
                    )
                }
            />
            {rates?.paused && <Notice>{text.admin.paused}</Notice>}
            {rates && rates.runners === 0 && <Notice tone="bad">{text.admin.noRunner}</Notice>}
            <dl className={styles.rates}>
                {facts.map((fact) => (
                    <div key={fact.title} data-bad={fact.bad || undefined}>
                        <dt>{fact.title}</dt>
                        <dd>{fact.value}</dd>
                    </div>
                ))}
            </dl>
            <div className={styles.tools}>
                <Choice
                    label={text.library.filters}
                    value={filter}
                    onChange={(event) => {
                        setFilter(event.currentTarget.value);
                        setCount(PAGE);
                    }}
                >
                    {Object.keys(FILTERS).map((name) => (
                        <option key={name} value={name}>
                            {text.jobFilter[name]}
                        </option>
                    ))}
                </Choice>
            </div>
            {query.isPending ? (
                <Skeleton plain />
            ) : query.isError && jobs.length === 0 ? (
                <Failed title={text.admin.failedToLoad} fault={asFault(query.error)} retry={() => void query.refetch()} />
            ) : jobs.length === 0 ? (
                <Empty icon={ListChecks} title={text.admin.noJobs}>
                    {text.admin.noJobsLead}
                </Empty>
            ) : (
                <Table label={text.nav.jobs} columns={columns} rows={jobs} keyOf={(job) => String(job.id)} />
            )}
            {jobs.length === count && count < 1000 && (
                <div className={list.more}>
                    <Button busy={query.isPlaceholderData} onClick={() => setCount(count + PAGE)}>
                        {text.common.more}
                    </Button>
                </div>
            )}
        </>
    );
}
