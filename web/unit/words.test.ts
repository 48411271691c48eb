// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { detail } from "../src/activity/detail";
import { inWords } from "../src/admin/cron";
import { Fault, restFault } from "../src/client/faults";
import { english } from "../src/text/en";
import { spanish } from "../src/text/es";
import { reason, sentence } from "../src/text/sentence";

describe("cron in words", () => {
    it.each([
        ["* * * * *", "Every minute"],
        ["*/5 * * * *", "Every 5 minutes"],
        ["17 * * * *", "Every hour at 17 past"],
        ["37 2 * * *", "Every day at 02:37 UTC"],
        ["0 6 * * 1", "Every Monday at 06:00 UTC"],
        ["0 6 * * 7", "Every Sunday at 06:00 UTC"],
        ["0 6 1 * *", "On day 1 of every month at 06:00 UTC"],
    ])("%s", (schedule, words) => {
        expect(inWords(schedule, "en")).toBe(words);
    });
    it.each(["0 6 1 2 *", "0,30 * * * *", "nonsense", "0 6 * * 1-5"])("%s stays as it is", (schedule) => {
        expect(inWords(schedule, "es")).toBeNull();
    });
});

describe("faults", () => {
    it("of the database carry the stable code", () => {
        expect(restFault({ code: "PT413", message: "Too much.", details: "quota_exceeded", hint: "Delete." }, 413)).toMatchObject({
            code: "quota_exceeded",
            status: 413,
            hint: "Delete.",
        });
    });
    it("without an answer are the network's", () => {
        expect(restFault({ message: "TypeError: Failed to fetch" }, 0).code).toBe("unreachable");
    });
    it("of a server say nothing technical", () => {
        expect(sentence(new Fault("rest_PGRST000", "Database client error", "", 503), english)).toBe(english.fault.unexpected);
    });
    it("that we have no words for are told in the server's", () => {
        expect(sentence(new Fault("name_invalid", "A name cannot be empty.", "Choose another.", 422), english)).toBe("A name cannot be empty. Choose another.");
    });
    it("of documents lose their code", () => {
        expect(reason("archive_failed: The ZIP could not be written.", english)).toBe("The ZIP could not be written.");
        expect(reason("source_missing: gone", spanish)).toBe(spanish.reason.source_missing);
    });
});

describe("what an event was about", () => {
    it.each([
        ["created", "Added plan.pdf", null, "plan.pdf"],
        ["renamed", "Renamed a.pdf to b.pdf", "b.pdf", "a.pdf → b.pdf"],
        ["shared", "Shared with ana@x.org", "plan.pdf", "plan.pdf · ana@x.org"],
        ["ready", "Zipped", "plan.pdf", "plan.pdf"],
        ["deleted", "Moved plan.pdf to the trash", null, "plan.pdf"],
        ["purged", "Removed plan.pdf for good", null, "plan.pdf"],
        ["download_url_made", "Download of plan.pdf prepared", null, "plan.pdf"],
        ["role_granted", "Gave the role admin to ana@x.org", null, "Administrador · ana@x.org"],
        ["job_retried", "Retried job 12 (archive_document)", null, "#12"],
        ["signed_up", "Account created", null, ""],
    ])("%s", (event, description, name, words) => {
        expect(detail(event, description, name, spanish.role)).toBe(words);
    });
});

describe("Spanish", () => {
    it("has a word wherever English has one, by name too", () => {
        const missing: string[] = [];
        const walk = (one: unknown, other: unknown, path: string) => {
            if (typeof one !== "object" || one === null) {
                if (typeof one !== typeof other || other === "") missing.push(path);
                return;
            }
            for (const [key, value] of Object.entries(one)) walk(value, (other as Record<string, unknown> | undefined)?.[key], `${path}.${key}`);
        };
        walk(english, spanish, "");
        expect(missing).toEqual([]);
    });
});
