import { QueryClientProvider } from "@tanstack/react-query";
import { Compass } from "lucide-react";
import { Component, lazy, type ReactNode, Suspense, useEffect } from "react";
import { Redirect, Route, Switch, useLocation } from "wouter";
import { forgetProfile } from "./account/roles";
import { onLeave, type Person, usePerson, useSession } from "./account/session";
import { cache } from "./client/cache";
import { keys } from "./client/keys";
import { Button } from "./elements/button";
import { Announcer, Messages } from "./elements/messages";
import { Empty, Skeleton } from "./elements/states";
import { listOf } from "./library/documents";
import { followLibrary, hurry, readLimits } from "./library/freshness";
import { forgetLibrary, recallLibrary } from "./library/kept";
import { Library, loadSharePanel } from "./library/library";
import { sorting } from "./library/sorting";
import { Shell } from "./shell/shell";
import { useText } from "./text/text";
import { beginUploads, endUploads } from "./uploads/uploads";

// the library is what most visits begin with: it alone is in the first script, the others come when the page has time
const loadEntry = () => import("./account/entry");
const loadAccount = () => import("./account/account");
const loadActivity = () => import("./activity/activity");
const loadShared = () => import("./sharing/shared_with_me");
const loadTrash = () => import("./trash/trash");
const Entry = lazy(loadEntry);
const Account = lazy(loadAccount);
const Activity = lazy(loadActivity);
const SharedWithMe = lazy(loadShared);
const Trash = lazy(loadTrash);
const AdminPages = lazy(() => import("./admin/pages"));

onLeave(async (person: Person) => {
    await endUploads();
    forgetLibrary(person.id);
    forgetProfile(person.id);
    cache.clear();
});

export function App() {
    return (
        <QueryClientProvider client={cache}>
            <Guard>
                <Pages />
            </Guard>
            <Messages />
            <Announcer />
        </QueryClientProvider>
    );
}

function Pages() {
    const { known, person, recovering } = useSession();
    const [path] = useLocation();
    if (!known) return null;
    if (!person || recovering || path === "/new-password" || path === "/confirmed") {
        return (
            <Suspense fallback={null}>
                <Entry />
            </Suspense>
        );
    }
    return <SignedIn key={person.id} />;
}

function SignedIn() {
    const person = usePerson();
    recallLibrary(person.id);
    // the request is on its way while the page is made
    if (window.location.pathname === "/") void cache.prefetchInfiniteQuery(listOf(person.id, { filter: "all", search: "", sort: sorting.get() }));
    useEffect(() => {
        void beginUploads({
            userId: person.id,
            limits: () => cache.fetchQuery({ queryKey: keys.limits(person.id), queryFn: readLimits, staleTime: 0 }),
            changed: () => {
                void cache.invalidateQueries({ queryKey: keys.limits(person.id) });
                hurry();
            },
        });
        return followLibrary(person.id);
    }, [person.id]);
    useEffect(() => {
        const later = setTimeout(() => {
            for (const load of [loadSharePanel, loadTrash, loadShared, loadActivity, loadAccount]) void load().catch(() => undefined);
        }, 2_000);
        return () => clearTimeout(later);
    }, []);
    return (
        <Shell>
            <Suspense fallback={<Skeleton plain />}>
                <Switch>
                    <Route path="/" component={Library} />
                    <Route path="/shared" component={SharedWithMe} />
                    <Route path="/trash" component={Trash} />
                    <Route path="/activity" component={Activity} />
                    <Route path="/account" component={Account} />
                    <Route path="/admin/:page">
                        <AdminPages />
                    </Route>
                    <Route path="/sign-in">
                        <Redirect to="/" replace />
                    </Route>
                    <Route path="/sign-up">
                        <Redirect to="/" replace />
                    </Route>
                    <Route path="/reset">
                        <Redirect to="/" replace />
                    </Route>
                    <Route component={NotFound} />
                </Switch>
            </Suspense>
        </Shell>
    );
}

function NotFound() {
    const text = useText();
    const [, go] = useLocation();
    return (
        <Empty page icon={Compass} title={text.common.notFound} action={<Button onClick={() => go("/")}>{text.common.toLibrary}</Button>}>
            {text.common.notFoundHint}
        </Empty>
    );
}

/** A fault of ours in one screen does not leave a white page. */
class Guard extends Component<{ children: ReactNode }, { broken: boolean }> {
    override state = { broken: false };
    static getDerivedStateFromError() {
        return { broken: true };
    }
    override componentDidCatch(error: unknown) {
        console.error(error);
    }
    override render() {
        return this.state.broken ? <Broken /> : this.props.children;
    }
}

function Broken() {
    const text = useText();
    return (
        <Empty page icon={Compass} title={text.common.broken} action={<Button onClick={() => window.location.reload()}>{text.common.reload}</Button>}>
            {text.common.brokenHint}
        </Empty>
    );
}
