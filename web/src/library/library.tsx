import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useRoles } from "../account/roles";
import { usePerson } from "../account/session";
import { cache } from "../client/cache";
import { asFault } from "../client/faults";
import { keys } from "../client/keys";
import { useStore } from "../client/store";
import { useOnline, useWidth } from "../client/surroundings";
import { Button } from "../elements/button";
import { Checkbox } from "../elements/checkbox";
import { Failed, Notice, Skeleton } from "../elements/states";
import { PageHeader } from "../shell/page_header";
import { useFormat, useText } from "../text/text";
import { pickFiles } from "../uploads/pick";
import { addFiles, cancelUpload, continueUpload, discardDocument, pauseUpload, resumeUpload } from "../uploads/uploads";
import { useAccess } from "./access";
import { deleteDocuments, downloadDocument, downloadDocuments, renameDocument, retryDocument } from "./actions";
import { type DocumentRow, type Filter, find, listOf, type Page, put, readCounts, type View } from "./documents";
import { Filters, Selection } from "./filters";
import { hurry, stale } from "./freshness";
import { keepLibrary } from "./kept";
import { KeyboardHelp } from "./keyboard_help";
import styles from "./library.module.scss";
import { Nothing } from "./nothing";
import type { RowActions } from "./row";
import { Rows, type RowsHandle } from "./rows";
import { Search } from "./search";
import { SortChoice, SortedColumn } from "./sort";
import { type SortBy, sorting } from "./sorting";

export const loadSharePanel = () => import("../sharing/share_panel");
const SharePanel = lazy(loadSharePanel);
const NOBODY: ReadonlySet<string> = new Set();
const NO_PAGES: readonly Page[] = [];

