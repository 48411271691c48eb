import { ChevronDown } from "lucide-react";
import { type ComponentProps, forwardRef, type ReactNode, useId } from "react";
import styles from "./field.module.scss";

interface Props extends ComponentProps<"input"> {
    label: string;
    hint?: string;
    error?: string | null;
    after?: ReactNode;
}

/** A labelled input; what is wrong with it stands below it and is read out with it. */
export const Field = forwardRef<HTMLInputElement, Props>(function Field({ label, hint, error, after, ...rest }, ref) {
    const id = useId();
    const about = error ? `${id}-error` : hint ? `${id}-hint` : undefined;
    return (
        <div className={styles.field}>
            <label htmlFor={id}>{label}</label>
            <div className={styles.box} data-wrong={error ? "" : undefined}>
                <input {...rest} id={id} ref={ref} aria-invalid={error ? true : undefined} aria-describedby={about} />
                {after}
            </div>
            {error ? (
                <p id={`${id}-error`} className={styles.error} role="alert">
                    {error}
                </p>
            ) : (
                hint && (
                    <p id={`${id}-hint`} className={styles.hint}>
                        {hint}
                    </p>
                )
            )}
        </div>
    );
});

interface ChoiceProps extends ComponentProps<"select"> {
    label: string;
    children: ReactNode;
}

export function Choice({ label, children, ...rest }: ChoiceProps) {
    const id = useId();
    return (
        <div className={styles.field}>
            <label htmlFor={id}>{label}</label>
            <div className={styles.box}>
                <select {...rest} id={id}>
                    {children}
                </select>
                <ChevronDown size={16} strokeWidth={1.75} aria-hidden />
            </div>
        </div>
    );
}
