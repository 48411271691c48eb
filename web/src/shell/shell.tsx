import { useQuery } from "@tanstack/react-query";
import { Activity, CalendarClock, Files, ListChecks, type LucideIcon, ScrollText, Shield, Trash2, Upload as UploadIcon, Users } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { useProfile, useRoles } from "../account/roles";
import { usePerson } from "../account/session";
import { keys } from "../client/keys";
import { useOnline, useWidth } from "../client/surroundings";
import { Avatar } from "../elements/avatar";
import { Logo } from "../elements/logo";
import { tell } from "../elements/messages";
import { Notice } from "../elements/states";
import { readCounts } from "../library/documents";
import { readLimits } from "../library/freshness";
import { useFormat, useText } from "../text/text";
import { filesOfDrop } from "../uploads/folders";
import { pickFiles } from "../uploads/pick";
import { Tray } from "../uploads/tray";
import { addFiles } from "../uploads/uploads";
import styles from "./shell.module.scss";
import { Usage } from "./usage";

interface Place {
    href: string;
    icon: LucideIcon;
    label: string;
    short?: string;
    count?: number;
}

export function Shell({ children }: { children: ReactNode }) {
    const text = useText();
    const format = useFormat();
    const width = useWidth();
    const online = useOnline();
    const person = usePerson();
    const profile = useProfile().data;
    const { mayUpload, isAdmin } = useRoles();
    const [path, go] = useLocation();
    const counts = useQuery({ queryKey: keys.counts(person.id), queryFn: readCounts }).data;
    const limits = useQuery({ queryKey: keys.limits(person.id), queryFn: readLimits }).data;
    const main = useRef<HTMLElement>(null);
    const first = useRef(true);

    // a new page begins at its top, and a screen reader hears its name
    // biome-ignore lint/correctness/useExhaustiveDependencies: the path is what changes the page
    useEffect(() => {
        if (first.current) first.current = false;
        else {
            window.scrollTo(0, 0);
            main.current?.focus();
        }
    }, [path]);

    const upload = () => void pickFiles(true).then(addFiles);
    useEffect(() => {
        function pressed(event: KeyboardEvent) {
            const target = event.target as HTMLElement;
            if (event.key.toLowerCase() !== "u" || event.ctrlKey || event.metaKey || event.altKey) return;
            if (!mayUpload || target.closest("input, textarea, select, dialog")) return;
            event.preventDefault();
            void pickFiles(true).then(addFiles);
        }
        function pasted(event: ClipboardEvent) {
            const files = [...(event.clipboardData?.files ?? [])];
            if (files.length === 0 || !mayUpload) return;
            event.preventDefault();
            void addFiles(files);
        }
        document.addEventListener("keydown", pressed);
        document.addEventListener("paste", pasted);
        return () => {
            document.removeEventListener("keydown", pressed);
            document.removeEventListener("paste", pasted);
        };
    }, [mayUpload]);

    const places: Place[] = [
        { href: "/", icon: Files, label: text.nav.library, count: counts?.documents },
        { href: "/shared", icon: Users, label: text.nav.shared, short: text.nav.sharedShort, count: counts?.shared },
        { href: "/activity", icon: Activity, label: text.nav.activity },
        { href: "/trash", icon: Trash2, label: text.nav.trash },
    ];
    const admin: Place[] = [
        { href: "/admin/users", icon: Shield, label: text.nav.users },
        { href: "/admin/jobs", icon: ListChecks, label: text.nav.jobs },
        { href: "/admin/schedules", icon: CalendarClock, label: text.nav.schedules },
        { href: "/admin/log", icon: ScrollText, label: text.nav.log },
    ];
    const name = `${profile?.firstName ?? ""} ${profile?.lastName ?? ""}`.trim();

    const link = (place: Place) => (
        <Link
            key={place.href}
            href={place.href}
            className={styles.link}
            aria-current={path === place.href ? "page" : undefined}
            title={width === "tablet" ? place.label : undefined}
        >
            <place.icon size={width === "phone" ? 22 : 18} strokeWidth={1.75} aria-hidden />
            <span className={styles.label}>{width === "phone" ? (place.short ?? place.label) : place.label}</span>
            {width === "desktop" && place.count !== undefined && place.count > 0 && <span className={styles.count}>{format.count(place.count)}</span>}
        </Link>
    );

    return (
        <div className={styles.shell}>
            <a href="#content" className={styles.skip}>
                {text.common.skip}
            </a>
            {width === "phone" ? (
                <nav className={styles.tabs} aria-label={text.nav.main}>
                    {places.slice(0, 2).map(link)}
                    {mayUpload && (
                        <button type="button" className={styles.tabUpload} aria-label={text.nav.upload} onClick={upload}>
                            <UploadIcon size={22} aria-hidden />
                        </button>
                    )}
                    {places.slice(2).map(link)}
                </nav>
            ) : (
                <aside className={styles.side}>
                    <Link href="/" className={styles.brand} aria-label={text.product}>
                        <Logo mark={width === "tablet"} />
                    </Link>
                    {mayUpload && (
                        <button
                            type="button"
                            className={styles.upload}
                            onClick={upload}
                            aria-label={text.nav.upload}
                            title={limits && text.nav.limits(format.limit(limits.fileSize))}
                        >
                            <UploadIcon size={18} aria-hidden />
                            {width === "desktop" && <span>{text.nav.upload}</span>}
                        </button>
                    )}
                    <nav aria-label={text.nav.main}>{places.map(link)}</nav>
                    {isAdmin && (
                        <nav aria-label={text.nav.admin}>
                            {width === "desktop" && <h2>{text.nav.admin}</h2>}
                            {admin.map(link)}
                        </nav>
                    )}
                    <div className={styles.foot}>
                        {width === "desktop" && <Tray docked />}
                        {width === "desktop" && limits && <Usage used={limits.used} quota={limits.quota} fileSize={limits.fileSize} />}
                    </div>
                    <Link href="/account" className={styles.me} aria-current={path === "/account" ? "page" : undefined}>
                        <span className={styles.unseen}>{text.nav.account}: </span>
                        <Avatar name={name} email={person.email} />
                        {width === "desktop" && (
                            <span className={styles.who}>
                                <b>{name || person.email.split("@")[0]}</b>
                                <small>{person.email}</small>
                            </span>
                        )}
                    </Link>
                </aside>
            )}
            <main id="content" ref={main} tabIndex={-1} className={styles.main}>
                {!online && <Notice>{text.common.offline}</Notice>}
                {children}
            </main>
            {width !== "desktop" && <Tray docked={false} />}
            {mayUpload && <DropZone onFiles={() => path !== "/" && go("/")} />}
        </div>
    );
}

