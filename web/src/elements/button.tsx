import { type ComponentProps, forwardRef } from "react";
import styles from "./button.module.scss";
import type { Icon } from "./glyphs";

type Look = "primary" | "plain" | "quiet" | "danger" | "link";

interface Props extends ComponentProps<"button"> {
    look?: Look;
    icon?: Icon;
    busy?: boolean;
    wide?: boolean;
}

/** A button with words. While `busy` it stays focusable and does nothing. */
export const Button = forwardRef<HTMLButtonElement, Props>(function Button(
    { look = "plain", icon: Icon, busy = false, wide = false, children, onClick, className, ...rest },
    ref,
) {
    return (
        <button
            type="button"
            ref={ref}
            {...rest}
            aria-busy={busy || undefined}
            aria-disabled={busy || undefined}
            onClick={busy ? (event) => event.preventDefault() : onClick}
            className={[styles.button, styles[look], wide && styles.wide, className].filter(Boolean).join(" ")}
        >
            {busy ? <span className={styles.spinner} aria-hidden /> : Icon && <Icon size={18} aria-hidden />}
            <span>{children}</span>
        </button>
    );
});

interface IconProps extends Omit<ComponentProps<"button">, "children"> {
    icon: Icon;
    /** What it does and to which thing: read out, and shown on hover. */
    label: string;
    tone?: "ink" | "accent";
}

/** A button that is only a picture; its label names what it does and to which thing. */
export const IconButton = forwardRef<HTMLButtonElement, IconProps>(function IconButton({ icon: Icon, label, tone = "ink", className, ...rest }, ref) {
    return (
        <button
            type="button"
            ref={ref}
            {...rest}
            aria-label={label}
            title={label}
            className={[styles.icon, tone === "accent" && styles.accent, className].filter(Boolean).join(" ")}
        >
            <Icon size={18} strokeWidth={1.75} aria-hidden />
        </button>
    );
});
