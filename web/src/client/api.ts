import { Fault } from "./faults";
import { accessToken, config, fetchInTime } from "./supabase";

/** The slim API: renaming and download links. Its errors are problem documents (RFC 9457) with a stable `code`. */

export interface DownloadUrl {
    url: string;
    filename: string;
    size_bytes: number;
    expires_at: string;
}

interface Problem {
    code?: string;
    detail?: string;
    status?: number;
}

async function call<T>(method: string, path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
    let response: Response;
    try {
        response = await fetchInTime(`${config().backendUrl}${path}`, {
            method,
            headers: { Authorization: `Bearer ${await accessToken()}`, "Content-Type": "application/json", ...headers },
            body: JSON.stringify(body),
        });
    } catch (thrown) {
        if (thrown instanceof Error && thrown.message === "signed_out") throw thrown;
        throw new Fault("unreachable", "The server cannot be reached.", "", 0);
    }
    if (response.ok) return (await response.json()) as T;
    const problem = (await response.json().catch(() => ({}))) as Problem;
    throw new Fault(problem.code ?? "api_error", problem.detail ?? "The server answered with an error.", "", response.status);
}

/** Renames over the revision that the person has seen; 412 `revision_mismatch` where another was faster. */
export function rename(documentId: string, name: string, revision: number): Promise<{ name: string; name_revision: number }> {
    return call("PATCH", `/documents/${documentId}`, { name }, { "If-Match": `"${revision}"` });
}

export function downloadUrl(documentId: string): Promise<DownloadUrl> {
    return call("POST", `/documents/${documentId}/download-url`, {});
}

/** Gets a link and has the browser save it; the link lives a minute. */
export async function download(documentId: string): Promise<void> {
    const { url, filename } = await downloadUrl(documentId);
    const link = document.createElement("a");
    link.href = url;
    link.download = filename;
    document.body.append(link);
    link.click();
    link.remove();
}
