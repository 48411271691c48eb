import { memo, type RefObject, useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef } from "react";
import { useStore } from "../client/store";
import type { Width } from "../client/surroundings";
import { useFormat, useText } from "../text/text";
import { findByDocument, uploads } from "../uploads/uploads";
import type { Access } from "./access";
import type { DocumentRow } from "./documents";
import styles from "./library.module.scss";
import { Row, type RowActions } from "./row";
import { useVisible } from "./visible";

const HEIGHTS: Record<Width, number> = { phone: 84, tablet: 61, desktop: 60 };
/** How many rows before the end of what is loaded the next page is asked for. */
const EARLY = 40;

export interface RowsHandle {
    reveal(index: number): void;
}

interface Props {
    handle: RefObject<RowsHandle | null>;
    rows: readonly DocumentRow[];
    width: Width;
    access: ReadonlyMap<string, readonly Access[]>;
    selected: ReadonlySet<string>;
    current: number;
    editing: string | null;
    mayShare: boolean;
    online: boolean;
    actions: RowActions;
    /** The end of what is loaded comes near. */
    onEnd(): void;
}

/** The rows that are in sight. A scroll renders this alone, and of it only the rows that come. */
export const Rows = memo(function Rows({ handle, rows, width, access, selected, current, editing, mayShare, online, actions, onEnd }: Props) {
    const text = useText();
    const format = useFormat();
    const uploading = useStore(uploads);
    const group = useRef<HTMLDivElement>(null);
    const ids = useMemo(() => rows.map((row) => row.id), [rows]);
    const { from, to, before, after, measure, reveal } = useVisible(group, ids, HEIGHTS[width], width === "desktop");
    useImperativeHandle(handle, () => ({ reveal }), [reveal]);
    useLayoutEffect(() => group.current?.style.setProperty("padding-block", `${before}px ${after}px`), [before, after]);
    useEffect(() => {
        if (to > rows.length - EARLY) onEnd();
    }, [to, rows.length, onEnd]);
    return (
        <div role="rowgroup" className={styles.rows} ref={group}>
            {rows.slice(from, to).map((row, at) => (
                <Row
                    key={row.id}
                    row={row}
                    index={from + at}
                    width={width}
                    upload={row.status === "uploading" ? findByDocument(uploading, row.id) : undefined}
                    access={access.get(row.id)}
                    selected={selected.has(row.id)}
                    selecting={width === "phone" && selected.size > 0}
                    current={from + at === Math.min(current, rows.length - 1)}
                    editing={editing === row.id}
                    mayShare={mayShare}
                    online={online}
                    actions={actions}
                    measure={width === "desktop" ? null : measure}
                    text={text}
                    format={format}
                />
            ))}
        </div>
    );
});
