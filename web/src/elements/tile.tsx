import { tileOf } from "../text/names";
import styles from "./tile.module.scss";

const SHEET = (
    <svg viewBox="0 0 34 40" width="34" height="40" aria-hidden>
        <path className={styles.sheet} d="M4 .5h19.500l10 10V36a3.500 3.500 0 0 1-3.500 3.500H4A3.500 3.500 0 0 1 .5 36V4A3.500 3.500 0 0 1 4 .5z" />
        <path className={styles.fold} d="M23.500.5l10 10H26a2.500 2.500 0 0 1-2.500-2.500z" />
    </svg>
);

/** A sheet with a folded corner, tinted by the type of the file. Decoration: the name says the same. */
export function Tile({ name }: { name: string }) {
    const { kind, label } = tileOf(name);
    return (
        <span className={styles.tile} data-kind={kind} aria-hidden>
            {SHEET}
            <span>{label}</span>
        </span>
    );
}
