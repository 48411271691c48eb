import type { ReactNode } from "react";
import styles from "./table.module.scss";

export interface Column<T> {
    title: string;
    cell(row: T): ReactNode;
    /** On phones a row is a card: what has no title there stands alone. */
    wide?: boolean;
    /** Of the buttons at the end of a row: its title is only read out. */
    end?: boolean;
    /** Left out where there is little room. */
    low?: boolean;
}

/** A table for people who administer; on phones each row becomes a card. */
export function Table<T>({ label, columns, rows, keyOf }: { label: string; columns: Column<T>[]; rows: readonly T[]; keyOf(row: T): string }) {
    return (
        <div className={styles.frame}>
            <table className={styles.table} aria-label={label}>
                <thead>
                    <tr>
                        {columns.map((column) => (
                            <th key={column.title} scope="col" data-end={column.end || undefined} data-low={column.low || undefined}>
                                {column.end ? <span className={styles.unseen}>{column.title}</span> : column.title}
                            </th>
                        ))}
                    </tr>
                </thead>
                <tbody>
                    {rows.map((row) => (
                        <tr key={keyOf(row)}>
                            {columns.map((column) => (
                                <td
                                    key={column.title}
                                    data-title={column.wide ? undefined : column.title}
                                    data-end={column.end || undefined}
                                    data-low={column.low || undefined}
                                >
                                    {column.cell(row)}
                                </td>
                            ))}
                        </tr>
                    ))}
                </tbody>
            </table>
        </div>
    );
}
