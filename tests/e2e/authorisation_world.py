"""A small world on a running stack: an owner's documents in every state, and everybody who might ask for them.

It is made anew after whatever was allowed to change it. Jobs rest meanwhile and no schedule fires, so that a row that
changes was changed by whoever just asked.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from tests.e2e.conftest import Stack

__all__ = ["BYTES", "PEOPLE", "World", "open_world"]

BYTES = b"12345"
NOBODY = "00000000-0000-4000-8000-000000000000"
PEOPLE = ("owner", "recipient", "expired", "stranger", "viewer", "admin", "closed")

ROWS = """
    with kept as (
        select 'document' as kind, to_jsonb(d) as r from public.documents d
        union all select 'share', to_jsonb(s) from public.document_shares s
        union all select 'invitation', to_jsonb(i) from public.share_invitations i
        union all select 'profile', to_jsonb(p) from public.profiles p
        union all select 'role', to_jsonb(u) from public.user_roles u
        union all select 'roles', to_jsonb(o) from public.roles o
        union all select 'log', to_jsonb(l) from public.logs l
        union all select 'schedule', to_jsonb(j) from public.scheduled_jobs j
        union all select 'job', to_jsonb(q) from jobs.queue q
        union all select 'setting', to_jsonb(t) from private.settings t
        union all select 'object', jsonb_build_array(o.bucket_id, o.name, o.version) from storage.objects o
        union all select 'bucket', to_jsonb(b) from storage.buckets b
    )
    select md5(string_agg(kind || r::text, '|' order by kind, r::text)) as hash from kept
"""


@dataclass
class World:
    """People by name (headers and id), and the names that rows of the rules hold in braces."""

    stack: Stack
    database: psycopg.Connection[dict[str, Any]]
    ids: dict[str, str]
    headers: dict[str, dict[str, str]]
    emails: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    def names_of(self, who: str) -> dict[str, str]:
        """The names, as this person fills them in."""
        return {**self.names, "me": self.ids.get(who, NOBODY)}

    def send(self, who: str, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with this person's token; `path` begins behind the stack's address."""
        headers = {**self.headers[who], **options.pop("headers", {})}
        return self.http.request(method, f"{self.stack.supabase_url}{path}", headers=headers, **options)

    def rows(self) -> str:
        """A digest of every row that anybody but a runner's heartbeat could change."""
        row = self.database.execute(ROWS).fetchone()
        assert row is not None
        return str(row["hash"])

    def mend(self) -> None:
        """Undo what an allowed attempt did to people, schedules and buckets, and give the owner fresh documents."""
        run = self.database.execute
        run("update public.scheduled_jobs set enabled = false where enabled")
        run("update storage.buckets set public = false where id in ('documents', 'archives') and public")
        run("update public.profiles set deleted_at = null where deleted_at is not null and id = any (%s)",
            [[self.ids[name] for name in PEOPLE if name != "closed"]])  # fmt: skip
        for name in PEOPLE:
            role = "viewer" if name == "viewer" else "member"
            run("insert into public.user_roles (user_id, role_id) select %s, id from public.roles where name = %s"
                " on conflict do nothing", [self.ids[name], role])  # fmt: skip
        self.names = self._documents()

    def _documents(self) -> dict[str, str]:
        run, owner = self.database.execute, self.ids["owner"]
        with self.database.transaction():
            run("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": owner})])
            kinds = ("document", "trash", "failed", "upload", "pending")
            made = {
                kind: run(
                    "insert into public.documents (name, size_bytes) values (%s, %s) returning id::text",
                    [f"report {kind}.pdf", len(BYTES)],
                ).fetchone()
                for kind in kinds
            }
        names = {kind: str(row["id"]) for kind, row in made.items() if row is not None}
        names |= {
            "owner": owner,
            "other": str(uuid.uuid4()),
            "archive": f"{owner}/{names['document']}/{uuid.uuid4()}.zip",
        }
        names["gone"] = f"{owner}/{names['trash']}/{uuid.uuid4()}.zip"
        for kind in ("document", "trash", "failed", "pending"):
            self._store("owner", "documents", f"{owner}/{names[kind]}")
        for key in ("archive", "gone"):
            self._store("service", "archives", names[key])
        settled = [names[kind] for kind in ("document", "trash", "failed")]
        with self.database.transaction():
            run("delete from jobs.queue where document_id::text = any (%s)", [settled])
            for kind, key in (("document", "archive"), ("trash", "gone")):
                run(
                    "update public.documents set status = 'ready', progress = 1, archive_path = %s,"
                    " archive_size_bytes = %s, archive_name_revision = 1 where id = %s",
                    [names[key], len(BYTES), names[kind]],
                )
            run("update public.documents set deleted_at = now() where id = %s", [names["trash"]])
            run("update public.documents set status = 'failed', error = 'x: X.' where id = %s", [names["failed"]])
            run("select private.log_event('ready', 'Zipped', %s, %s, null)", [names["document"], owner])
            for name in ("recipient", "expired", "viewer", "closed"):
                run(
                    "insert into public.document_shares (document_id, user_id, shared_by, expires_at)"
                    " values (%s, %s, %s, case when %s then now() end)",
                    [names["document"], self.ids[name], owner, name == "expired"],
                )
            run(
                "insert into public.share_invitations (document_id, email, shared_by) values (%s, %s, %s)",
                [names["document"], "invited@example.test", owner],
            )
        names["dead"] = self._value(
            "insert into jobs.history (id, queue, kind, owner_id, document_id, args, outcome, attempt, failures,"
            " crashes, created_at) select nextval(pg_get_serial_sequence('jobs.queue', 'id')), 'default',"
            " 'archive_document', d.owner_id, d.id, jsonb_build_object('object_version', d.object_version), 'dead',"
            " 1, 1, 0, now()"
            " from public.documents d where d.id = %s returning id",
            names["failed"],
        )
        names["pending"] = self._value("select id from jobs.queue where document_id = %s", names["pending"])
        names["share"] = self._value(
            "select id from public.document_shares where document_id = %s and user_id = %s",
            names["document"], self.ids["recipient"],
        )  # fmt: skip
        names["schedule"] = self._value("select id from public.scheduled_jobs where kind = 'sweep_orphans'")
        names["admin_role"] = self._value("select id from public.roles where name = 'admin'")
        return names

    def _store(self, who: str, bucket: str, key: str) -> None:
        answer = self.send(who, "POST", f"/storage/v1/object/{bucket}/{key}", content=BYTES)
        assert answer.status_code == 200, answer.text

    def _value(self, statement: str, *parameters: object) -> str:
        row = self.database.execute(statement.encode(), parameters or None).fetchone()
        assert row is not None, statement
        return str(next(iter(row.values())))


