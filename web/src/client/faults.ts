/** Everything that can be refused or fail, in one form: a stable code, a sentence and what to do. */
export class Fault extends Error {
    readonly code: string;
    readonly hint: string;
    readonly status: number;

    constructor(code: string, message: string, hint = "", status = 0) {
        super(message);
        this.code = code;
        this.hint = hint;
        this.status = status;
    }
}

interface RestError {
    code?: string;
    message?: string;
    details?: string | null;
    hint?: string | null;
}

/**
 * The database refuses with SQLSTATE PTxyz: `details` is the stable code, `message` the sentence, `hint` the cure.
 * A missing right is 42501. A request that never arrived has no code at all.
 */
export function restFault(error: RestError, status = 0): Fault {
    const code = error.code ?? "";
    if (code.startsWith("PT")) {
        return new Fault(error.details || "refused", error.message || "", error.hint || "", Number(code.slice(2)));
    }
    if (code === "42501") return new Fault("not_allowed", "You may not do that.", "", 403);
    if (code === "PGRST301" || code === "PGRST303" || status === 401) return new Fault("signed_out", "Sign in again.", "", 401);
    if (!code || status === 0) return new Fault("unreachable", "The server cannot be reached.", "", 0);
    return new Fault(`rest_${code}`, error.message || "The server answered with an error.", "", status || 500);
}

/** Whatever was thrown, as a Fault. */
export function asFault(thrown: unknown): Fault {
    if (thrown instanceof Fault) return thrown;
    if (thrown instanceof Error) {
        if (thrown.message === "signed_out") return new Fault("signed_out", "Sign in again.", "", 401);
        const lost = thrown instanceof TypeError || /fetch|network|abort/i.test(thrown.message);
        return lost ? new Fault("unreachable", "The server cannot be reached.", "", 0) : new Fault("unexpected", thrown.message, "", 0);
    }
    return new Fault("unexpected", String(thrown), "", 0);
}

/** The data of an answer of supabase-js, or its error thrown as a Fault. */
export function unwrap<T>(answer: { data: T; error: RestError | null; status?: number }): NonNullable<T> {
    if (answer.error) throw restFault(answer.error, answer.status ?? 0);
    return answer.data as NonNullable<T>;
}
