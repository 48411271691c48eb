import { ChevronDown, ChevronUp, Pause, Play, RotateCcw, X } from "lucide-react";
import { useState } from "react";
import { useStore } from "../client/store";
import { Bar } from "../elements/bar";
import { Button, IconButton } from "../elements/button";
import { splitName } from "../text/names";
import { useFormat, useText } from "../text/text";
import { pickFiles } from "./pick";
import styles from "./tray.module.scss";
import { cancelUpload, continueUpload, dismissFinished, dismissUpload, pace, pauseAll, resumeAll, resumeUpload, type Upload, uploads } from "./uploads";

const MOVING = new Set(["waiting", "sending", "paused", "offline"]);
const NEEDY = new Set(["interrupted", "vanished", "refused"]);

/** What is on its way, in one look: in the sidebar, floating, or above the tabs. The rows tell the truth, this sums up. */
export function Tray({ docked }: { docked: boolean }) {
    const text = useText();
    const format = useFormat();
    const all = useStore(uploads);
    const rate = useStore(pace);
    const [open, setOpen] = useState(docked);
    if (all.length === 0) return null;

    const batch = all.filter((one) => MOVING.has(one.state) || one.state === "done");
    const moving = all.filter((one) => MOVING.has(one.state));
    const needy = all.filter((one) => NEEDY.has(one.state));
    const done = batch.length - moving.length;
    const whole = batch.reduce((sum, one) => sum + one.size, 0);
    const sent = batch.reduce((sum, one) => sum + (one.state === "done" ? one.size : one.sent), 0);
    const allPaused = moving.length > 0 && moving.every((one) => one.state === "paused");
    const offline = moving.some((one) => one.state === "offline");
    const title =
        moving.length > 0
            ? text.upload.title(format.count(Math.min(batch.length, done + 1)), format.count(batch.length))
            : needy.length > 0
              ? text.upload.attention(needy.length)
              : text.upload.finished(done, format.count(done));
    const lead = allPaused
        ? text.state.paused
        : offline
          ? text.state.waitingForNetwork
          : moving.length > 0 && rate > 0
            ? text.upload.left(format.duration((whole - sent) / rate))
            : moving.length > 0 && needy.length > 0
              ? text.upload.attention(needy.length)
              : null;
    const listed = [...all.filter((one) => one.state === "sending"), ...needy, ...all.filter((one) => MOVING.has(one.state) && one.state !== "sending")];

    return (
        <section className={styles.tray} data-docked={docked || undefined} data-open={open || undefined} aria-label={text.upload.stopped}>
            <header>
                <div className={styles.title}>
                    <b>{title}</b>
                    {lead && <span>{lead}</span>}
                </div>
                {moving.length > 0 && (open || docked) && (
                    <IconButton
                        icon={allPaused ? Play : Pause}
                        label={allPaused ? text.upload.resumeAll : text.upload.pauseAll}
                        onClick={allPaused ? resumeAll : pauseAll}
                    />
                )}
                {moving.length === 0 && <IconButton icon={X} label={text.upload.clear} onClick={dismissFinished} />}
                {listed.length > 0 && (
                    <IconButton
                        icon={open ? ChevronDown : ChevronUp}
                        label={open ? text.upload.collapse : text.upload.expand}
                        aria-expanded={open}
                        onClick={() => setOpen(!open)}
                    />
                )}
            </header>
            {!open && moving.length > 0 && (
                <div className={styles.sum}>
                    <Bar part={whole > 0 ? sent / whole : 0} label={title} look={allPaused || offline ? "paused" : "solid"} />
                </div>
            )}
            {open && listed.length > 0 && (
                // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and so must the keyboard
                <ul tabIndex={0} aria-label={text.upload.stopped}>
                    {listed.slice(0, 50).map((one) => (
                        <Item key={one.key} upload={one} />
                    ))}
                </ul>
            )}
        </section>
    );
}

function Item({ upload }: { upload: Upload }) {
    const text = useText();
    const format = useFormat();
    const { base, extension } = splitName(upload.name);
    const part = upload.size > 0 ? upload.sent / upload.size : 0;
    const named = (action: string) => text.action.of(action, upload.name);
    const words =
        upload.why ??
        {
            waiting: text.state.waitingForSlot,
            sending: text.state.of(...format.sizePair(upload.sent, upload.size)),
            paused: part >= 0.01 ? text.state.pausedAt(format.percent(part)) : text.state.paused,
            offline: text.state.waitingForNetwork,
            interrupted: part > 0 ? text.upload.reloaded(format.percent(part)) : text.state.interruptedNew,
            elsewhere: text.state.elsewhere,
            vanished: text.upload.vanished,
            done: text.state.queued,
            refused: "",
        }[upload.state];
    const tone = upload.state === "refused" ? "bad" : upload.state === "interrupted" || upload.state === "vanished" ? "warn" : undefined;

    async function choose() {
        const [file] = await pickFiles(false);
        if (file && upload.documentId)
            await continueUpload({ id: upload.documentId, name: upload.name, size_bytes: upload.size, mime_type: upload.type }, file);
    }

    return (
        <li>
            <div className={styles.about}>
                <span className={styles.name} title={upload.name}>
                    <span>{base}</span>
                    {extension}
                </span>
                <span className={styles.words} data-tone={tone}>
                    {words}
                </span>
                {(upload.state === "sending" || ((upload.state === "paused" || upload.state === "offline") && part > 0)) && (
                    <Bar part={part} look={upload.state === "sending" ? "solid" : "paused"} label={upload.name} />
                )}
            </div>
            {upload.state === "interrupted" && upload.documentId ? (
                <Button look="link" aria-label={named(text.action.choose)} onClick={() => void choose()}>
                    {text.action.choose}
                </Button>
            ) : upload.state === "vanished" || upload.state === "paused" ? (
                <IconButton
                    icon={upload.state === "paused" ? Play : RotateCcw}
                    label={named(upload.state === "paused" ? text.action.resume : text.action.restart)}
                    onClick={() => resumeUpload(upload.key)}
                />
            ) : upload.state === "refused" ? (
                <IconButton icon={X} label={named(text.common.dismiss)} onClick={() => dismissUpload(upload.key)} />
            ) : (
                <IconButton icon={X} label={named(text.action.cancel)} onClick={() => void cancelUpload(upload.key)} />
            )}
        </li>
    );
}
