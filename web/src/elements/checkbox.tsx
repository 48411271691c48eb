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
            <svg viewBox="0 0 18 18" width="18" height="18" aria-hidden>
                <path className={styles.tick} d="M4.500 9.200l3 3 6-6.400" />
                <path className={styles.dash} d="M5 9h8" />
            </svg>
        </span>
    );
}
