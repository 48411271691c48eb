import type { LucideIcon } from "lucide-react";
import { CircleAlert, CircleCheck, RotateCw } from "lucide-react";
import { type ReactNode, useEffect, useState } from "react";
import type { Fault } from "../client/faults";
import { sentence } from "../text/sentence";
import { useText } from "../text/text";
import { Button } from "./button";
import { announce } from "./messages";
import styles from "./states.module.scss";

/** Nothing here: why, and what to do about it. */
export function Empty({
    icon: Icon,
    title,
    children,
    action,
    page = false,
    place = false,
}: {
    icon: LucideIcon;
    title: string;
    children?: ReactNode;
    action?: ReactNode;
    page?: boolean;
    /** Files may be dropped here. */
    place?: boolean;
}) {
    const Heading = page ? "h1" : "h2";
    return (
        <div className={place ? `${styles.empty} ${styles.place}` : styles.empty}>
            <span className={styles.medal}>
                <Icon size={26} strokeWidth={1.5} aria-hidden />
            </span>
            <Heading>{title}</Heading>
            {children && <p>{children}</p>}
            {action}
        </div>
    );
}

/** It could not be loaded: what failed, why, and a button to try again. */
export function Failed({ title, fault, retry }: { title: string; fault: Fault; retry(): void }) {
    const text = useText();
    return (
        <div className={styles.empty} role="alert">
            <span className={styles.medal} data-bad>
                <CircleAlert size={26} strokeWidth={1.5} aria-hidden />
            </span>
            <h2>{title}</h2>
            <p>{sentence(fault, text)}</p>
            <Button icon={RotateCw} onClick={retry}>
                {text.common.retry}
            </Button>
            <small>{text.common.code(fault.code)}</small>
        </div>
    );
}

/** Grey rows while the first answer is on its way; what comes within 150 ms shows none. */
export function Skeleton({ rows = 8, plain = false }: { rows?: number; plain?: boolean }) {
    const text = useText();
    const [seen, show] = useState(false);
    useEffect(() => {
        const timer = setTimeout(() => show(true), 150);
        return () => clearTimeout(timer);
    }, []);
    if (!seen) return <div className={styles.waiting} aria-busy />;
    return (
        <div className={styles.skeleton} role="status" aria-label={text.common.loading}>
            {Array.from({ length: rows }, (_, row) => (
                <div key={row} className={styles.row} data-plain={plain || undefined}>
                    {!plain && <span className={styles.tile} />}
                    <span className={styles.words}>
                        <span />
                        <span />
                    </span>
                </div>
            ))}
        </div>
    );
}

/** A strip above the content: something is not as it should be, and the page goes on. The page's one live region reads it. */
export function Notice({ children, tone = "warn", action }: { children: string; tone?: "warn" | "bad" | "ok"; action?: ReactNode }) {
    useEffect(() => announce(children), [children]);
    return (
        <div className={styles.notice} data-tone={tone}>
            {tone === "ok" ? <CircleCheck size={18} strokeWidth={1.75} aria-hidden /> : <CircleAlert size={18} strokeWidth={1.75} aria-hidden />}
            <p>{children}</p>
            {action}
        </div>
    );
}
