import { Bar } from "../elements/bar";
import { useFormat, useText } from "../text/text";
import styles from "./usage.module.scss";

export function Usage({ used, quota, fileSize }: { used: number; quota: number; fileSize: number }) {
    const text = useText();
    const format = useFormat();
    const words = text.nav.used(format.size(used), format.size(quota));
    return (
        <div className={styles.usage}>
            <p title={text.nav.limits(format.size(fileSize))}>{words}</p>
            <Bar part={quota > 0 ? used / quota : 0} label={words} />
        </div>
    );
}