export function Library() {
    const text = useText();
    const format = useFormat();
    const person = usePerson().id;
    const { mayUpload } = useRoles();
    const width = useWidth();
    const online = useOnline();
    const isStale = useStore(stale);

    const [filter, setFilter] = useState<Filter>("all");
    const [search, setSearch] = useState("");
    const sort = useStore(sorting);
    const view = useMemo<View>(() => ({ filter, search, sort }), [filter, search, sort]);
    const [selected, setSelected] = useState<ReadonlySet<string>>(NOBODY);
    const [current, showCurrent] = useState(0);
    // keys may come faster than renders: what they act on is known at once
    const place = useRef(0);
    const setCurrent = useCallback((index: number) => {
        place.current = index;
        showCurrent(index);
    }, []);
    const [editing, setEditing] = useState<string | null>(null);
    const [sharing, setSharing] = useState<DocumentRow[] | null>(null);
    const [helping, setHelping] = useState(false);
    const anchor = useRef(0);
    const focusNext = useRef<string | null>(null);
    const grid = useRef<HTMLDivElement>(null);
    const handle = useRef<RowsHandle>(null);

    const counts = useQuery({ queryKey: keys.counts(person), queryFn: readCounts }).data;
    const list = useInfiniteQuery({ ...listOf(person, view), placeholderData: keepPreviousData });
    const pages = list.data?.pages ?? NO_PAGES;
    const rows = useMemo(() => pages.flatMap((page) => page.rows), [pages]);
    const access = useAccess(person, pages);

    // the first page of a view has come: the pulse looks for what changed since; the pages below it are no news
    const settled = list.isSuccess && !list.isFetching;
    const shown = useRef<View | null>(null);
    useEffect(() => {
        if (!settled || shown.current === view) return;
        shown.current = view;
        keepLibrary(person);
        hurry();
    }, [settled, view, person]);

    useEffect(() => {
        document.title = `${text.library.title} · ${text.product}`;
    }, [text]);

    const total = filter === "all" && search === "" && counts ? counts.documents : list.hasNextPage ? -1 : rows.length;

    const { hasNextPage, isFetchingNextPage, fetchNextPage } = list;
    const more = useCallback(() => {
        if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
    }, [hasNextPage, isFetchingNextPage, fetchNextPage]);

    const state = useRef({ rows, selected, view });
    state.current = { rows, selected, view };

    const chosen = useMemo(() => (selected.size === 0 ? [] : rows.filter((row) => selected.has(row.id))), [rows, selected]);

    const focusRow = useCallback(
        (index: number) => {
            const at = Math.max(0, Math.min(state.current.rows.length - 1, index));
            setCurrent(at);
            handle.current?.reveal(at);
            const id = state.current.rows[at]?.id;
            requestAnimationFrame(() => grid.current?.querySelector<HTMLElement>(`[data-row="${id}"]`)?.focus());
        },
        [setCurrent],
    );

    const remove = useCallback(
        (documents: readonly DocumentRow[]) => {
            const gone = new Set(documents.map((one) => one.id));
            const all = state.current.rows;
            const first = all.findIndex((row) => gone.has(row.id));
            const neighbour = all.slice(first).find((row) => !gone.has(row.id)) ?? all.slice(0, Math.max(0, first)).findLast((row) => !gone.has(row.id));
            focusNext.current = neighbour?.id ?? null;
            setSelected(NOBODY);
            void deleteDocuments(person, documents);
        },
        [person],
    );

    // focus stays in the list when its row goes
    useEffect(() => {
        const id = focusNext.current;
        const at = id === null ? -1 : rows.findIndex((row) => row.id === id);
        if (at < 0) return;
        focusNext.current = null;
        focusRow(at);
    }, [rows, focusRow]);

    const actions = useMemo<RowActions>(() => {
        const select = (id: string, range: boolean) => {
            const all = state.current.rows;
            const at = all.findIndex((row) => row.id === id);
            setSelected((before) => {
                const next = new Set(before);
                if (range) {
                    const [from, to] = at < anchor.current ? [at, anchor.current] : [anchor.current, at];
                    for (const row of all.slice(from, to + 1)) next.add(row.id);
                } else if (!next.delete(id)) next.add(id);
                return next;
            });
            if (!range) anchor.current = at;
        };
        return {
            select,
            focus: setCurrent,
            download: (row) => void downloadDocument(row),
            rename: (row) => setEditing(row.id),
            renamed: (row, name) => {
                setEditing(null);
                requestAnimationFrame(() => grid.current?.querySelector<HTMLElement>(`[data-row="${row.id}"]`)?.focus());
                if (name !== null) void renameDocument(person, find(cache, person, row.id) ?? row, name);
            },
            share: (row) => setSharing([row]),
            remove: (row) => remove([row]),
            retry: (row) => void retryDocument(person, row),
            uploadAgain: (row) =>
                void pickFiles(false).then(async (files) => {
                    if (files.length === 0) return;
                    put(cache, person, [{ ...row, deleted_at: new Date().toISOString() }]);
                    await addFiles(files);
                    await discardDocument(row.id);
                }),
            pause: (upload) => void pauseUpload(upload.key),
            resume: (upload) => resumeUpload(upload.key),
            cancel: (row, upload) => {
                put(cache, person, [{ ...row, deleted_at: new Date().toISOString() }]);
                void (upload ? cancelUpload(upload.key) : discardDocument(row.id));
            },
            choose: (row) =>
                void pickFiles(false).then(async ([file]) => {
                    if (file) await continueUpload(row, file);
                }),
        };
    }, [person, remove, setCurrent]);

    const selectAll = () => setSelected(chosen.length === rows.length ? NOBODY : new Set(rows.map((row) => row.id)));

    function typed(event: KeyboardEvent) {
        const target = event.target as HTMLElement;
        if (target.closest("input:not([type=checkbox]), textarea, select, [role=menu]")) return;
        const onRow = target.getAttribute("role") === "row";
        const at = place.current;
        const row = rows[at];
        const move = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
        if (move !== undefined) {
            event.preventDefault();
            const to = Math.max(0, Math.min(rows.length - 1, move));
            if (event.shiftKey) {
                if (selected.size === 0) anchor.current = at;
                const [from, until] = to < anchor.current ? [to, anchor.current] : [anchor.current, to];
                setSelected(new Set(rows.slice(from, until + 1).map((one) => one.id)));
            }
            focusRow(to);
            return;
        }
        if (!row || (!onRow && event.key !== "F2" && event.key !== "Delete")) return;
        if (event.key === " ") actions.select(row.id, event.shiftKey);
        else if (event.key === "Enter" && row.status === "ready") actions.download(row);
        else if (event.key === "F2") actions.rename(row);
        else if (event.key === "Delete") remove(chosen.length > 0 ? chosen : [row]);
        else if (event.key.toLowerCase() === "s" && !event.ctrlKey && !event.metaKey && mayUpload) actions.share(row);
        else return;
        event.preventDefault();
    }

    useEffect(() => {
        function pressed(event: globalThis.KeyboardEvent) {
            const target = event.target as HTMLElement;
            if (target.closest("input:not([type=checkbox]), textarea, select, dialog, [role=menu]") || document.querySelector("dialog[open]")) return;
            if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a" && state.current.rows.length > 0) {
                event.preventDefault();
                setSelected(new Set(state.current.rows.map((row) => row.id)));
            } else if (event.key === "Escape") setSelected(NOBODY);
            else if (event.key === "?") setHelping(true);
            else if (
                (event.key === "ArrowDown" || event.key === "ArrowUp") &&
                !event.defaultPrevented &&
                state.current.rows.length > 0 &&
                target === document.body
            ) {
                event.preventDefault();
                focusRow(place.current);
            }
        }
        document.addEventListener("keydown", pressed);
        return () => document.removeEventListener("keydown", pressed);
    }, [focusRow]);

    const columns: [title: string, by: SortBy | null][] = [
        [text.library.name, "name"],
        [text.library.status, "status"],
        ...(width === "desktop"
            ? ([
                  [text.library.size, "size"],
                  [text.library.sharedWith, null],
              ] as const)
            : []
        ).map(([title, by]): [string, SortBy | null] => [title, by]),
        [text.library.added, "date"],
    ];
    const selecting = selected.size > 0;
    const nothing = list.isSuccess && rows.length === 0;
    // who has no document yet has nothing to search or to filter
    const bare = nothing && filter === "all" && search === "";

    return (
        <>
            <PageHeader
                title={text.library.title}
                lead={
                    counts &&
                    !bare &&
                    text.library.summary(format.count(counts.documents), counts.documents, format.count(counts.inProgress), counts.inProgress)
                }
            >
                {!bare && <Search value={search} onChange={setSearch} />}
            </PageHeader>
            {!bare && (
                <div className={styles.tools}>
                    {selecting ? (
                        <Selection
                            rows={chosen}
                            count={selected.size}
                            mayShare={mayUpload}
                            online={online}
                            onDownload={() => void downloadDocuments(chosen)}
                            onShare={() => setSharing(chosen)}
                            onDelete={() => remove(chosen)}
                            onClear={() => setSelected(NOBODY)}
                        />
                    ) : (
                        <Filters value={filter} counts={counts} onChange={setFilter}>
                            {width !== "desktop" && <SortChoice />}
                        </Filters>
                    )}
                </div>
            )}
            {(list.isError || isStale) && rows.length > 0 && online && (
                <Notice
                    action={
                        <Button look="link" onClick={() => void list.refetch().then(hurry)}>
                            {text.common.retry}
                        </Button>
                    }
                >
                    {text.library.stale}
                </Notice>
            )}
            {list.isPending ? (
                <Skeleton />
            ) : list.isError && rows.length === 0 ? (
                <Failed title={text.library.failedToLoad} fault={asFault(list.error)} retry={() => void list.refetch()} />
            ) : nothing ? (
                <Nothing
                    view={view}
                    mayUpload={mayUpload}
                    onAll={() => {
                        setFilter("all");
                        setSearch("");
                    }}
                />
            ) : (
                <div
                    ref={grid}
                    role="grid"
                    aria-label={text.library.title}
                    aria-rowcount={total < 0 ? -1 : total + 1}
                    aria-multiselectable
                    className={styles.grid}
                    data-selecting={selecting || undefined}
                    onKeyDown={typed}
                >
                    <div role="row" aria-rowindex={1} className={styles.head}>
                        {width !== "phone" && (
                            <span role="columnheader" className={styles.check}>
                                <Checkbox
                                    label={text.library.selectAll}
                                    checked={chosen.length > 0 && chosen.length === rows.length}
                                    mixed={chosen.length > 0 && chosen.length < rows.length}
                                    onChange={selectAll}
                                />
                            </span>
                        )}
                        {columns.map(([title, by]) =>
                            by !== null && width !== "phone" ? (
                                <SortedColumn key={title} by={by} title={title} />
                            ) : (
                                <span role="columnheader" key={title}>
                                    {title}
                                </span>
                            ),
                        )}
                        <span role="columnheader">
                            <span className={styles.unseen}>{text.library.actions}</span>
                        </span>
                    </div>
                    <Rows
                        handle={handle}
                        rows={rows}
                        width={width}
                        access={access}
                        selected={selected}
                        current={current}
                        editing={editing}
                        mayShare={mayUpload}
                        online={online}
                        actions={actions}
                        onEnd={more}
                    />
                </div>
            )}
            {sharing && (
                <Suspense fallback={null}>
                    <SharePanel
                        documents={sharing}
                        onClose={() => {
                            setSharing(null);
                            void cache.invalidateQueries({ queryKey: keys.access(person) });
                        }}
                    />
                </Suspense>
            )}
            {helping && <KeyboardHelp onClose={() => setHelping(false)} />}
        </>
    );
}
