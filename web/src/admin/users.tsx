import { keepPreviousData, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { Users as UsersIcon } from "lucide-react";
import { useEffect, useState } from "react";
import { usePerson } from "../account/session";
import type { Database } from "../client/database.types";
import { asFault, unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { useOnline } from "../client/surroundings";
import { Button } from "../elements/button";
import { Dialog } from "../elements/dialog";
import list from "../elements/list.module.scss";
import { tell } from "../elements/messages";
import { Empty, Failed, Skeleton } from "../elements/states";
import { Search } from "../library/search";
import { PageHeader } from "../shell/page_header";
import { useFormat, useText } from "../text/text";
import { act } from "./act";
import styles from "./admin.module.scss";
import { type Column, Table } from "./table";

type User = Database["public"]["Views"]["admin_users"]["Row"];

const PAGE = 50;
const ROLES = ["viewer", "member", "admin"] as const;

async function readUsers(search: string, from: number): Promise<User[]> {
    let query = supabase().from("admin_users").select("*");
    if (search) {
        const pattern = `"%${search.replace(/["\\%_]/g, "\\$&")}%"`;
        query = query.or(`email.ilike.${pattern},first_name.ilike.${pattern},last_name.ilike.${pattern}`);
    }
    return unwrap(await query.order("email").range(from, from + PAGE - 1));
}

interface Change {
    user: User;
    role: string;
    give: boolean;
}

export function UsersPage() {
    const text = useText();
    const format = useFormat();
    const online = useOnline();
    const person = usePerson().id;
    const cache = useQueryClient();
    const [search, setSearch] = useState("");
    const [change, setChange] = useState<Change | null>(null);
    const [busy, setBusy] = useState(false);
    const query = useInfiniteQuery({
        queryKey: keys.admin(person, "users", search),
        queryFn: ({ pageParam }) => readUsers(search, pageParam),
        initialPageParam: 0,
        getNextPageParam: (page, all) => (page.length === PAGE ? all.length * PAGE : null),
        placeholderData: keepPreviousData,
    });
    const users = query.data?.pages.flat() ?? [];

    useEffect(() => {
        document.title = `${text.nav.users} · ${text.product}`;
    }, [text]);

    async function apply({ user, role, give }: Change) {
        setBusy(true);
        const named = { user_id: user.id ?? "", role_name: role };
        const done = await act(give ? supabase().rpc("admin_grant_role", named) : supabase().rpc("admin_revoke_role", named));
        setBusy(false);
        setChange(null);
        if (!done) return;
        tell(give ? text.admin.granted(text.role[role] ?? role, user.email ?? "") : text.admin.revoked(text.role[role] ?? role, user.email ?? ""));
        await cache.invalidateQueries({ queryKey: keys.admin(person, "users") });
        await cache.invalidateQueries({ queryKey: keys.profile(person) });
    }

    const columns: Column<User>[] = [
        {
            title: text.admin.person,
            wide: true,
            cell: (user) => {
                const name = `${user.first_name} ${user.last_name}`.trim();
                return (
                    <>
                        <b>{name || user.email}</b>
                        <small>{[name && user.email, user.deleted_at && text.admin.closedAccount].filter(Boolean).join(" · ")}</small>
                    </>
                );
            },
        },
        {
            title: text.admin.roles,
            cell: (user) => (
                <span className={styles.chips}>
                    {ROLES.map((role) => {
                        const has = user.roles?.includes(role) ?? false;
                        const name = text.role[role] ?? role;
                        return (
                            <button
                                type="button"
                                key={role}
                                className={styles.role}
                                aria-pressed={has}
                                aria-label={has ? text.admin.take(name, user.email ?? "") : text.admin.give(name, user.email ?? "")}
                                disabled={!online || user.deleted_at !== null}
                                onClick={() => setChange({ user, role, give: !has })}
                            >
                                {name}
                            </button>
                        );
                    })}
                </span>
            ),
        },
        { title: text.admin.documents, cell: (user) => format.count(user.documents ?? 0) },
        { title: text.account.space, low: true, cell: (user) => format.size(user.used_bytes ?? 0) },
        { title: text.admin.since, low: true, cell: (user) => <span className={styles.when}>{format.date(user.created_at ?? 0)}</span> },
    ];

    return (
        <>
            <PageHeader title={text.nav.users} lead={text.admin.usersLead}>
                <Search value={search} onChange={setSearch} label={text.admin.searchPeople} />
            </PageHeader>
            {query.isPending ? (
                <Skeleton plain />
            ) : query.isError && users.length === 0 ? (
                <Failed title={text.admin.failedToLoad} fault={asFault(query.error)} retry={() => void query.refetch()} />
            ) : users.length === 0 ? (
                <Empty icon={UsersIcon} title={text.library.noMatch}>
                    {text.admin.nobody}
                </Empty>
            ) : (
                <Table label={text.nav.users} columns={columns} rows={users} keyOf={(user) => user.id ?? ""} />
            )}
            {query.hasNextPage && (
                <div className={list.more}>
                    <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
                        {text.common.more}
                    </Button>
                </div>
            )}
            {change && (
                <Dialog
                    size="small"
                    title={
                        change.give ? text.admin.giveTitle(text.role[change.role] ?? change.role) : text.admin.takeTitle(text.role[change.role] ?? change.role)
                    }
                    onClose={() => setChange(null)}
                    footer={
                        <>
                            <Button onClick={() => setChange(null)}>{text.common.cancel}</Button>
                            <Button look={change.give ? "primary" : "danger"} busy={busy} onClick={() => void apply(change)}>
                                {change.give ? text.admin.giveButton : text.admin.takeButton}
                            </Button>
                        </>
                    }
                >
                    <p className={styles.person}>{change.user.email}</p>
                    <p>{text.roleMeaning[change.role]}</p>
                </Dialog>
            )}
        </>
    );
}
