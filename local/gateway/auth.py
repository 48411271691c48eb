"""Auth through the gateway: clients hold ES256 tokens, Auth behind knows its own; here the one becomes the other."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from starlette.types import Receive, Scope, Send

from local.gateway.answers import Headers, header, read_body, respond, without
from local.gateway.keys import Keys, Refusal, bearer, split_key
from local.gateway.limits import RateLimits, limit_of
from local.gateway.refresh import Refreshes
from local.gateway.upstream import Answer, Upstream
from local.tokens import InvalidToken, Issuer

__all__ = ["PREFIX", "AuthGate"]

log = logging.getLogger("gateway")

PREFIX = "/auth/v1"
BODY_LIMIT = 1 << 20
# a browser comes here by a link, a verifier without any key
OPEN = {"/verify", "/callback", "/authorize"}
# calls that do not look at Authorization: an expired token there is no fault
TOKENLESS = {"/signup", "/token", "/otp", "/magiclink", "/recover", "/resend", "/verify", "/settings", "/health"}
ES256_DOCUMENT_AGE = {"cache-control": "public, max-age=600"}


class AuthGate:
    """Everything under `/auth/v1`."""

    def __init__(self, upstream: Upstream, keys: Keys, issuer: Issuer, limits: RateLimits) -> None:
        self._upstream, self._keys, self._issuer, self._limits = upstream, keys, issuer, limits
        self._refreshes = Refreshes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Answer one request; `path` is what follows the prefix. Raises Refusal and UpstreamError."""
        method = scope["method"]
        if path.startswith("/.well-known/"):
            await self._publish(path, send)
            return
        query = scope["query_string"].decode("latin-1")
        key, headers, query = split_key(scope["headers"], query)
        role = self._keys.role_of(key) if path in OPEN else self._keys.require(key, headers)
        authorization = self._authorization(headers, key, role, path)
        if isinstance(authorization, Answer):
            await _send(send, authorization)
            return
        grant = dict(parse_qsl(query)).get("grant_type", "") if path == "/token" else ""
        if role != "service_role":
            client = (scope.get("client") or ("", 0))[0]
            wait = self._limits.wait(client, limit_of(method, path, grant))
            if wait:
                refusal = _error(
                    429, "over_request_rate_limit", "Request rate limit reached", {"retry-after": str(wait)}
                )
                await _send(send, refusal)
                return
        body = await read_body(scope, receive, BODY_LIMIT)
        headers = [*without(headers, b"authorization"), *authorization]
        target = f"{PREFIX}{path}" + (f"?{query}" if query else "")

        async def ask() -> Answer:
            return self._reissued(await self._upstream.ask(method, target, headers, body))

        if method == "POST" and grant == "refresh_token":
            answer = await self._refreshes.answer(_refresh_token(body), ask)
        else:
            answer = await ask()
        await _send(send, answer, head=method == "HEAD")

    async def _publish(self, path: str, send: Send) -> None:
        documents: Mapping[str, object] = {
            "/.well-known/jwks.json": self._issuer.public_jwks(),
            "/.well-known/openid-configuration": {
                "issuer": self._issuer.issuer,
                "jwks_uri": f"{self._issuer.issuer}/.well-known/jwks.json",
                "userinfo_endpoint": f"{self._issuer.issuer}/user",
                "id_token_signing_alg_values_supported": ["ES256"],
                "subject_types_supported": ["public"],
            },
        }
        if path not in documents:
            raise Refusal(404, f"There is no {PREFIX}{path}.")
        await respond(send, 200, documents[path], ES256_DOCUMENT_AGE)

    def _authorization(self, headers: Headers, key: str | None, role: str | None, path: str) -> Headers | Answer:
        """The header Authorization for Auth, or the refusal of a token that is none of ours."""
        token = bearer(headers)
        if role is not None and (token is None or token == key):
            return _bearer(self._keys.token_for_auth({"role": role}))
        if token is None:
            return []
        try:
            return _bearer(self._keys.token_for_auth(self._issuer.verify(token)))
        except InvalidToken as error:
            if path in TOKENLESS or path in OPEN:
                return []
            reason = "token has invalid claims: token is expired" if error.expired else f"token is malformed: {error}"
            return _error(403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {reason}")

    def _reissued(self, answer: Answer) -> Answer:
        """The answer with clients' tokens in place of Auth's own, in a session or in a redirect's fragment."""
        location = header(answer.headers, b"location")
        if location is not None and "access_token=" in location:
            address, _, fragment = location.partition("#")
            pairs = [
                (name, self._keys.token_from_auth(value) if name == "access_token" else value)
                for name, value in parse_qsl(fragment, keep_blank_values=True)
            ]
            moved = f"{address}#{urlencode(pairs)}".encode("latin-1")
            return Answer(answer.status, [*without(answer.headers, b"location"), (b"location", moved)], answer.body)
        if answer.status != 200 or b'"access_token"' not in answer.body:
            return answer
        session: dict[str, Any] = json.loads(answer.body)
        if not isinstance(session.get("access_token"), str):
            return answer
        try:
            session["access_token"] = self._keys.token_from_auth(session["access_token"])
        except jwt.InvalidTokenError:
            log.exception("Auth answered with a token that it did not sign")
            return _error(500, "unexpected_failure", "Auth answered with a token that cannot be read.")
        body = json.dumps(session, separators=(",", ":"), ensure_ascii=False).encode()
        headers = without(answer.headers, b"content-length")
        return Answer(
            200, [*headers, (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")], body
        )


def _bearer(token: str) -> Headers:
    return [(b"authorization", f"Bearer {token}".encode())]


def _refresh_token(body: bytes) -> str:
    try:
        asked = json.loads(body)
    except ValueError:
        return ""
    token = asked.get("refresh_token") if isinstance(asked, dict) else None
    return token if isinstance(token, str) else ""


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    """A refusal in the words of Auth, which its clients read the code of."""
    body = json.dumps({"code": status, "error_code": code, "msg": message}).encode()
    named = {"content-type": "application/json", "x-sb-error-code": code, **(headers or {})}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    return Answer(status, [*raw, (b"content-length", str(len(body)).encode())], body)


async def _send(send: Send, answer: Answer, *, head: bool = False) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
