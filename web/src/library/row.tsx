import { FileUp, Pause, Pencil, Play, RotateCcw, Trash2, X } from "lucide-react";
import { type MouseEvent, memo, type PointerEvent, useLayoutEffect, useRef } from "react";
import type { Width } from "../client/surroundings";
import { Avatars } from "../elements/avatar";
import { Button, IconButton } from "../elements/button";
import { Checkbox } from "../elements/checkbox";
import { DownloadGlyph, ShareGlyph } from "../elements/glyphs";
import { Menu, type MenuItem } from "../elements/menu";
import { Tile } from "../elements/tile";
import type { Format } from "../text/format";
import { reason } from "../text/sentence";
import type { Text } from "../text/text";
import type { Upload } from "../uploads/uploads";
import type { Access } from "./access";
import type { DocumentRow } from "./documents";
import { Name, NameEditor } from "./name_cell";
import styles from "./row.module.scss";
import { isUploading, stateOf } from "./row_state";
import { explain, Status } from "./status_cell";
import type { Visible } from "./visible";

export interface RowActions {
    select(id: string, range: boolean): void;
    focus(index: number): void;
    download(row: DocumentRow): void;
    rename(row: DocumentRow): void;
    renamed(row: DocumentRow, name: string | null): void;
    share(row: DocumentRow): void;
    remove(row: DocumentRow): void;
    retry(row: DocumentRow): void;
    uploadAgain(row: DocumentRow): void;
    pause(upload: Upload): void;
    resume(upload: Upload): void;
    cancel(row: DocumentRow, upload: Upload | undefined): void;
    choose(row: DocumentRow): void;
}

interface CellsProps {
    row: DocumentRow;
    width: Width;
    upload: Upload | undefined;
    access: readonly Access[] | undefined;
    selected: boolean;
    /** Only phones look different while something is selected. */
    selecting: boolean;
    editing: boolean;
    mayShare: boolean;
    online: boolean;
    actions: RowActions;
    text: Text;
    format: Format;
}

interface Props extends CellsProps {
    index: number;
    current: boolean;
    measure: Visible["measure"] | null;
}

const DAY = 86_400_000;

/** A row of the grid. Its place changes with every row that comes or goes above it; its cells do not. */
export const Row = memo(function Row({ index, current, measure, ...cells }: Props) {
    const { row, width, selected, selecting, editing, actions } = cells;
    const ref = useRef<HTMLDivElement>(null);
    const held = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
    useLayoutEffect(() => {
        if (ref.current) measure?.(ref.current, row.id);
    });

    function press(event: PointerEvent) {
        if (event.pointerType === "mouse" || editing) return;
        held.current = setTimeout(() => {
            navigator.vibrate?.(10);
            actions.select(row.id, false);
        }, 500);
    }
    const release = () => clearTimeout(held.current);
    const touch =
        width === "phone"
            ? {
                  onPointerDown: press,
                  onPointerUp: release,
                  onPointerCancel: release,
                  onPointerMove: release,
                  onContextMenu: (event: MouseEvent) => selecting && event.preventDefault(),
              }
            : null;
    return (
        <div
            ref={ref}
            role="row"
            aria-rowindex={index + 2}
            aria-selected={selected}
            tabIndex={current ? 0 : -1}
            data-row={row.id}
            className={styles.row}
            onFocus={() => actions.focus(index)}
            {...touch}
        >
            <Cells {...cells} />
        </div>
    );
});

