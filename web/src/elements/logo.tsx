import { useText } from "../text/text";
import styles from "./logo.module.scss";

// the teeth and the slider of a zip; the same picture as public/icon.svg
const ZIP =
    "M10.5 6h3a1.5 1.5 0 0 1 0 3h-3a1.5 1.5 0 0 1 0-3zM18.5 9.5h3a1.5 1.5 0 0 1 0 3h-3a1.5 1.5 0 0 1 0-3zM10.5 13h3a1.5 1.5 0 0 1 0 3h-3a1.5 1.5 0 0 1 0-3z" +
    "M16 15.5c2.6 0 4.2 1.7 4.4 4.1l.3 3.6c.2 2-1.3 3.3-3.2 3.3h-3c-1.9 0-3.4-1.3-3.2-3.3l.3-3.6c.2-2.4 1.8-4.1 4.4-4.1zm0 5a1.9 1.9 0 1 0 0 3.8 1.9 1.9 0 0 0 0-3.8z";

export function Logo({ mark = false }: { mark?: boolean }) {
    const text = useText();
    return (
        <span className={styles.logo}>
            <svg viewBox="0 0 32 32" width="28" height="28" role={mark ? "img" : undefined} aria-label={mark ? text.product : undefined} aria-hidden={!mark}>
                <rect className={styles.ground} width="32" height="32" rx="8" />
                <path className={styles.zip} d={ZIP} />
            </svg>
            {!mark && <span>{text.product}</span>}
        </span>
    );
}
