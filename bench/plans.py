"""The plans of what PostgREST asks the database for a page, as the database ran them."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qsl

import psycopg
from psycopg import sql

__all__ = ["PLANNED", "plan_of"]

PLANNED = {"PGRST_DB_PLAN_ENABLED": "true"}
"""What PostgREST needs in its environment to tell its plans."""
OF_INTEREST = ("public.documents", "public.document_shares", "private.library_sizes")


def plan_of(path: str, token: str, person: str, connection: HTTPConnection, database: psycopg.Connection[Any]) -> str:
    """The plan of a request: PostgREST's own statement, or, of a call, the statements within the function."""
    if path.startswith("/rpc/"):
        return _of_call(path.removeprefix("/rpc/"), person, database)
    accept = 'application/vnd.pgrst.plan+text; for="application/json"; options=analyze|buffers'
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": accept})
    response = connection.getresponse()
    text = response.read().decode()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status} {text}")
    return text.rstrip()


def _of_call(call: str, person: str, database: psycopg.Connection[Any]) -> str:
    """The nested statements that read a table, by auto_explain in a session of the person."""
    name, _, query = call.partition("?")
    arguments = parse_qsl(query, keep_blank_values=True)
    told: list[str] = []

    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        text = diagnostic.message_primary or ""
        if "plan:" in text and any(word in text.partition("\n")[2] for word in OF_INTEREST):
            told.append(text.partition("plan:\n")[2])

    with database.transaction(force_rollback=True):
        database.execute("load 'auto_explain'")
        for setting, value in (
            ("auto_explain.log_min_duration", "0"), ("auto_explain.log_nested_statements", "on"),
            ("auto_explain.log_analyze", "on"), ("auto_explain.log_buffers", "on"), ("client_min_messages", "log"),
            ("request.jwt.claims", json.dumps({"sub": person, "role": "authenticated"})),
        ):  # fmt: skip
            database.execute("select set_config(%s, %s, true)", [setting, value])
        database.execute("set local role authenticated")
        database.add_notice_handler(hear)
        try:
            named = sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(a), sql.Literal(v)) for a, v in arguments
            )
            database.execute(sql.SQL("select * from {}({})").format(sql.Identifier(name), named)).fetchall()
        finally:
            database.remove_notice_handler(hear)
    return "\n".join(told)