@contextmanager
def open_world(stack: Stack) -> Iterator[World]:
    """Make the people, have jobs and schedules rest, and put all back in the end."""
    with stack.database() as database:
        accounts = {name: stack.person() for name in PEOPLE}
        people = {name: account.id for name, account in accounts.items()}
        headers = {
            name: {"apikey": stack.publishable_key, "Authorization": f"Bearer {account.access_token}"}
            for name, account in accounts.items()
        }
        headers |= {"anonymous": {"apikey": stack.publishable_key}, "service": {"apikey": stack.secret_key}}
        world = World(stack, database, people, headers, {name: account.email for name, account in accounts.items()})
        run, everybody = database.execute, list(people.values())
        enabled = [row["id"] for row in run("select id from public.scheduled_jobs where enabled").fetchall()]
        run("select jobs.pause()")
        run("update public.profiles set deleted_at = now() where id = %s", [people["closed"]])
        run("delete from public.user_roles where user_id = %s", [people["viewer"]])
        run("insert into public.user_roles (user_id, role_id) select %s, id from public.roles where name = 'admin'",
            [people["admin"]])  # fmt: skip
        others = run("delete from public.user_roles u using public.roles r where r.id = u.role_id and r.name = 'admin'"
                     " and u.user_id <> %s returning u.user_id, u.role_id", [people["admin"]]).fetchall()  # fmt: skip
        try:
            with world.http:
                world.mend()
                yield world
        finally:
            for other in others:
                run("insert into public.user_roles (user_id, role_id) values (%(user_id)s, %(role_id)s)", other)
            run("delete from public.user_roles where user_id = %s", [people["admin"]])
            run("delete from jobs.queue where owner_id::text = any (%s)", [everybody])
            run("update public.documents set deleted_at = coalesce(deleted_at, now()), purge_started_at = now()"
                " where owner_id::text = any (%s)", [everybody])  # fmt: skip
            run("select jobs.enqueue('purge_deleted', null, null)")
            run("update public.scheduled_jobs set enabled = true where id = any (%s)", [enabled])
            run("select jobs.resume()")
