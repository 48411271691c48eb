/** What uploads meet outside of a page: a server with rows, transfers that end as a test says, and the browser's locks. */
export interface Row {
    id: string;
    owner_id: string;
    name: string;
    size_bytes: number;
    status: string;
    deleted_at: string | null;
    created_at: string;
}

export interface FakeTransfer {
    documentId: string;
    uploadUrl: string | null;
    /** What happened to it, in order. */
    log: string[];
    progress(sent: number): void;
    url(url: string): void;
    end(kind: string, message?: string): void;
}

interface Wishes {
    key: string;
    uploadUrl: string | null;
    onUrl(url: string): void;
    onProgress(sent: number): void;
    onStored(offset: number): void;
    onEnd(ended: { kind: string; message: string }): void;
}

export function createWorld() {
    const world = {
        rows: [] as Row[],
        transfers: [] as FakeTransfer[],
        /** `down` answers nothing, `deaf` does what it is asked for and the answer is lost, `renewing` knows no token. */
        server: "up" as "up" | "down" | "deaf" | "renewing",
        refuseNames: new Set<string>(),
        called: [] as string[],
    };

    let made = 0;

    function answer(work: () => unknown) {
        if (world.server === "down") return { data: null, error: { message: "TypeError: Failed to fetch" }, status: 0 };
        if (world.server === "renewing") return { data: null, error: { code: "PGRST301", message: "JWT expired" }, status: 401 };
        const data = work();
        if (world.server === "deaf") return { data: null, error: { message: "TypeError: Failed to fetch" }, status: 0 };
        return data instanceof Error
            ? { data: null, error: { code: "PT413", details: "quota_exceeded", message: data.message }, status: 413 }
            : { data, error: null, status: 200 };
    }

    function from() {
        const filters: ((row: Row) => boolean)[] = [];
        let inserted: { name: string; size_bytes: number }[] | null = null;
        let single = false;
        const query = {
            select: () => query,
            order: () => query,
            limit: () => query,
            insert: (rows: { name: string; size_bytes: number }[]) => {
                inserted = rows;
                return query;
            },
            eq: (column: keyof Row, value: unknown) => {
                filters.push((row) => row[column] === value);
                return query;
            },
            is: (column: keyof Row, value: unknown) => query.eq(column, value),
            in: (column: keyof Row, values: unknown[]) => {
                filters.push((row) => values.includes(row[column]));
                return query;
            },
            maybeSingle: () => {
                single = true;
                return query;
            },
            // biome-ignore lint/suspicious/noThenProperty: the client's queries are awaited themselves
            then: (resolve: (answer: unknown) => unknown) =>
                Promise.resolve(
                    answer(() => {
                        if (inserted?.some((one) => world.refuseNames.has(one.name))) return new Error("No room.");
                        if (inserted) {
                            const rows = inserted.map(
                                (one): Row => ({
                                    id: `d${++made}-${one.name}`,
                                    owner_id: "me",
                                    status: "uploading",
                                    deleted_at: null,
                                    created_at: new Date().toISOString(),
                                    ...one,
                                }),
                            );
                            world.rows.push(...rows);
                            return rows;
                        }
                        const found = world.rows.filter((row) => filters.every((filter) => filter(row)));
                        return single ? (found[0] ?? null) : found;
                    }),
                ).then(resolve),
        };
        return query;
    }

    const client = {
        from,
        rpc: async (name: string, { document_id }: { document_id: string }) => {
            world.called.push(`${name} ${document_id}`);
            return answer(() => {
                if (name === "purge_document") world.rows = world.rows.filter((row) => row.id !== document_id);
                return {};
            });
        },
    };

    async function openTransfer(wishes: Wishes) {
        const transfer: FakeTransfer = {
            documentId: wishes.key.split("/")[1] ?? "",
            uploadUrl: wishes.uploadUrl,
            log: [],
            progress: (sent) => wishes.onProgress(sent),
            url: (url) => wishes.onUrl(url),
            end: (kind, message = "") => wishes.onEnd({ kind, message }),
        };
        world.transfers.push(transfer);
        return {
            start: () => void transfer.log.push("start"),
            abort: async () => void transfer.log.push("abort"),
            terminate: async () => void transfer.log.push("terminate"),
        };
    }

    return { world, client, openTransfer };
}

interface Held {
    owner: object;
    end(): void;
}

/** The Web Locks of one browser; each tab has its own manager, and closing a tab frees what it holds. */
export function createLocks() {
    const held = new Map<string, Held>();
    const queues = new Map<string, (() => void)[]>();
    const next = (name: string) => {
        held.delete(name);
        queues.get(name)?.shift()?.();
    };
    return function openTab() {
        const owner = {};
        let closed = false;
        const manager = {
            request: async (name: string, options: { ifAvailable?: boolean; signal?: AbortSignal }, work: (lock: object | null) => unknown) => {
                if (held.has(name)) {
                    if (options.ifAvailable) return work(null);
                    await new Promise<void>((resolve, reject) => {
                        queues.set(name, [...(queues.get(name) ?? []), resolve]);
                        options.signal?.addEventListener("abort", () => {
                            queues.set(
                                name,
                                (queues.get(name) ?? []).filter((one) => one !== resolve),
                            );
                            reject(options.signal?.reason);
                        });
                    });
                }
                if (closed) return undefined;
                await new Promise<void>((resolve) => {
                    held.set(name, { owner, end: resolve });
                    void Promise.resolve(work({ name })).then(() => resolve());
                });
                if (held.get(name)?.owner === owner) next(name);
                return undefined;
            },
        };
        const close = () => {
            closed = true;
            for (const lock of [...held.values()]) if (lock.owner === owner) lock.end();
        };
        return { manager, close };
    };
}
