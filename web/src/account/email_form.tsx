import { type FormEvent, useState } from "react";
import { supabase } from "../client/supabase";
import { useOnline } from "../client/surroundings";
import { Button } from "../elements/button";
import { Field } from "../elements/field";
import { announce, announceUrgently } from "../elements/messages";
import { sentence } from "../text/sentence";
import { useText } from "../text/text";
import styles from "./account.module.scss";
import { authFault, looksLikeEmail } from "./auth_faults";

/** Asks for another address. Where addresses are confirmed, both the old and the new one get a link, and both must be opened. */
export function EmailForm() {
    const text = useText();
    const online = useOnline();
    const [email, setEmail] = useState("");
    const [busy, setBusy] = useState(false);
    const [told, setTold] = useState<string | null>(null);
    const [fault, setFault] = useState<string | null>(null);

    async function submit(event: FormEvent) {
        event.preventDefault();
        if (busy) return;
        const wanted = email.trim().toLowerCase();
        setTold(null);
        if (!looksLikeEmail(wanted)) return setFault(wanted ? text.entry.emailWrong : text.entry.emailMissing);
        setBusy(true);
        setFault(null);
        const { data, error } = await supabase().auth.updateUser({ email: wanted }, { emailRedirectTo: `${window.location.origin}/confirmed` });
        setBusy(false);
        if (error) {
            const words = sentence(authFault(error), text);
            announceUrgently(words);
            return setFault(words);
        }
        const words = data.user.email === wanted ? text.account.emailChanged : text.account.emailSent(wanted);
        setEmail("");
        setTold(words);
        announce(words);
    }

    return (
        <section>
            <h2>{text.account.emailTitle}</h2>
            <form onSubmit={(event) => void submit(event)} className={styles.form} noValidate>
                <Field
                    label={text.account.newEmail}
                    hint={told ?? undefined}
                    type="email"
                    name="email"
                    autoComplete="email"
                    error={fault}
                    value={email}
                    disabled={!online}
                    onChange={(event) => setEmail(event.currentTarget.value)}
                />
                <div className={styles.actions}>
                    <Button type="submit" busy={busy} disabled={!online}>
                        {text.account.changeEmail}
                    </Button>
                </div>
            </form>
        </section>
    );
}
