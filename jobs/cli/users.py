"""`instashare users`: who there is, and who may do what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple

import typer
from psycopg.rows import dict_row
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs import queries
from jobs.cli.connection import Connection, open_admin
from jobs.cli.output import DEFAULT_DATA_DIR, DataDir, Json, answer, guarded
from jobs.cli.target import find_target
from jobs.cli.units import show_size
from jobs.errors import OperationFailed, UsageError

__all__ = ["register"]

Who = Annotated[str, typer.Argument(metavar="E-MAIL", help="The person's e-mail address or id.")]
Role = Annotated[str, typer.Argument(metavar="ROLE", help="viewer, member or admin.")]


class Person(NamedTuple):
    """A row of `profiles`, as far as granting needs it."""

    id: str
    email: str
    deleted_at: datetime | None


def register(app: typer.Typer) -> None:
    """Add the group `users`."""
    users = typer.Typer(no_args_is_help=True, help="List people; grant and revoke roles.")
    app.add_typer(users, name="users", rich_help_panel="Operating")
    users.command("list")(guarded(list_users))
    users.command("grant")(guarded(grant))
    users.command("revoke")(guarded(revoke))


def list_users(
    search: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Only addresses that contain this.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many.")] = 100,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List people with their roles and what their documents weigh."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        rows = cursor.execute(queries.load("users")["list"], {"search": search, "limit": limit}).fetchall()

    def show(console: Console) -> None:
        table = Table("e-mail", "name", "roles", "documents", "size", "since", box=None)
        for row in rows:
            table.add_row(
                escape(row["email"]) + ("" if row["deleted_at"] is None else " [red](closed)[/]"),
                escape(f"{row['first_name']} {row['last_name']}".strip()),
                ", ".join(row["roles"]),
                str(row["documents"]),
                show_size(row["bytes"]),
                f"{row['created_at']:%Y-%m-%d}",
            )
        console.print(table if rows else "Nobody.")

    answer({"users": rows}, as_json, show)


def grant(who: Who, role: Role, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Give a person a role; having it already is no fault."""
    _change("grant", who, role, as_json, find_target(data_dir).require("ADMIN_DATABASE_URL"))


def revoke(who: Who, role: Role, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Take a role from a person; not having it is no fault."""
    _change("revoke", who, role, as_json, find_target(data_dir).require("ADMIN_DATABASE_URL"))


def _change(verb: str, who: str, role: str, as_json: bool, admin_url: str) -> None:
    texts = queries.load("users")
    with open_admin(admin_url) as connection:
        known = [name for (name,) in connection.execute(texts["list_roles"])]
        if role not in known:
            raise UsageError("unknown_role", f"There is no role {role!r}.", f"Choose from: {', '.join(known)}.")
        person = _find(connection, who)
        changed = connection.execute(texts[verb], {"user_id": person.id, "role": role}).fetchone() is not None

    def show(console: Console) -> None:
        what = "has" if verb == "grant" else "does not have"
        console.print(f"{person.email} {what} the role {role}{' now' if changed else ' already'}.", markup=False)

    data: dict[str, Any] = {"id": str(person.id), "email": person.email, "role": role, "changed": changed}
    answer(data, as_json, show)


def _find(connection: Connection, who: str) -> Person:
    rows = connection.execute(queries.load("users")["find"], {"who": who.strip()}).fetchall()
    people = [Person(*row) for row in rows]
    people = [person for person in people if person.deleted_at is None] or people
    if len(people) != 1:
        what = "Nobody has" if not people else "Several people have"
        raise OperationFailed(
            "unknown_person", f"{what} the address {who}.", "`instashare users list` shows everybody."
        )
    if people[0].deleted_at is not None:
        raise OperationFailed("account_closed", f"The account of {who} is closed.")
    return people[0]
