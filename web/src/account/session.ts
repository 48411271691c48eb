import type { Session } from "@supabase/supabase-js";
import { createStore, useStore } from "../client/store";
import { supabase } from "../client/supabase";

export interface Person {
    id: string;
    email: string;
}

interface State {
    /** Until the first answer of supabase-js nobody knows whether somebody is signed in. */
    known: boolean;
    person: Person | null;
    /** A link of a reset mail was followed: a new password may be set. */
    recovering: boolean;
    /** What the address bar said about a link that does not work. */
    linkFault: string | null;
    /** A link of one of the two mails of a change of address was followed: the other one is due. */
    halfChanged: boolean;
}

const session = createStore<State>({ known: false, person: null, recovering: false, linkFault: null, halfChanged: false });
const leavers = new Set<(person: Person) => Promise<void> | void>();
let leaving = false;

/** Follows supabase-js: who is signed in, in this tab and in others. */
export function watchSession(): void {
    const told = new URLSearchParams(window.location.hash.slice(1) || window.location.search);
    const linkFault = told.get("error_code") ?? told.get("error");
    // Auth says so in a sentence of its own and gives no session
    const halfChanged = !linkFault && told.has("message");
    if (linkFault || halfChanged) window.history.replaceState(null, "", window.location.pathname);
    session.set((now) => ({ ...now, linkFault, halfChanged }));
    supabase().auth.onAuthStateChange((event, found) => {
        const before = session.get().person;
        const person = personOf(found);
        // whoever comes next begins at the library; not later, when the server has answered: he may have gone elsewhere
        if (leaving && !person) window.history.replaceState(null, "", "/");
        session.set((now) => ({
            ...now,
            known: true,
            person: before && person && before.id === person.id && before.email === person.email ? before : person,
            recovering: event === "PASSWORD_RECOVERY" || (now.recovering && person !== null),
        }));
        // not inside this callback: supabase-js holds its lock while it runs
        if (before && (!person || person.id !== before.id)) setTimeout(() => void leave(before));
    });
}

async function leave(person: Person): Promise<void> {
    if (leaving) return;
    for (const leaver of leavers) await leaver(person);
}

/** Runs when a person has gone: what is kept of him in this browser is removed. */
export function onLeave(leaver: (person: Person) => Promise<void> | void): void {
    leavers.add(leaver);
}

export async function signOut(): Promise<void> {
    const { person } = session.get();
    leaving = true;
    try {
        if (person) for (const leaver of leavers) await leaver(person);
        // this device only; where the server cannot be reached the session is forgotten here all the same
        await supabase().auth.signOut({ scope: "local" });
    } finally {
        leaving = false;
    }
}

/** What the link said was read. */
export function forgetLink(): void {
    session.set((now) => ({ ...now, linkFault: null, halfChanged: false }));
}

export function recovered(): void {
    session.set((now) => ({ ...now, recovering: false }));
}

export function useSession(): State {
    return useStore(session);
}

/** The person of this page; components below the entry screens have one. */
export function usePerson(): Person {
    const { person } = useStore(session);
    if (!person) throw new Error("signed_out");
    return person;
}

export function currentPerson(): Person | null {
    return session.get().person;
}

function personOf(found: Session | null): Person | null {
    return found ? { id: found.user.id, email: found.user.email ?? "" } : null;
}
