import type { Fault } from "../client/faults";
import type { Text } from "./text";

/** What a fault means to a person: our words for the codes that we know, else the server's own sentence and its hint. */
export function sentence(fault: Fault, text: Text): string {
    const known = text.fault[fault.code];
    if (known) return known;
    if (fault.status >= 500 || !fault.message || fault.code === "unexpected") return text.fault.unexpected ?? fault.message;
    return fault.hint ? `${fault.message} ${fault.hint}` : fault.message;
}

/** Why a document failed: `documents.error` is `code: sentence`. */
export function reason(error: string | null, text: Text): string {
    if (!error) return text.fault.unexpected ?? "";
    const [, code = "", words = error] = error.match(/^([a-z_]+): (.*)$/s) ?? [];
    return text.reason[code] ?? words;
}