/** Files may be dropped anywhere on the page. */
function DropZone({ onFiles }: { onFiles(): void }) {
    const text = useText();
    const format = useFormat();
    const person = usePerson();
    const limits = useQuery({ queryKey: keys.limits(person.id), queryFn: readLimits }).data;
    const [over, setOver] = useState(false);
    const done = useRef(onFiles);
    done.current = onFiles;

    useEffect(() => {
        let depth = 0;
        const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
        const enter = (event: DragEvent) => {
            if (!holdsFiles(event)) return;
            event.preventDefault();
            depth += 1;
            setOver(true);
        };
        const leave = (event: DragEvent) => {
            if (!holdsFiles(event)) return;
            depth = Math.max(0, depth - 1);
            if (depth === 0) setOver(false);
        };
        const hover = (event: DragEvent) => {
            if (holdsFiles(event)) event.preventDefault();
        };
        const drop = (event: DragEvent) => {
            depth = 0;
            setOver(false);
            if (!event.dataTransfer || !holdsFiles(event)) return;
            event.preventDefault();
            void filesOfDrop(event.dataTransfer).then(({ files, nested }) => {
                if (nested > 0) tell(text.upload.folders(nested));
                if (files.length > 0) done.current();
                return addFiles(files);
            });
        };
        document.addEventListener("dragenter", enter);
        document.addEventListener("dragleave", leave);
        document.addEventListener("dragover", hover);
        document.addEventListener("drop", drop);
        return () => {
            document.removeEventListener("dragenter", enter);
            document.removeEventListener("dragleave", leave);
            document.removeEventListener("dragover", hover);
            document.removeEventListener("drop", drop);
        };
    }, [text]);

    if (!over) return null;
    return (
        <div className={styles.drop} aria-hidden>
            <div>
                <UploadIcon size={36} strokeWidth={1.5} />
                <b>{text.library.drop}</b>
                {limits && <span>{text.nav.limits(format.limit(limits.fileSize))}</span>}
            </div>
        </div>
    );
}
