import { useQuery, useQueryClient } from "@tanstack/react-query";
import { CalendarClock, ListChecks, LogOut, ScrollText, Shield } from "lucide-react";
import { type FormEvent, useEffect, useState } from "react";
import { Link } from "wouter";
import { asFault, restFault } from "../client/faults";
import { keys } from "../client/keys";
import { useStore } from "../client/store";
import { supabase } from "../client/supabase";
import { useOnline, useWidth } from "../client/surroundings";
import { Button } from "../elements/button";
import { Dialog } from "../elements/dialog";
import { Choice, Field } from "../elements/field";
import { announceUrgently, tell } from "../elements/messages";
import { Failed, Skeleton } from "../elements/states";
import { readLimits } from "../library/freshness";
import { PageHeader } from "../shell/page_header";
import { Usage } from "../shell/usage";
import { sentence } from "../text/sentence";
import { keepLanguage, type Language, setLanguage, useLanguage, useText } from "../text/text";
import { setTheme, type Theme, theme } from "../theme/theme";
import styles from "./account.module.scss";
import { authFault } from "./auth_faults";
import { EmailForm } from "./email_form";
import { type Profile, useProfile, useRoles } from "./roles";
import { signOut, usePerson } from "./session";

export default function Account() {
    const text = useText();
    const person = usePerson();
    const phone = useWidth() === "phone";
    const profile = useProfile();
    const { isAdmin } = useRoles();
    const limits = useQuery({ queryKey: keys.limits(person.id), queryFn: readLimits }).data;

    useEffect(() => {
        document.title = `${text.account.title} · ${text.product}`;
    }, [text]);

    return (
        <>
            <PageHeader title={text.account.title} lead={person.email} />
            {phone && isAdmin && (
                <nav className={styles.admin} aria-label={text.nav.admin}>
                    {[
                        { href: "/admin/users", icon: Shield, label: text.nav.users },
                        { href: "/admin/jobs", icon: ListChecks, label: text.nav.jobs },
                        { href: "/admin/schedules", icon: CalendarClock, label: text.nav.schedules },
                        { href: "/admin/log", icon: ScrollText, label: text.nav.log },
                    ].map((place) => (
                        <Link key={place.href} href={place.href}>
                            <place.icon size={20} strokeWidth={1.75} aria-hidden />
                            {place.label}
                        </Link>
                    ))}
                </nav>
            )}
            <div className={styles.sections}>
                {profile.data ? (
                    <ProfileForm key={profile.dataUpdatedAt} profile={profile.data} />
                ) : profile.isError ? (
                    <Failed title={text.account.failedToLoad} fault={asFault(profile.error)} retry={() => void profile.refetch()} />
                ) : (
                    <Skeleton rows={4} plain />
                )}
                <EmailForm />
                <PasswordForm />
                <Appearance />
                {limits && (
                    <section>
                        <h2>{text.account.space}</h2>
                        <div className={styles.space}>
                            <Usage used={limits.used} quota={limits.quota} fileSize={limits.fileSize} />
                        </div>
                    </section>
                )}
                <section>
                    <h2>{text.account.session}</h2>
                    <div className={styles.actions}>
                        <Button icon={LogOut} onClick={() => void signOut()}>
                            {text.entry.signOut}
                        </Button>
                    </div>
                </section>
                <CloseAccount email={person.email} />
            </div>
        </>
    );
}

function ProfileForm({ profile }: { profile: Profile }) {
    const text = useText();
    const online = useOnline();
    const person = usePerson();
    const cache = useQueryClient();
    const [given, setGiven] = useState(profile);
    const [busy, setBusy] = useState(false);
    const [fault, setFault] = useState<string | null>(null);
    const set = (name: keyof Profile) => (event: { currentTarget: HTMLInputElement }) => setGiven({ ...given, [name]: event.currentTarget.value });

    async function submit(event: FormEvent) {
        event.preventDefault();
        if (busy) return;
        setBusy(true);
        setFault(null);
        const { error, status } = await supabase()
            .from("profiles")
            .update({
                first_name: given.firstName.trim(),
                last_name: given.lastName.trim(),
                phone: given.phone.trim(),
                responsibility: given.responsibility.trim(),
            })
            .eq("id", person.id);
        setBusy(false);
        if (error) {
            const words = sentence(restFault(error, status), text);
            setFault(words);
            announceUrgently(words);
            return;
        }
        tell(text.account.saved);
        await cache.invalidateQueries({ queryKey: keys.profile(person.id) });
    }

    return (
        <section>
            <h2>{text.account.profile}</h2>
            <form onSubmit={(event) => void submit(event)} className={styles.form}>
                <Field
                    label={text.entry.firstName}
                    autoComplete="given-name"
                    maxLength={100}
                    value={given.firstName}
                    disabled={!online}
                    onChange={set("firstName")}
                />
                <Field
                    label={text.entry.lastName}
                    autoComplete="family-name"
                    maxLength={100}
                    value={given.lastName}
                    disabled={!online}
                    onChange={set("lastName")}
                />
                <Field label={text.account.phone} type="tel" autoComplete="tel" maxLength={50} value={given.phone} disabled={!online} onChange={set("phone")} />
                <Field
                    label={text.account.responsibility}
                    autoComplete="organization-title"
                    maxLength={200}
                    value={given.responsibility}
                    disabled={!online}
                    onChange={set("responsibility")}
                />
                <p className={styles.roles}>
                    {text.account.roles}: {profile.roles.map((role) => text.role[role] ?? role).join(", ")}
                </p>
                {fault && <p className={styles.fault}>{fault}</p>}
                <div className={styles.actions}>
                    <Button type="submit" look="primary" busy={busy} disabled={!online}>
                        {text.common.save}
                    </Button>
                </div>
            </form>
        </section>
    );
}

