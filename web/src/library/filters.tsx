import { Download, Trash2, UserPlus, X } from "lucide-react";
import type { ReactNode } from "react";
import { IconButton } from "../elements/button";
import { useFormat, useText } from "../text/text";
import type { Counts, DocumentRow, Filter } from "./documents";
import { FILTERS } from "./documents";
import styles from "./filters.module.scss";

interface FiltersProps {
    value: Filter;
    counts: Counts | undefined;
    onChange(next: Filter): void;
    /** What else narrows or orders the list. */
    children?: ReactNode;
}

export function Filters({ value, counts, onChange, children }: FiltersProps) {
    const text = useText();
    const format = useFormat();
    const labels: Record<Filter, string> = { all: text.library.all, ready: text.library.ready, progress: text.library.inProgress, failed: text.library.failed };
    const numbers: Partial<Record<Filter, number>> = { progress: counts?.inProgress ?? 0, failed: counts?.failed ?? 0 };
    return (
        <div role="group" aria-label={text.library.filters} className={styles.filters}>
            {FILTERS.map((filter) => {
                const number = numbers[filter] ?? 0;
                return (
                    <button
                        type="button"
                        key={filter}
                        className={styles.chip}
                        aria-pressed={value === filter}
                        data-bad={(filter === "failed" && number > 0) || undefined}
                        onClick={() => onChange(filter)}
                    >
                        {labels[filter]}
                        {number > 0 && <b>{format.count(number)}</b>}
                    </button>
                );
            })}
            {children}
        </div>
    );
}

interface SelectionProps {
    rows: readonly DocumentRow[];
    count: number;
    mayShare: boolean;
    online: boolean;
    onDownload(): void;
    onShare(): void;
    onDelete(): void;
    onClear(): void;
}

/** What can be done with all that is selected. */
export function Selection({ rows, count, mayShare, online, onDownload, onShare, onDelete, onClear }: SelectionProps) {
    const text = useText();
    const format = useFormat();
    const shareable = rows.filter((row) => row.status !== "uploading").length > 0;
    return (
        <div role="toolbar" aria-label={text.library.selected(count, format.count(count))} className={styles.selection}>
            <span className={styles.count}>{text.library.selected(count, format.count(count))}</span>
            <button type="button" disabled={!online} onClick={onDownload}>
                <Download size={18} strokeWidth={1.75} aria-hidden />
                <span>{text.action.download}</span>
            </button>
            {mayShare && (
                <button type="button" disabled={!online || !shareable} onClick={onShare}>
                    <UserPlus size={18} strokeWidth={1.75} aria-hidden />
                    <span>{text.action.share}</span>
                </button>
            )}
            <button type="button" disabled={!online} onClick={onDelete}>
                <Trash2 size={18} strokeWidth={1.75} aria-hidden />
                <span>{text.action.delete}</span>
            </button>
            <IconButton icon={X} label={text.library.clearSelection} className={styles.clear} onClick={onClear} />
        </div>
    );
}
