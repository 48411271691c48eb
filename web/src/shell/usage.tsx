import { Bar } from "../elements/bar";
import { useFormat, useText } from "../text/text";
import styles from "./usage.module.scss";

export function Usage({ used, quota, fileSize }: { used: number; quota: number; fileSize: number }) {
    const text = useText();
    const format = useFormat();
    const words = text.nav.used(format.size(used), format.limit(quota));
    return (
        <div className={styles.usage}>
            <p title={text.nav.limits(format.limit(fileSize))}>{words}</p>
            <Bar part={quota > 0 ? used / quota : 0} label={words} />
        </div>
    );
}
