import { Eye, EyeOff, MailCheck, MailWarning } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { config, supabase } from "../client/supabase";
import { useOnline } from "../client/surroundings";
import { Button, IconButton } from "../elements/button";
import { Field } from "../elements/field";
import { Logo } from "../elements/logo";
import { announceUrgently, tell } from "../elements/messages";
import { Notice } from "../elements/states";
import { sentence } from "../text/sentence";
import { useText } from "../text/text";
import { authFault, looksLikeEmail } from "./auth_faults";
import styles from "./entry.module.scss";
import { forgetLink, recovered, useSession } from "./session";

/** All screens of somebody who is not signed in, and those that links of mails lead to. */
export default function Entry() {
    const { recovering } = useSession();
    const [path] = useLocation();
    if (path === "/new-password" || recovering) return <NewPassword />;
    if (path === "/confirmed") return <Confirmed />;
    return (
        <Switch>
            <Route path="/sign-up" component={SignUp} />
            <Route path="/reset" component={Reset} />
            <Route component={SignIn} />
        </Switch>
    );
}

function Frame({ title, lead, children, foot }: { title: string; lead?: string; children?: ReactNode; foot?: ReactNode }) {
    const text = useText();
    const online = useOnline();
    useEffect(() => {
        document.title = `${title} · ${text.product}`;
    }, [title, text]);
    return (
        <main className={styles.page}>
            <div className={styles.card}>
                <Logo />
                <h1>{title}</h1>
                {lead && <p className={styles.lead}>{lead}</p>}
                {!online && <Notice>{text.entry.offline}</Notice>}
                {children}
            </div>
            {foot && <p className={styles.foot}>{foot}</p>}
        </main>
    );
}

/** A form with one answer at a time: faults by the field or above the button, the form is kept. */
function useForm(run: () => Promise<void>) {
    const text = useText();
    const [busy, setBusy] = useState(false);
    const [fault, setFault] = useState<string | null>(null);
    async function submit(event: { preventDefault(): void }) {
        event.preventDefault();
        if (busy) return;
        setBusy(true);
        setFault(null);
        try {
            await run();
        } catch (thrown) {
            const words = sentence(authFault(thrown), text);
            setFault(words);
            announceUrgently(words);
        }
        setBusy(false);
    }
    return { busy, fault, submit };
}

function PasswordField({ value, onInput, error, fresh = false }: { value: string; onInput(value: string): void; error: string | null; fresh?: boolean }) {
    const text = useText();
    const [shown, show] = useState(false);
    return (
        <Field
            label={fresh ? text.entry.newPassword : text.entry.password}
            hint={fresh ? text.entry.passwordHint : undefined}
            error={error}
            type={shown ? "text" : "password"}
            name="password"
            autoComplete={fresh ? "new-password" : "current-password"}
            value={value}
            onChange={(event) => onInput(event.currentTarget.value)}
            after={<IconButton icon={shown ? EyeOff : Eye} label={shown ? text.entry.hide : text.entry.show} onClick={() => show(!shown)} />}
        />
    );
}

function useFocusWrong(...errors: (string | null)[]) {
    const form = useRef<HTMLFormElement>(null);
    const wrong = errors.some(Boolean);
    // biome-ignore lint/correctness/useExhaustiveDependencies: each new error moves the focus
    useEffect(() => {
        if (wrong) form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
    }, [...errors]);
    return form;
}

function SignIn() {
    const text = useText();
    const [email, setEmail] = useState("");
    const [password, setPassword] = useState("");
    const [wrong, setWrong] = useState<{ email: string | null; password: string | null }>({ email: null, password: null });
    const [unconfirmed, setUnconfirmed] = useState<string | null>(null);
    const ref = useFocusWrong(wrong.email, wrong.password);
    const form = useForm(async () => {
        const found = { email: email.trim() ? null : text.entry.emailMissing, password: password ? null : text.entry.passwordMissing };
        setWrong(found);
        if (found.email || found.password) return;
        setUnconfirmed(null);
        const { error } = await supabase().auth.signInWithPassword({ email: email.trim(), password });
        if (error?.code === "email_not_confirmed") setUnconfirmed(email.trim());
        if (error) throw error;
    });
    const again = useForm(async () => {
        if (unconfirmed) await resendConfirmation(unconfirmed);
        tell(text.entry.resent);
    });
    // another app has handed files over before anybody was here
    const shared = Number(new URLSearchParams(window.location.search).get("shared")) || 0;
    return (
        <Frame
            title={text.entry.signIn}
            lead={text.entry.tagline}
            foot={
                <>
                    {text.entry.noAccount} <Link href="/sign-up">{text.entry.signUpShort}</Link>
                </>
            }
        >
            {shared > 0 && <Notice>{text.entry.sharedWaits(shared)}</Notice>}
            <form ref={ref} onSubmit={(event) => void form.submit(event)} noValidate>
                <Field
                    label={text.entry.email}
                    type="email"
                    name="email"
                    autoComplete="username"
                    error={wrong.email}
                    value={email}
                    onChange={(event) => setEmail(event.currentTarget.value)}
                />
                <PasswordField value={password} onInput={setPassword} error={wrong.password} />
                {(form.fault ?? again.fault) && <p className={styles.fault}>{form.fault ?? again.fault}</p>}
                {unconfirmed && (
                    <Button wide busy={again.busy} onClick={(event) => void again.submit(event)}>
                        {text.entry.resend}
                    </Button>
                )}
                <Button type="submit" look="primary" wide busy={form.busy}>
                    {text.entry.signIn}
                </Button>
                <Link href="/reset" className={styles.aside}>
                    {text.entry.forgot}
                </Link>
            </form>
        </Frame>
    );
}

