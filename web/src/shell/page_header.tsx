import type { ReactNode } from "react";
import { Link } from "wouter";
import { useProfile } from "../account/roles";
import { usePerson } from "../account/session";
import { useWidth } from "../client/surroundings";
import { Avatar } from "../elements/avatar";
import { useText } from "../text/text";
import styles from "./page_header.module.scss";

/** The title of a page, what it says in one line, and its tools at the end. */
export function PageHeader({ title, lead, children }: { title: string; lead?: ReactNode; children?: ReactNode }) {
    const text = useText();
    const person = usePerson();
    const profile = useProfile().data;
    const phone = useWidth() === "phone";
    return (
        <header className={styles.header}>
            <div className={styles.words}>
                <h1>{title}</h1>
                <p>{lead || "\u00a0"}</p>
            </div>
            {children}
            {phone && (
                <Link href="/account" className={styles.me}>
                    <span className={styles.unseen}>{text.nav.account}</span>
                    <Avatar size="large" name={`${profile?.firstName ?? ""} ${profile?.lastName ?? ""}`} email={person.email} />
                </Link>
            )}
        </header>
    );
}
