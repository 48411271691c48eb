import { X } from "lucide-react";
import { type ReactNode, useEffect, useId, useRef } from "react";
import { useText } from "../text/text";
import { IconButton } from "./button";
import styles from "./dialog.module.scss";
import { Announcer, Messages, speakWithin } from "./messages";

interface Props {
    title: string;
    onClose(): void;
    children: ReactNode;
    footer?: ReactNode;
    size?: "small" | "large";
}

/** A modal dialog, on phones a sheet from below. Escape and the scrim close it; focus goes back to where it was. */
export function Dialog({ title, onClose, children, footer, size = "large" }: Props) {
    const text = useText();
    const id = useId();
    const ref = useRef<HTMLDialogElement>(null);
    const close = useRef(onClose);
    close.current = onClose;

    useEffect(() => {
        const dialog = ref.current;
        const before = document.activeElement;
        if (!dialog) return;
        dialog.showModal();
        dialog.querySelector<HTMLElement>("[data-first]")?.focus();
        // what is outside of a modal dialog is neither read out nor to be clicked: messages come into it
        const leave = speakWithin();
        return () => {
            leave();
            dialog.close();
            if (before instanceof HTMLElement && before.isConnected) before.focus();
        };
    }, []);

    return (
        // biome-ignore lint/a11y/useKeyWithClickEvents: the keyboard's way is Escape, which a dialog knows by itself
        <dialog
            ref={ref}
            aria-labelledby={id}
            className={[styles.dialog, styles[size]].join(" ")}
            onCancel={(event) => {
                event.preventDefault();
                close.current();
            }}
            onClick={(event) => {
                if (event.target === ref.current) close.current();
            }}
        >
            <div className={styles.body}>
                <header>
                    <h2 id={id}>{title}</h2>
                    <IconButton icon={X} label={text.common.close} onClick={onClose} />
                </header>
                <div className={styles.content}>{children}</div>
                {footer && <footer>{footer}</footer>}
            </div>
            <Messages within />
            <Announcer within />
        </dialog>
    );
}