function SignUp() {
    const text = useText();
    const [given, setGiven] = useState({ first: "", last: "", email: "", password: "" });
    const [wrong, setWrong] = useState<{ email: string | null; password: string | null }>({ email: null, password: null });
    const [sentTo, setSentTo] = useState<string | null>(null);
    const ref = useFocusWrong(wrong.email, wrong.password);
    const form = useForm(async () => {
        const email = given.email.trim();
        const found = {
            email: looksLikeEmail(email) ? null : email ? text.entry.emailWrong : text.entry.emailMissing,
            password: given.password.length >= 8 ? null : text.entry.passwordShort,
        };
        setWrong(found);
        if (found.email || found.password) return;
        const { data, error } = await supabase().auth.signUp({
            email,
            password: given.password,
            options: {
                emailRedirectTo: `${window.location.origin}/confirmed`,
                data: { first_name: given.first.trim(), last_name: given.last.trim() },
            },
        });
        if (error) throw error;
        if (!data.session) setSentTo(email);
    });
    if (sentTo) return <Sent title={text.entry.confirmSent} lead={text.entry.confirmSentLead(sentTo)} again={() => resendConfirmation(sentTo)} />;
    const set = (name: keyof typeof given) => (event: { currentTarget: HTMLInputElement }) => setGiven({ ...given, [name]: event.currentTarget.value });
    return (
        <Frame
            title={text.entry.signUp}
            foot={
                <>
                    {text.entry.haveAccount} <Link href="/sign-in">{text.entry.signIn}</Link>
                </>
            }
        >
            <form ref={ref} onSubmit={(event) => void form.submit(event)} noValidate>
                <div className={styles.pair}>
                    <Field
                        label={text.entry.firstName}
                        name="given-name"
                        autoComplete="given-name"
                        maxLength={100}
                        value={given.first}
                        onChange={set("first")}
                    />
                    <Field
                        label={text.entry.lastName}
                        name="family-name"
                        autoComplete="family-name"
                        maxLength={100}
                        value={given.last}
                        onChange={set("last")}
                    />
                </div>
                <Field
                    label={text.entry.email}
                    type="email"
                    name="email"
                    autoComplete="username"
                    error={wrong.email}
                    value={given.email}
                    onChange={set("email")}
                />
                <PasswordField fresh value={given.password} onInput={(password) => setGiven({ ...given, password })} error={wrong.password} />
                {form.fault && <p className={styles.fault}>{form.fault}</p>}
                <Button type="submit" look="primary" wide busy={form.busy}>
                    {text.entry.signUpShort}
                </Button>
            </form>
        </Frame>
    );
}

async function resendConfirmation(email: string): Promise<void> {
    const { error } = await supabase().auth.resend({ type: "signup", email, options: { emailRedirectTo: `${window.location.origin}/confirmed` } });
    if (error) throw error;
}

async function sendReset(email: string): Promise<void> {
    const { error } = await supabase().auth.resetPasswordForEmail(email, { redirectTo: `${window.location.origin}/new-password` });
    if (error) throw error;
}

