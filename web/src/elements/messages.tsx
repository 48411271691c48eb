import { CircleAlert, CircleCheck, X } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { createStore, useStore } from "../client/store";
import { useText } from "../text/text";
import { IconButton } from "./button";
import styles from "./messages.module.scss";

interface Message {
    id: number;
    text: string;
    tone: "plain" | "bad";
    undo?: () => void;
    seconds: number;
}

const messages = createStore<Message[]>([]);
const spoken = createStore<{ polite: string; urgent: string }>({ polite: "", urgent: "" });
const dialogs = createStore(0);
let last = 0;

/** While a dialog is open messages appear in it and not in the page behind. */
export function speakWithin(): () => void {
    dialogs.set((now) => now + 1);
    return () => dialogs.set((now) => now - 1);
}

function show(message: Omit<Message, "id">): void {
    messages.set((now) => [...now.slice(-2), { ...message, id: ++last }]);
    if (message.tone === "bad") announceUrgently(message.text);
    else announce(message.text);
}

/** Says that something is done. */
export function tell(text: string): void {
    show({ text, tone: "plain", seconds: 5 });
}

/** Says that something is done, and for ten seconds offers to undo it. */
export function tellWithUndo(text: string, undo: () => void): void {
    show({ text, tone: "plain", undo, seconds: 10 });
}

/** Says what failed, and what to do. */
export function complain(text: string): void {
    show({ text, tone: "bad", seconds: 10 });
}

/** Has screen readers say something when they are done with the present sentence. */
export function announce(text: string): void {
    spoken.set((now) => ({ ...now, polite: now.polite === text ? `${text}\u00a0` : text }));
}

/** Has screen readers say something at once: failures. */
export function announceUrgently(text: string): void {
    spoken.set((now) => ({ ...now, urgent: now.urgent === text ? `${text}\u00a0` : text }));
}

/** The two live regions of the page; they are there from the beginning, or nothing would be read. */
export function Announcer({ within = false }: { within?: boolean }) {
    const { polite, urgent } = useStore(spoken);
    const behind = useStore(dialogs) > 0 && !within;
    if (behind) return null;
    return (
        <>
            <div className={styles.unseen} role="status" aria-live="polite">
                {polite}
            </div>
            <div className={styles.unseen} role="alert" aria-live="assertive">
                {urgent}
            </div>
        </>
    );
}

export function Messages({ within = false }: { within?: boolean }) {
    const text = useText();
    const shown = useStore(messages);
    const behind = useStore(dialogs) > 0 && !within;
    if (behind || shown.length === 0) return null;
    return (
        <section className={styles.messages} aria-label={text.common.messages}>
            {shown.map((message) => (
                <Shown key={message.id} message={message} />
            ))}
        </section>
    );
}

function Shown({ message }: { message: Message }) {
    const text = useText();
    const [held, hold] = useState(false);
    const left = useRef(message.seconds * 1000);
    const close = () => messages.set((now) => now.filter((one) => one.id !== message.id));

    useEffect(() => {
        if (held) return;
        const from = Date.now();
        const timer = setTimeout(close, left.current);
        return () => {
            clearTimeout(timer);
            left.current -= Date.now() - from;
        };
    });

    return (
        // biome-ignore lint/a11y/noStaticElementInteractions: the pointer over it only stops its clock
        <div
            className={styles.message}
            data-tone={message.tone}
            onMouseEnter={() => hold(true)}
            onMouseLeave={() => hold(false)}
            onFocus={() => hold(true)}
            onBlur={() => hold(false)}
        >
            {message.tone === "bad" ? <CircleAlert size={18} aria-hidden /> : <CircleCheck size={18} aria-hidden />}
            <p>{message.text}</p>
            {message.undo && (
                <button
                    type="button"
                    className={styles.undo}
                    onClick={() => {
                        close();
                        message.undo?.();
                    }}
                >
                    {text.common.undo}
                </button>
            )}
            <IconButton icon={X} label={text.common.dismiss} className={styles.dismiss} onClick={close} />
        </div>
    );
}
