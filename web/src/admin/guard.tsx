import { Shield } from "lucide-react";
import type { ReactNode } from "react";
import { useProfile, useRoles } from "../account/roles";
import { Empty, Skeleton } from "../elements/states";
import { useText } from "../text/text";

/** Says kindly what the database would say anyway: nothing here for those who do not administer. */
export function AdminOnly({ children }: { children: ReactNode }) {
    const text = useText();
    const { isAdmin } = useRoles();
    const profile = useProfile();
    if (isAdmin) return children;
    if (profile.isPending || profile.isFetching) return <Skeleton plain />;
    return (
        <Empty page icon={Shield} title={text.admin.forbidden}>
            {text.admin.forbiddenLead}
        </Empty>
    );
}
