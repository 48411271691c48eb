// Mails are never sent: each becomes a private JSON file in the data folder, which `instashare mail` shows.

import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const KEPT = 500;

/** lite's e-mail driver; a file appears whole or not at all, and the oldest beyond 500 go. */
export class MailFolder {
    constructor(folder) {
        this.folder = folder;
        this.sent = 0;
    }

    async send({ to, subject, text, html }) {
        await mkdir(this.folder, { recursive: true, mode: 0o700 });
        const sentAt = new Date().toISOString();
        const name = `${sentAt.replace(/[:.]/g, "-")}-${String(this.sent++).padStart(6, "0")}-${randomBytes(3).toString("hex")}`;
        const hidden = join(this.folder, `.${name}`);
        await writeFile(hidden, JSON.stringify({ to, subject, sent_at: sentAt, text, html }), { mode: 0o600 });
        await rename(hidden, join(this.folder, `${name}.json`));
        if (this.sent % 50 === 0) await this.prune();
    }

    async prune() {
        const names = (await readdir(this.folder)).filter((name) => name.endsWith(".json")).sort();
        for (const name of names.slice(0, -KEPT)) await rm(join(this.folder, name), { force: true });
    }
}
