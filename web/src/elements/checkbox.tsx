import { type ComponentProps, useEffect, useRef } from "react";
import styles from "./checkbox.module.scss";

interface Props extends Omit<ComponentProps<"input">, "type"> {
    label: string;
    mixed?: boolean;
}

export function Checkbox({ label, mixed = false, ...rest }: Props) {
    const ref = useRef<HTMLInputElement>(null);
    useEffect(() => {
        if (ref.current) ref.current.indeterminate = mixed;
    }, [mixed]);
    return (
        <span className={styles.checkbox}>
            <input {...rest} ref={ref} type="checkbox" aria-label={label} />
        </span>
    );
}
