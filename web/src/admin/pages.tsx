import { Route, Switch } from "wouter";
import { AdminOnly } from "./guard";
import { JobsPage } from "./jobs";
import { LogPage } from "./log";
import { SchedulesPage } from "./schedules";
import { UsersPage } from "./users";

/** The admin's part, fetched when somebody opens it. */
export default function AdminPages() {
    return (
        <AdminOnly>
            <Switch>
                <Route path="/admin/users" component={UsersPage} />
                <Route path="/admin/jobs" component={JobsPage} />
                <Route path="/admin/schedules" component={SchedulesPage} />
                <Route path="/admin/log" component={LogPage} />
            </Switch>
        </AdminOnly>
    );
}
