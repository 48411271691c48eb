import { useText } from "../text/text";
import styles from "./logo.module.scss";

export function Logo({ mark = false }: { mark?: boolean }) {
    const text = useText();
    return (
        <span className={styles.logo}>
            <img src="/icon.svg" width="28" height="28" alt={mark ? text.product : ""} />
            {!mark && <span>{text.product}</span>}
        </span>
    );
}
