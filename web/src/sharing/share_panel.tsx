import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link2, Lock, X } from "lucide-react";
import { type FormEvent, type KeyboardEvent, useId, useRef, useState } from "react";
import { usePerson } from "../account/session";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { useOnline } from "../client/surroundings";
import { Avatar } from "../elements/avatar";
import { Button, IconButton } from "../elements/button";
import { Dialog } from "../elements/dialog";
import { Choice, Field } from "../elements/field";
import { complain, tell, tellWithUndo } from "../elements/messages";
import { type Access, readAccess } from "../library/access";
import type { DocumentRow } from "../library/documents";
import { sentence } from "../text/sentence";
import { useFormat, useText } from "../text/text";
import { type Expiry, endOf, splitAddresses } from "./addresses";
import styles from "./share_panel.module.scss";

/** Who may see a document, until when, and who else shall. Of several documents only the adding. */
export default function SharePanel({ documents, onClose }: { documents: readonly DocumentRow[]; onClose(): void }) {
    const text = useText();
    const format = useFormat();
    const only = documents.length === 1 ? documents[0] : undefined;
    return (
        <Dialog title={only ? text.sharing.titleOf(only.name) : text.sharing.titleMany(format.count(documents.length))} onClose={onClose}>
            <AddPeople documents={documents} />
            {only && <WhoHasAccess document={only} />}
        </Dialog>
    );
}

function AddPeople({ documents }: { documents: readonly DocumentRow[] }) {
    const text = useText();
    const format = useFormat();
    const online = useOnline();
    const person = usePerson().id;
    const cache = useQueryClient();
    const id = useId();
    const input = useRef<HTMLInputElement>(null);
    const [chips, setChips] = useState<string[]>([]);
    const [typed, setTyped] = useState("");
    const [expiry, setExpiry] = useState<Expiry>("never");
    const [date, setDate] = useState("");
    const [wrong, setWrong] = useState<string | null>(null);
    const [busy, setBusy] = useState(false);

    function take(all: string): string[] | null {
        const { good, wrong: bad } = splitAddresses(all);
        const next = [...new Set([...chips, ...good])];
        setChips(next);
        setTyped(bad.join(" "));
        setWrong(bad[0] ? text.sharing.invalid(bad[0]) : null);
        return bad.length > 0 ? null : next;
    }

    function pressed(event: KeyboardEvent) {
        if (["Enter", ",", ";", " "].includes(event.key) && typed.trim() !== "") {
            event.preventDefault();
            take(typed);
        } else if (event.key === "Backspace" && typed === "") setChips(chips.slice(0, -1));
    }

    async function submit(event: FormEvent) {
        event.preventDefault();
        if (busy) return;
        const people = take(typed);
        if (!people) return input.current?.focus();
        if (people.length === 0) {
            setWrong(text.sharing.none);
            return input.current?.focus();
        }
        if (expiry === "date" && !(date && new Date(`${date}T23:59:59`).getTime() > Date.now())) return setWrong(text.sharing.pastDate);
        const end = endOf(expiry, date);
        setBusy(true);
        setWrong(null);
        const left: string[] = [];
        let fault: unknown = null;
        for (const email of people) {
            for (const document of documents) {
                const { error, status } = await supabase().rpc("share_document", { document_id: document.id, email, ...(end && { expires_at: end }) });
                if (!error) continue;
                if (!left.includes(email)) left.push(email);
                try {
                    unwrap({ data: null, error, status });
                } catch (thrown) {
                    fault = thrown;
                }
            }
        }
        setBusy(false);
        setChips(left);
        if (fault) setWrong(`${left.join(", ")}: ${sentence(asFault(fault), text)}`);
        if (left.length < people.length) tell(text.sharing.done(people.length - left.length));
        await cache.invalidateQueries({ queryKey: keys.access(person) });
        input.current?.focus();
    }

    return (
        <form onSubmit={(event) => void submit(event)} noValidate className={styles.add}>
            <div className={styles.field}>
                <label htmlFor={id}>{text.sharing.people}</label>
                {/* biome-ignore lint/a11y/useKeyWithClickEvents: a click beside the chips means the input, which the keyboard reaches by itself */}
                {/* biome-ignore lint/a11y/noStaticElementInteractions: the same */}
                <div className={styles.box} data-wrong={wrong ? "" : undefined} onClick={() => input.current?.focus()}>
                    {chips.map((email) => (
                        <span key={email} className={styles.chip}>
                            {email}
                            <button type="button" aria-label={text.sharing.chip(email)} onClick={() => setChips(chips.filter((one) => one !== email))}>
                                <X size={14} aria-hidden />
                            </button>
                        </span>
                    ))}
                    <input
                        ref={input}
                        id={id}
                        data-first
                        type="email"
                        multiple
                        inputMode="email"
                        autoComplete="off"
                        placeholder={chips.length === 0 ? text.sharing.placeholder : undefined}
                        value={typed}
                        aria-invalid={wrong ? true : undefined}
                        aria-describedby={wrong ? `${id}-error` : `${id}-hint`}
                        onChange={(event) => setTyped(event.currentTarget.value)}
                        onPaste={(event) => {
                            const pasted = event.clipboardData.getData("text");
                            if (!/[\s,;]/.test(pasted.trim())) return;
                            event.preventDefault();
                            take(`${typed} ${pasted}`);
                        }}
                        onKeyDown={pressed}
                    />
                </div>
                {wrong && (
                    <p id={`${id}-error`} className={styles.wrong} role="alert">
                        {wrong}
                    </p>
                )}
                {!online && <p className={styles.wrong}>{text.common.offlineReason}</p>}
            </div>
            <div className={styles.when}>
                <Choice label={text.sharing.ends} value={expiry} onChange={(event) => setExpiry(event.currentTarget.value as Expiry)}>
                    <option value="never">{text.sharing.never}</option>
                    <option value="1">{text.sharing.days(1)}</option>
                    <option value="7">{text.sharing.days(7)}</option>
                    <option value="30">{text.sharing.days(30)}</option>
                    <option value="date">{text.sharing.onDate}</option>
                </Choice>
                {expiry === "date" && (
                    <Field label={text.sharing.date} type="date" min={today()} value={date} onChange={(event) => setDate(event.currentTarget.value)} />
                )}
                <Button type="submit" look="primary" busy={busy} disabled={!online}>
                    {text.sharing.add}
                </Button>
            </div>
            <p id={`${id}-hint`} className={styles.hint}>
                {text.sharing.noMail}
            </p>
            {documents.length > 1 && <p className={styles.hint}>{format.list(documents.slice(0, 5).map((one) => one.name))}</p>}
        </form>
    );
}