function PasswordForm() {
    const text = useText();
    const online = useOnline();
    const person = usePerson();
    const [password, setPassword] = useState("");
    const [busy, setBusy] = useState(false);
    const [fault, setFault] = useState<string | null>(null);

    async function submit(event: FormEvent) {
        event.preventDefault();
        if (busy) return;
        if (password.length < 8) return setFault(text.entry.passwordShort);
        setBusy(true);
        setFault(null);
        const { error } = await supabase().auth.updateUser({ password });
        setBusy(false);
        if (error) return setFault(sentence(authFault(error), text));
        setPassword("");
        tell(text.account.passwordChanged);
    }

    return (
        <section>
            <h2>{text.account.passwordTitle}</h2>
            <form onSubmit={(event) => void submit(event)} className={styles.form} noValidate>
                <input type="text" name="username" autoComplete="username" value={person.email} readOnly hidden />
                <Field
                    label={text.entry.newPassword}
                    hint={text.entry.passwordHint}
                    type="password"
                    autoComplete="new-password"
                    error={fault}
                    value={password}
                    disabled={!online}
                    onChange={(event) => setPassword(event.currentTarget.value)}
                />
                <div className={styles.actions}>
                    <Button type="submit" busy={busy} disabled={!online}>
                        {text.account.changePassword}
                    </Button>
                </div>
            </form>
        </section>
    );
}

function Appearance() {
    const text = useText();
    const language = useLanguage();
    const chosen = useStore(theme);
    return (
        <section>
            <h2>{text.account.appearance}</h2>
            <div className={styles.form}>
                <Choice label={text.account.theme} value={chosen} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
                    <option value="system">{text.account.system}</option>
                    <option value="light">{text.account.light}</option>
                    <option value="dark">{text.account.dark}</option>
                </Choice>
                <Choice
                    label={text.account.language}
                    value={language}
                    onChange={(event) => {
                        const next = event.currentTarget.value as Language;
                        keepLanguage(next);
                        void setLanguage(next);
                    }}
                >
                    <option value="en">English</option>
                    <option value="es">Español</option>
                </Choice>
            </div>
        </section>
    );
}

function CloseAccount({ email }: { email: string }) {
    const text = useText();
    const online = useOnline();
    const [open, setOpen] = useState(false);
    const [typed, setTyped] = useState("");
    const [busy, setBusy] = useState(false);
    const [fault, setFault] = useState<string | null>(null);

    async function close(event: FormEvent) {
        event.preventDefault();
        if (busy) return;
        if (typed.trim().toLowerCase() !== email.toLowerCase()) return setFault(text.account.closeConfirm(email));
        setBusy(true);
        const { error, status } = await supabase().rpc("close_account");
        setBusy(false);
        if (error) return setFault(sentence(restFault(error, status), text));
        tell(text.account.closed);
        await signOut();
    }

    return (
        <section>
            <h2>{text.account.close}</h2>
            <p className={styles.lead}>{text.account.closeLead}</p>
            <div className={styles.actions}>
                <Button look="danger" disabled={!online} onClick={() => setOpen(true)}>
                    {text.account.close}
                </Button>
            </div>
            {open && (
                <Dialog size="small" title={text.account.closeTitle} onClose={() => setOpen(false)}>
                    <p>{text.account.closeLead}</p>
                    <form onSubmit={(event) => void close(event)} noValidate className={styles.confirm}>
                        <Field
                            label={text.account.closeConfirm(email)}
                            value={typed}
                            autoComplete="off"
                            error={fault}
                            onChange={(event) => setTyped(event.currentTarget.value)}
                        />
                        <div className={styles.actions}>
                            <Button onClick={() => setOpen(false)}>{text.common.cancel}</Button>
                            <Button type="submit" look="danger" busy={busy}>
                                {text.account.close}
                            </Button>
                        </div>
                    </form>
                </Dialog>
            )}
        </section>
    );
}
