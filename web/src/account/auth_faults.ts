import { AuthError, AuthRetryableFetchError } from "@supabase/supabase-js";
import { asFault, Fault } from "../client/faults";

/** An error of Auth as a Fault; its `code` is GoTrue's own. */
export function authFault(error: unknown): Fault {
    if (error instanceof AuthRetryableFetchError) return new Fault("unreachable", "The server cannot be reached.", "", 0);
    if (error instanceof AuthError) return new Fault(error.code ?? "unexpected", error.message, "", error.status ?? 0);
    return asFault(error);
}

/** Whether this looks like an address; the server decides. */
export function looksLikeEmail(text: string): boolean {
    return /^[^@\s]+@[^@\s]+$/.test(text.trim());
}