function today(): string {
    const now = new Date();
    return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
}

function WhoHasAccess({ document }: { document: DocumentRow }) {
    const text = useText();
    const format = useFormat();
    const online = useOnline();
    const person = usePerson().id;
    const cache = useQueryClient();
    const key = keys.accessOf(person, document.id);
    const query = useQuery({ queryKey: key, queryFn: () => readAccess([document.id]), staleTime: 0 });

    async function remove(one: Access) {
        // off the list at once; undo shares anew with the same end
        cache.setQueryData<Access[]>(key, (now) => now?.filter((other) => other.id !== one.id));
        const { error, status } = await supabase().rpc("revoke_share", { share_id: one.id });
        if (error) {
            try {
                unwrap({ data: null, error, status });
            } catch (thrown) {
                complain(text.action.failed(sentence(asFault(thrown), text)));
            }
        } else {
            tellWithUndo(text.sharing.removed(one.email), () => void shareAgain(one));
        }
        await cache.invalidateQueries({ queryKey: keys.access(person) });
    }

    async function shareAgain(one: Access) {
        const { error } = await supabase().rpc("share_document", {
            document_id: document.id,
            email: one.email,
            ...(one.expiresAt && { expires_at: one.expiresAt }),
        });
        if (error) complain(text.action.failed(error.message));
        await cache.invalidateQueries({ queryKey: keys.access(person) });
    }

    async function copy() {
        await navigator.clipboard.writeText(`${window.location.origin}/shared`);
        tell(text.sharing.linkCopied);
    }

    return (
        <section className={styles.who}>
            <header>
                <h3>{text.sharing.who}</h3>
                <Button look="link" icon={Link2} onClick={() => void copy()}>
                    {text.sharing.copyLink}
                </Button>
            </header>
            {query.isPending ? (
                <p className={styles.hint} aria-busy>
                    {text.common.loading} …
                </p>
            ) : query.isError ? (
                <p className={styles.wrong}>{sentence(asFault(query.error), text)}</p>
            ) : query.data.length === 0 ? (
                <div className={styles.nobody}>
                    <Lock size={18} strokeWidth={1.75} aria-hidden />
                    <span>
                        <b>{text.sharing.onlyYou}</b>
                        <small>{text.sharing.onlyYouLead}</small>
                    </span>
                </div>
            ) : (
                <ul>
                    {query.data.map((one) => (
                        <li key={one.id}>
                            <Avatar email={one.email} />
                            <span className={styles.person}>
                                <b title={one.email}>{one.email}</b>
                                <small>{one.expiresAt ? text.sharing.until(format.moment(one.expiresAt)) : text.sharing.forever}</small>
                            </span>
                            <IconButton icon={X} label={text.sharing.removeOf(one.email)} disabled={!online} onClick={() => void remove(one)} />
                        </li>
                    ))}
                </ul>
            )}
        </section>
    );
}
