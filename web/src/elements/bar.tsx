import { useId } from "react";
import styles from "./bar.module.scss";

interface Props {
    /** 0 to 1. */
    part: number;
    label: string;
    look?: "solid" | "paused" | "zipper";
}

/** How far something is: a solid bar for bytes on their way, the zipper for zipping. */
export function Bar({ part, label, look = "solid" }: Props) {
    const id = useId();
    const percent = Math.min(100, Math.max(0, part * 100));
    const named = {
        role: "progressbar",
        "aria-label": label,
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        "aria-valuenow": Math.floor(percent),
    } as const;
    if (look === "zipper") {
        return (
            <svg className={styles.zipper} {...named}>
                <defs>
                    <pattern id={id} width="8" height="6" patternUnits="userSpaceOnUse" y="3">
                        <rect width="4" height="3" />
                        <rect x="4" y="3" width="4" height="3" />
                    </pattern>
                    <pattern id={`${id}-open`} width="8" height="6" patternUnits="userSpaceOnUse" y="3">
                        <rect width="5" height="2" />
                        <rect x="4" y="4" width="5" height="2" />
                    </pattern>
                </defs>
                <rect y="3" width="100%" height="6" fill={`url(#${id}-open)`} />
                <rect className={styles.cover} y="2" width={`${percent}%`} height="8" />
                <rect className={styles.closed} y="3" width={`${percent}%`} height="6" fill={`url(#${id})`} />
                <rect className={styles.knob} width="5" height="12" rx="2.5" ref={(knobElement) => moveTo(knobElement, percent)} />
            </svg>
        );
    }
    return (
        <svg className={styles.solid} data-look={look} {...named}>
            <rect className={styles.track} width="100%" height="4" rx="2" />
            <rect className={styles.done} width={`${percent}%`} height="4" rx="2" />
        </svg>
    );
}

// a geometry attribute knows no calc(), the property does
function moveTo(knob: SVGRectElement | null, percent: number) {
    knob?.style.setProperty("x", `calc((100% - 5px) * ${percent / 100})`);
}
