import { Search as SearchIcon, X } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { useWidth } from "../client/surroundings";
import { IconButton } from "../elements/button";
import { useText } from "../text/text";
import styles from "./search.module.scss";

/** Search by name, a moment after the last letter. `/` comes here, Escape clears. On phones it opens from its icon. */
export function Search({ value, onChange, label }: { value: string; onChange(next: string): void; label?: string }) {
    const text = useText();
    const name = label ?? text.library.search;
    const phone = useWidth() === "phone";
    const [open, setOpen] = useState(false);
    const [typed, setTyped] = useState(value);
    const ref = useRef<HTMLInputElement>(null);
    const sent = useRef(value);

    useEffect(() => {
        if (value !== sent.current) {
            sent.current = value;
            setTyped(value);
        }
    }, [value]);

    useEffect(() => {
        const timer = setTimeout(() => {
            const next = typed.trim();
            if (next === sent.current) return;
            sent.current = next;
            onChange(next);
        }, 200);
        return () => clearTimeout(timer);
    }, [typed, onChange]);

    useEffect(() => {
        function pressed(event: KeyboardEvent) {
            const target = event.target as HTMLElement;
            if (event.key !== "/" || target.closest("input:not([type=checkbox]), textarea, select, dialog")) return;
            event.preventDefault();
            setOpen(true);
            requestAnimationFrame(() => ref.current?.focus());
        }
        document.addEventListener("keydown", pressed);
        return () => document.removeEventListener("keydown", pressed);
    }, []);

    function clear() {
        setTyped("");
        sent.current = "";
        onChange("");
        setOpen(false);
    }

    if (phone && !open && value === "") {
        return (
            <IconButton
                icon={SearchIcon}
                label={name}
                onClick={() => {
                    setOpen(true);
                    requestAnimationFrame(() => ref.current?.focus());
                }}
            />
        );
    }
    return (
        <search className={styles.search} data-over={phone || undefined}>
            <SearchIcon size={18} strokeWidth={1.75} aria-hidden />
            <input
                ref={ref}
                type="search"
                aria-label={name}
                placeholder={name}
                value={typed}
                autoComplete="off"
                spellCheck={false}
                onChange={(event) => setTyped(event.currentTarget.value)}
                onKeyDown={(event) => {
                    if (event.key !== "Escape") return;
                    clear();
                    ref.current?.blur();
                }}
            />
            {typed || phone ? <IconButton icon={X} label={text.library.clearSearch} onClick={clear} /> : <kbd aria-hidden>/</kbd>}
        </search>
    );
}
