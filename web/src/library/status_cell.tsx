import { ArrowUp, CircleAlert, CirclePause, Clock, FileArchive, RotateCcw, WifiOff } from "lucide-react";
import { Bar } from "../elements/bar";
import { CheckGlyph, type Icon } from "../elements/glyphs";
import type { Format } from "../text/format";
import type { Text } from "../text/text";
import type { Upload } from "../uploads/uploads";
import type { DocumentRow } from "./documents";
import { isUploading, type RowKind, type RowState } from "./row_state";
import styles from "./status_cell.module.scss";

const ICONS: Record<RowKind, Icon> = {
    waiting: Clock,
    sending: ArrowUp,
    paused: CirclePause,
    offline: WifiOff,
    interrupted: RotateCcw,
    elsewhere: ArrowUp,
    vanished: RotateCcw,
    queued: Clock,
    processing: FileArchive,
    ready: CheckGlyph,
    failed: CircleAlert,
};

type Tone = "quiet" | "accent" | "warn" | "bad" | "ok";
const TONES: Record<RowKind, Tone> = {
    waiting: "quiet",
    sending: "accent",
    paused: "quiet",
    offline: "warn",
    interrupted: "warn",
    elsewhere: "quiet",
    vanished: "warn",
    queued: "quiet",
    processing: "accent",
    ready: "ok",
    failed: "bad",
};

interface Props {
    row: DocumentRow;
    state: RowState;
    upload: Upload | undefined;
    /** On phones the percentage stands in the words, and what is ready says nothing. */
    layout: "column" | "line";
    full: boolean;
    text: Text;
    format: Format;
}

export function Status({ row, state, upload, layout, full, text, format }: Props) {
    const { kind, part } = state;
    const percent = format.percent(part);
    const Icon = ICONS[kind];
    const words: Record<RowKind, string> = {
        waiting: text.state.waitingForSlot,
        sending: layout === "line" ? text.state.uploadingPercent(percent) : text.state.uploading,
        paused: part >= 0.01 ? text.state.pausedAt(percent) : text.state.paused,
        offline: text.state.waitingForNetwork,
        interrupted: upload ? text.state.interrupted : text.state.unfinished,
        elsewhere: text.state.elsewhere,
        vanished: text.state.interrupted,
        queued: text.state.queued,
        processing: layout === "line" ? text.state.processingPercent(percent) : text.state.processing,
        ready: text.state.ready,
        failed: row.object_version === null ? text.state.uploadFailed : text.state.failed,
    };
    const bytes = full && kind === "sending" && upload ? text.state.of(...format.sizePair(upload.sent, upload.size)) : null;
    const bar =
        kind === "processing"
            ? "zipper"
            : kind === "sending"
              ? "solid"
              : isUploading(kind) && kind !== "waiting" && kind !== "elsewhere" && part > 0
                ? "paused"
                : null;
    const told = (
        <span className={styles.words} data-tone={TONES[kind]} data-layout={bar ? undefined : layout}>
            <Icon size={16} strokeWidth={1.75} aria-hidden />
            <span>{words[kind]}</span>
        </span>
    );
    if (!bar) return told;
    return (
        <span className={styles.status} data-layout={layout}>
            <span className={styles.line}>
                {told}
                {bytes ? (
                    <span className={styles.side}>{bytes}</span>
                ) : (
                    full && (kind === "processing" || kind === "offline") && <span className={styles.side}>{percent}</span>
                )}
            </span>
            <Bar part={part} look={bar} label={`${words[kind]}: ${row.name}`} />
        </span>
    );
}

/** What stands below the name: why something failed or what is to be done. */
export function explain(row: DocumentRow, state: RowState, upload: Upload | undefined, text: Text, percent: (part: number) => string): string | null {
    if (state.kind === "vanished") return upload?.why ?? text.upload.vanished;
    if (state.kind === "interrupted") {
        if (upload?.why) return upload.why;
        if (!upload) return text.state.unfinishedHere;
        return state.part > 0 ? text.state.interruptedAt(percent(state.part)) : text.state.interruptedNew;
    }
    if (state.kind === "failed") return row.error;
    return null;
}
