"""What Storage writes into its statements means what it was given, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg.pq import Escaping
from psycopg.types.json import Jsonb

from local.storage.prepared import Prepared
from tests.db.conftest import Database

TEXTS = ["", "it's", "a\\' or true --", "%s $1 :x", "'; drop table documents; --", "año 日本 🎉", "\\x00", "a\nb"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("standard", ["on", "off"])
def test_a_text_comes_back(database: Database, text: str, standard: str) -> None:
    connection = database.superuser
    connection.execute(f"set standard_conforming_strings = {standard}".encode())
    assert answer(connection, "select %s::text as text, %s::jsonb as object", text, Jsonb({text: [text]})) == {
        "text": text,
        "object": {text: [text]},
    }


@pytest.mark.parametrize("value", [None, True, -7, 1 << 40])
def test_what_is_no_text_comes_back(database: Database, value: object) -> None:
    assert answer(database.superuser, "select %s::text as value", value) == {"value": value and json.dumps(value)}


def test_what_is_no_text_to_postgres_is_refused(database: Database) -> None:
    prepared = Prepared(Escaping(database.superuser.pgconn))
    with pytest.raises(psycopg.DataError):
        prepared.call(None, "select %s", ["a\0b"])
    with pytest.raises(TypeError):
        prepared.call(None, "select %s", [b"bytes"])


def answer(connection: psycopg.Connection[dict[str, Any]], statement: str, *values: object) -> dict[str, Any]:
    prepared = Prepared(Escaping(connection.pgconn))
    call = prepared.call(None, statement, values)
    connection.execute("; ".join(prepared.take_unmade()).encode())
    row = connection.execute(call.encode()).fetchone()
    assert row is not None
    return row
