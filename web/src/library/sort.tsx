import { ArrowDown, ArrowUp, ArrowUpDown } from "lucide-react";
import { useStore } from "../client/store";
import { useText } from "../text/text";
import styles from "./sort.module.scss";
import { nameOf, type SortBy, setSort, sorting, sortNamed, turn } from "./sorting";

/** The head of a column that the library can be sorted by. */
export function SortedColumn({ by, title }: { by: SortBy; title: string }) {
    const sort = useStore(sorting);
    const mine = sort.by === by;
    const Arrow = (mine ? sort : turn(sort, by)).descending ? ArrowDown : ArrowUp;
    return (
        <span role="columnheader" aria-sort={mine ? (sort.descending ? "descending" : "ascending") : undefined}>
            <button type="button" className={styles.column} onClick={() => setSort(turn(sort, by))}>
                {title}
                <Arrow size={14} strokeWidth={2} aria-hidden />
            </button>
        </span>
    );
}

/** The same choice where there is no room for every column: the system's own list. */
export function SortChoice() {
    const text = useText();
    const sort = useStore(sorting);
    return (
        <span className={styles.choice}>
            <ArrowUpDown size={18} strokeWidth={1.75} aria-hidden />
            <select aria-label={text.library.sort} value={nameOf(sort)} onChange={(event) => setSort(sortNamed(event.currentTarget.value))}>
                {Object.entries(text.library.sorts).map(([name, words]) => (
                    <option key={name} value={name}>
                        {words}
                    </option>
                ))}
            </select>
        </span>
    );
}
