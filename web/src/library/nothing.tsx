import { useQuery } from "@tanstack/react-query";
import { Files, SearchX, Upload as UploadIcon } from "lucide-react";
import { usePerson } from "../account/session";
import { keys } from "../client/keys";
import { useWidth } from "../client/surroundings";
import { Button } from "../elements/button";
import { Empty } from "../elements/states";
import { useFormat, useText } from "../text/text";
import { pickFiles } from "../uploads/pick";
import { addFiles } from "../uploads/uploads";
import type { View } from "./documents";
import { readLimits } from "./freshness";

/** A library without a row: nothing was found, or there is nothing yet, and how to begin. */
export function Nothing({ view, mayUpload, onAll }: { view: View; mayUpload: boolean; onAll(): void }) {
    const text = useText();
    if (view.search || view.filter !== "all") {
        return (
            <Empty
                icon={SearchX}
                title={view.search ? text.library.noMatch : text.library.noneSuch}
                action={<Button onClick={onAll}>{text.library.showAll}</Button>}
            >
                {view.search ? text.library.noMatchLead(view.search) : text.library.noneSuchLead}
            </Empty>
        );
    }
    if (!mayUpload)
        return (
            <Empty icon={Files} title={text.library.emptyViewer}>
                {text.library.emptyViewerLead}
            </Empty>
        );
    return <First />;
}

function First() {
    const text = useText();
    const format = useFormat();
    const phone = useWidth() === "phone";
    const limits = useQuery({ queryKey: keys.limits(usePerson().id), queryFn: readLimits }).data;
    return (
        <Empty
            place
            icon={UploadIcon}
            title={phone ? text.library.emptyPhone : text.library.empty}
            action={
                <>
                    <Button look="primary" icon={UploadIcon} onClick={() => void pickFiles(true).then(addFiles)}>
                        {text.nav.upload}
                    </Button>
                    <small>{limits ? text.nav.limits(format.limit(limits.fileSize)) : "\u00a0"}</small>
                </>
            }
        >
            {text.library.emptyLead}
        </Empty>
    );
}
