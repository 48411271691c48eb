import { asFault, restFault } from "../client/faults";
import { complain } from "../elements/messages";
import { sentence } from "../text/sentence";
import { now as spoken } from "../text/text";

/** Calls a function of the database; false where it refused, which was told already. */
export async function act(call: PromiseLike<{ error: Parameters<typeof restFault>[0] | null; status: number }>): Promise<boolean> {
    const { text } = spoken();
    try {
        const { error, status } = await call;
        if (!error) return true;
        complain(text.action.failed(sentence(restFault(error, status), text)));
    } catch (thrown) {
        complain(text.action.failed(sentence(asFault(thrown), text)));
    }
    return false;
}
