"""Somebody whose document is attacked, and the requests of whoever attacks."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.e2e.conftest import Account, Stack

__all__ = ["SECRET", "Prey", "encode", "new_prey", "rest", "send", "storage"]

SECRET = b"for my eyes only"


@dataclass(frozen=True)
class Prey:
    """A person with a document that is ready, and what an attacker may have heard of it."""

    owner: Account
    document: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def original(self) -> str:
        return f"{self.owner.id}/{self.id}"

    def whole(self) -> None:
        """Assert that it is as it was: name, shares, bytes."""
        row = self.owner.row(self.id)
        assert {**row, "updated_at": None} == {**self.document, "updated_at": None}
        assert self.owner.client.table("document_access").select("*").execute().data == []
        assert self.owner.download(self.id)[:2] == b"PK"


def new_prey(stack: Stack) -> Prey:
    """A fresh person with a document that is ready."""
    owner = stack.person(first_name="Olga")
    made = owner.upload("secret-plan.txt", SECRET)
    return Prey(owner, owner.wait(made["id"]))


def send(stack: Stack, token: str | None, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"apikey": stack.publishable_key, **({"Authorization": f"Bearer {token}"} if token else {})}
    headers |= options.pop("headers", {})
    url = (stack.backend_url if path.startswith("/documents/") else stack.supabase_url) + path
    return httpx.request(method, url, headers=headers, timeout=60, **options)


def rest(account: Account, method: str, path: str, **options: Any) -> httpx.Response:
    return send(account.stack, account.access_token, method, f"/rest/v1{path}", **options)


def storage(account: Account, method: str, path: str, **options: Any) -> httpx.Response:
    return send(account.stack, account.access_token, method, f"/storage/v1{path}", **options)


def encode(part: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
