import { type KeyboardEvent, type RefObject, useEffect, useId, useRef, useState } from "react";
import { IconButton } from "./button";
import { type Icon, MoreGlyph } from "./glyphs";
import styles from "./menu.module.scss";

export interface MenuItem {
    icon: Icon;
    label: string;
    danger?: boolean;
    disabled?: boolean;
    run(): void;
}

interface Props {
    label: string;
    /** Asked when the menu opens: a closed one costs its row nothing. */
    items(): MenuItem[];
}

/** The three dots of a row and what they offer: below them, on phones a sheet from below. */
export function Menu({ label, items }: Props) {
    const id = useId();
    const trigger = useRef<HTMLButtonElement>(null);
    const [open, setOpen] = useState(false);
    return (
        <>
            <IconButton
                ref={trigger}
                icon={MoreGlyph}
                label={label}
                aria-haspopup="menu"
                aria-expanded={open}
                aria-controls={open ? id : undefined}
                onClick={() => setOpen(!open)}
            />
            {open && <Items id={id} label={label} items={items()} trigger={trigger} onClose={() => setOpen(false)} />}
        </>
    );
}

interface ItemsProps {
    id: string;
    label: string;
    items: MenuItem[];
    trigger: RefObject<HTMLButtonElement | null>;
    onClose(): void;
}

function Items({ id, label, items, trigger, onClose }: ItemsProps) {
    const list = useRef<HTMLDivElement>(null);
    const closed = useRef(onClose);
    closed.current = onClose;

    useEffect(() => {
        const menu = list.current;
        const button = trigger.current;
        if (!menu || !button) return;
        menu.showPopover();
        place(menu, button);
        menu.querySelector<HTMLElement>("[role=menuitem]:not(:disabled)")?.focus();
        const toggled = (event: Event) => {
            if ((event as ToggleEvent).newState === "closed") closed.current();
        };
        const away = () => menu.hidePopover();
        menu.addEventListener("toggle", toggled);
        window.addEventListener("resize", away);
        document.addEventListener("scroll", away, { capture: true, passive: true });
        return () => {
            menu.removeEventListener("toggle", toggled);
            window.removeEventListener("resize", away);
            document.removeEventListener("scroll", away, { capture: true });
        };
    }, [trigger]);

    function move(event: KeyboardEvent) {
        const all = [...(list.current?.querySelectorAll<HTMLElement>("[role=menuitem]:not(:disabled)") ?? [])];
        const at = all.indexOf(document.activeElement as HTMLElement);
        const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
        if (next !== undefined) {
            event.preventDefault();
            all[(next + all.length) % all.length]?.focus();
        } else if (event.key === "Tab") {
            list.current?.hidePopover();
        }
        event.stopPropagation();
        if (event.key === "Escape") {
            event.preventDefault();
            list.current?.hidePopover();
            trigger.current?.focus();
        }
    }

    return (
        <div ref={list} id={id} role="menu" tabIndex={-1} aria-label={label} popover="auto" className={styles.menu} onKeyDown={move}>
            {items.map((item) => (
                <button
                    type="button"
                    key={item.label}
                    role="menuitem"
                    tabIndex={-1}
                    disabled={item.disabled}
                    className={item.danger ? styles.danger : undefined}
                    onClick={() => {
                        list.current?.hidePopover();
                        trigger.current?.focus();
                        item.run();
                    }}
                >
                    <item.icon size={18} strokeWidth={1.75} aria-hidden />
                    {item.label}
                </button>
            ))}
        </div>
    );
}

function place(menu: HTMLElement, button: HTMLElement) {
    if (window.matchMedia("(width <= 640px)").matches) return;
    const at = button.getBoundingClientRect();
    const size = menu.getBoundingClientRect();
    const below = at.bottom + 4 + size.height < window.innerHeight;
    menu.style.setProperty("top", `${Math.max(8, below ? at.bottom + 4 : at.top - size.height - 4)}px`);
    menu.style.setProperty("left", `${Math.max(8, at.right - size.width)}px`);
}