function Reset() {
    const text = useText();
    const [email, setEmail] = useState("");
    const [wrong, setWrong] = useState<string | null>(null);
    const [sentTo, setSentTo] = useState<string | null>(null);
    const ref = useFocusWrong(wrong);
    const form = useForm(async () => {
        const found = looksLikeEmail(email) ? null : email.trim() ? text.entry.emailWrong : text.entry.emailMissing;
        setWrong(found);
        if (found) return;
        await sendReset(email.trim());
        setSentTo(email.trim());
    });
    if (sentTo) return <Sent title={text.entry.resetSent} lead={text.entry.resetSentLead(sentTo)} again={() => sendReset(sentTo)} />;
    return (
        <Frame title={text.entry.reset} lead={text.entry.resetLead} foot={<Link href="/sign-in">{text.entry.backToSignIn}</Link>}>
            <form ref={ref} onSubmit={(event) => void form.submit(event)} noValidate>
                <Field
                    label={text.entry.email}
                    type="email"
                    name="email"
                    autoComplete="username"
                    error={wrong}
                    value={email}
                    onChange={(event) => setEmail(event.currentTarget.value)}
                />
                {form.fault && <p className={styles.fault}>{form.fault}</p>}
                <Button type="submit" look="primary" wide busy={form.busy}>
                    {text.entry.sendLink}
                </Button>
            </form>
        </Frame>
    );
}

function Sent({ title, lead, again }: { title: string; lead: string; again(): Promise<void> }) {
    const text = useText();
    const { mailUrl } = config();
    const form = useForm(async () => {
        await again();
        tell(text.entry.resent);
    });
    return (
        <Frame title={title} lead={lead} foot={<Link href="/sign-in">{text.entry.backToSignIn}</Link>}>
            <div className={styles.sent}>
                <MailCheck size={44} strokeWidth={1.25} aria-hidden />
                {form.fault && <p className={styles.fault}>{form.fault}</p>}
                {mailUrl && (
                    <a className={styles.mails} href={mailUrl} target="_blank" rel="noreferrer">
                        {text.entry.openMails}
                    </a>
                )}
                <form onSubmit={(event) => void form.submit(event)}>
                    <Button type="submit" wide busy={form.busy}>
                        {text.entry.resend}
                    </Button>
                </form>
            </div>
        </Frame>
    );
}

/** Where the link of a reset mail lands. */
function NewPassword() {
    const text = useText();
    const [, go] = useLocation();
    const { known, person, linkFault } = useSession();
    const [password, setPassword] = useState("");
    const [wrong, setWrong] = useState<string | null>(null);
    const ref = useFocusWrong(wrong);
    const form = useForm(async () => {
        const found = password.length >= 8 ? null : text.entry.passwordShort;
        setWrong(found);
        if (found) return;
        const { error } = await supabase().auth.updateUser({ password });
        if (error) throw error;
        recovered();
        tell(text.entry.passwordSet);
        go("/", { replace: true });
    });
    if (linkFault || (known && !person)) return <DeadLink />;
    return (
        <Frame title={text.entry.choose} lead={person?.email}>
            <form ref={ref} onSubmit={(event) => void form.submit(event)} noValidate>
                <input type="text" name="username" autoComplete="username" value={person?.email ?? ""} readOnly hidden />
                <PasswordField fresh value={password} onInput={setPassword} error={wrong} />
                {form.fault && <p className={styles.fault}>{form.fault}</p>}
                <Button type="submit" look="primary" wide busy={form.busy}>
                    {text.entry.setPassword}
                </Button>
            </form>
        </Frame>
    );
}

/** Where the link of a confirmation mail lands: signed in, or told why not. */
function Confirmed() {
    const text = useText();
    const [, go] = useLocation();
    const { known, person, linkFault, halfChanged } = useSession();
    useEffect(() => {
        if (!known || linkFault || halfChanged) return;
        tell(text.entry.confirmed);
        go(person ? "/" : "/sign-in", { replace: true });
    }, [known, person, linkFault, halfChanged, go, text]);
    if (linkFault) return <DeadLink confirming />;
    if (!halfChanged) return <Frame title={text.entry.busy} />;
    return (
        <Frame title={text.entry.halfChanged} lead={text.entry.halfChangedLead} foot={<BackLink />}>
            <div className={styles.sent}>
                <MailCheck size={44} strokeWidth={1.25} aria-hidden />
            </div>
        </Frame>
    );
}

/** Back into the library or to the form; what the link said was read. */
function BackLink() {
    const text = useText();
    const { person } = useSession();
    return (
        <Link href={person ? "/" : "/sign-in"} onClick={forgetLink}>
            {person ? text.common.toLibrary : text.entry.backToSignIn}
        </Link>
    );
}

function DeadLink({ confirming = false }: { confirming?: boolean }) {
    const text = useText();
    return (
        <Frame title={text.entry.linkDead} lead={confirming ? text.entry.confirmDeadLead : text.entry.linkDeadLead} foot={<BackLink />}>
            <div className={styles.sent}>
                <MailWarning size={44} strokeWidth={1.25} aria-hidden />
                {!confirming && (
                    <Link href="/reset" className={styles.mails} onClick={forgetLink}>
                        {text.entry.reset}
                    </Link>
                )}
            </div>
        </Frame>
    );
}
