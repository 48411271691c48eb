import { type KeyboardEvent, useLayoutEffect, useRef, useState } from "react";
import { splitName } from "../text/names";
import { useText } from "../text/text";
import styles from "./name_cell.module.scss";

/** A name whose extension never disappears: the base gives way. */
export function Name({ name }: { name: string }) {
    const { base, extension } = splitName(name);
    return (
        <span className={styles.name} title={name}>
            <span className={styles.base}>{base}</span>
            {extension && <span className={styles.extension}>{extension}</span>}
        </span>
    );
}

/** The name as a field: the base is selected, the extension stays. Enter or leaving the field keeps it, Escape does not. */
export function NameEditor({ name, onDone }: { name: string; onDone(next: string | null): void }) {
    const text = useText();
    const { base, extension } = splitName(name);
    const [value, setValue] = useState(base);
    const ref = useRef<HTMLInputElement>(null);
    const ended = useRef(false);

    useLayoutEffect(() => {
        ref.current?.focus();
        ref.current?.select();
    }, []);

    function end(keep: boolean) {
        if (ended.current) return;
        ended.current = true;
        const next = value.trim();
        onDone(keep && next !== "" && next !== base ? next + extension : null);
    }

    function typed(event: KeyboardEvent) {
        event.stopPropagation();
        if (event.key === "Enter") end(true);
        if (event.key === "Escape") end(false);
    }

    return (
        <span className={styles.editor}>
            <input
                ref={ref}
                aria-label={text.action.renameLabel(name)}
                value={value}
                maxLength={255}
                spellCheck={false}
                autoComplete="off"
                onChange={(event) => setValue(event.currentTarget.value)}
                onKeyDown={typed}
                onBlur={() => end(true)}
            />
            {extension && <span className={styles.extension}>{extension}</span>}
        </span>
    );
}