const Cells = memo(function Cells({ row, width, upload, access, selected, selecting, editing, mayShare, online, actions, text, format }: CellsProps) {
    const state = stateOf(row, upload);
    const phone = width === "phone";
    const moving = isUploading(state.kind);
    const ready = state.kind === "ready";
    const named = (action: string) => text.action.of(action, row.name);

    const trouble = explain(row, state, upload, text, format.percent);
    const troubleText = trouble && (state.kind === "failed" ? reason(trouble, text) : trouble);
    const nextEnd = access?.reduce<number | null>((least, one) => {
        const end = one.expiresAt ? Date.parse(one.expiresAt) : Number.POSITIVE_INFINITY;
        return least === null || end < least ? end : least;
    }, null);
    const ends = nextEnd != null && Number.isFinite(nextEnd) ? nextEnd : null;
    const soon = ends !== null && ends - Date.now() < 2 * DAY;
    const endText =
        ends === null
            ? null
            : soon && new Date(ends).toDateString() === new Date().toDateString()
              ? text.library.shareEndsToday
              : soon && new Date(ends).toDateString() === new Date(Date.now() + DAY).toDateString()
                ? text.library.shareEndsTomorrow
                : text.library.sharedUntil(format.date(ends));

    const items = (): MenuItem[] => [
        ...(ready ? [{ icon: DownloadGlyph, label: text.action.download, disabled: !online, run: () => actions.download(row) }] : []),
        { icon: Pencil, label: text.action.rename, disabled: !online, run: () => actions.rename(row) },
        ...(mayShare ? [{ icon: ShareGlyph, label: text.action.share, disabled: !online, run: () => actions.share(row) }] : []),
        { icon: Trash2, label: text.action.delete, danger: true, disabled: !online, run: () => actions.remove(row) },
    ];

    const buttons = (
        <span className={styles.actions}>
            {state.kind === "sending" && upload && <IconButton icon={Pause} label={named(text.action.pause)} onClick={() => actions.pause(upload)} />}
            {(state.kind === "paused" || state.kind === "vanished") && upload && (
                <IconButton
                    icon={state.kind === "vanished" ? RotateCcw : Play}
                    label={named(state.kind === "vanished" ? text.action.restart : text.action.resume)}
                    onClick={() => actions.resume(upload)}
                />
            )}
            {state.kind === "interrupted" && (
                <Button look="link" aria-label={named(text.action.choose)} onClick={() => actions.choose(row)}>
                    {text.action.choose}
                </Button>
            )}
            {moving && (
                <IconButton
                    icon={X}
                    label={named(state.kind === "interrupted" ? text.action.discard : text.action.cancel)}
                    onClick={() => actions.cancel(row, upload)}
                />
            )}
            {ready && (
                <IconButton tone="accent" icon={DownloadGlyph} label={named(text.action.download)} disabled={!online} onClick={() => actions.download(row)} />
            )}
            {state.kind === "failed" &&
                (row.object_version === null ? (
                    <IconButton tone="accent" icon={FileUp} label={named(text.action.uploadAgain)} onClick={() => actions.uploadAgain(row)} />
                ) : (
                    <Button look="link" aria-label={named(text.action.retry)} onClick={() => actions.retry(row)}>
                        {text.action.retry}
                    </Button>
                ))}
            {!phone && !moving && state.kind !== "failed" && mayShare && (
                <IconButton icon={ShareGlyph} label={named(text.action.share)} disabled={!online} onClick={() => actions.share(row)} />
            )}
            {!moving && <Menu label={text.library.actionsOf(row.name)} items={items} />}
        </span>
    );

    const name = editing ? <NameEditor name={row.name} onDone={(next) => actions.renamed(row, next)} /> : <Name name={row.name} />;
    const check = <Checkbox label={text.library.select(row.name)} checked={selected} onClick={(event) => actions.select(row.id, event.shiftKey)} readOnly />;

    if (phone) {
        const facts = [
            row.archive_size_bytes ? text.library.zip(format.size(row.archive_size_bytes)) : format.size(row.size_bytes),
            format.ago(row.created_at),
            ...(access && access.length > 0 ? [text.library.sharedShort] : []),
        ];
        return (
            <>
                <div role="gridcell" className={styles.cell}>
                    {selecting ? <span className={styles.tileBox}>{check}</span> : <Tile name={row.name} />}
                    <span className={styles.about}>
                        {name}
                        {ready ? (
                            <span className={styles.facts}>{facts.join(" · ")}</span>
                        ) : (
                            <Status text={text} format={format} row={row} state={state} upload={upload} layout="line" full={false} />
                        )}
                        {troubleText && (
                            <span className={styles.sub} data-tone={state.kind === "failed" ? "bad" : "warn"}>
                                {troubleText}
                            </span>
                        )}
                    </span>
                </div>
                <div role="gridcell">{buttons}</div>
            </>
        );
    }

    return (
        <>
            <div role="gridcell" className={styles.check}>
                {check}
            </div>
            <div role="gridcell" className={styles.cell}>
                <Tile name={row.name} />
                <span className={styles.about}>
                    {name}
                    {troubleText ? (
                        <span className={styles.sub} data-tone={state.kind === "failed" ? "bad" : "warn"} title={troubleText}>
                            {troubleText}
                        </span>
                    ) : (
                        endText && (
                            <span className={styles.sub} data-tone={soon ? "warn" : undefined}>
                                {endText}
                            </span>
                        )
                    )}
                </span>
            </div>
            <div role="gridcell">
                <Status text={text} format={format} row={row} state={state} upload={upload} layout="column" full={width === "desktop"} />
            </div>
            {width === "desktop" && (
                <div role="gridcell" className={styles.size}>
                    <span>{format.size(row.size_bytes)}</span>
                    {row.archive_size_bytes !== null && <small>{text.library.asZip(format.size(row.archive_size_bytes))}</small>}
                </div>
            )}
            {width === "desktop" && (
                <div role="gridcell" className={styles.quiet}>
                    {access && access.length > 0 ? (
                        <Avatars emails={access.map((one) => one.email)} label={text.library.people(access.length)} />
                    ) : (
                        text.library.onlyYou
                    )}
                </div>
            )}
            <div role="gridcell" className={styles.quiet}>
                <time dateTime={row.created_at} title={format.dateTime(row.created_at)}>
                    {format.ago(row.created_at)}
                </time>
            </div>
            <div role="gridcell">{buttons}</div>
        </>
    );
});
