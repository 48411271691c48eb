"""`instashare keys`: make the secrets and keys of a self-hosted deployment, and refuse those that everybody knows.

The forms are those that Supabase's services demand of a self-hosted stack: opaque keys with a checksum for clients,
HS256 tokens of two roles that the gateway puts in their place, and an ES256 key pair with which Auth signs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import jwt
import typer
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from rich.console import Console

from jobs.cli.output import DEFAULT_DATA_DIR, ROOT, DataDir, Json, answer, guarded, notice
from jobs.errors import OperationFailed, SettingsError, UsageError

__all__ = ["SECRETS", "compose_file", "find_faults", "make", "opaque_key", "register"]

TEN_YEARS = 10 * 365 * 86400
SOON_SECONDS = 60 * 86400
TEMPLATE = ROOT / ".env.example"
SECRETS = (
    "POSTGRES_PASSWORD",
    "RUNNER_PASSWORD",
    "JWT_SECRET",
    "JWT_KEYS",
    "JWT_JWKS",
    "ANON_KEY",
    "SERVICE_ROLE_KEY",
    "SUPABASE_PUBLISHABLE_KEY",
    "SUPABASE_SECRET_KEY",
    "PG_META_CRYPTO_KEY",
)
# values that Supabase's own example publishes, or pieces of them
PUBLISHED = ("your-super-secret", "this_password_is_insecure", "supabaserealtime", "your-encryption-key", "postgres")
HEX = set("0123456789abcdefABCDEF")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(rich_help_panel="Operating")(guarded(keys))


def keys(
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Write them here, beside the settings; never over it."),
    ] = None,
    url: Annotated[
        str, typer.Option("--url", help="Where people will reach it: http://localhost, or https://and.your.domain.")
    ] = "http://localhost",
    show: Annotated[bool, typer.Option("--show", help="Print them, secrets included.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Look at the environment instead: refuse published or mismatched secrets.")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make every secret and key of a deployment for `docker compose up`, or check those of the environment."""
    if sum((write is not None, show, check)) != 1:
        raise UsageError(
            "what_to_do", "Say one thing to do.", "`--write .env` makes the file, `--show` prints it, `--check` looks."
        )
    if check:
        _check(as_json)
        return
    public_url = _public_url(url)
    made = make()
    text = compose_file(made, public_url)
    if write is None:
        answer({"public_url": public_url, **made}, as_json, lambda console: console.print(text, markup=False, end=""))
        return
    _write_new(write, text)

    def show_next(console: Console) -> None:
        console.print(f"Wrote {write} for {public_url}; only you can read it. Keep a copy where backups are kept.")
        if _is_near(public_url):
            console.print("Next: `docker compose up --detach`. Mails are caught at http://127.0.0.1:8025.")
        else:
            console.print(
                f"Next: fill in SMTP_HOST and the other mail settings in {write}, `docker compose up --detach`."
            )

    # no secret is printed, to programs neither: the file holds them
    answer({"written": str(write), "public_url": public_url, "names": list(SECRETS)}, as_json, show_next)


def make(now: int | None = None) -> dict[str, str]:
    """Fresh values of SECRETS that fit together; the role tokens end ten years after `now` (Unix seconds)."""
    issued = int(time.time()) if now is None else now
    secret = secrets.token_urlsafe(48)
    signing, public = _key_pair()
    shared = {
        "kty": "oct",
        "kid": "shared",
        "use": "sig",
        "alg": "HS256",
        "key_ops": ["verify"],  # Auth demands that exactly one key signs
        "k": _base64url(secret.encode()),
    }
    return {
        "POSTGRES_PASSWORD": secrets.token_hex(24),  # hexadecimal, since they stand in URLs
        "RUNNER_PASSWORD": secrets.token_hex(24),
        "JWT_SECRET": secret,
        "JWT_KEYS": _dump([signing, shared]),
        "JWT_JWKS": _dump({"keys": [public, shared]}),
        "ANON_KEY": _role_token("anon", secret, issued),
        "SERVICE_ROLE_KEY": _role_token("service_role", secret, issued),
        "SUPABASE_PUBLISHABLE_KEY": opaque_key("sb_publishable_"),
        "SUPABASE_SECRET_KEY": opaque_key("sb_secret_"),
        "PG_META_CRYPTO_KEY": secrets.token_hex(24),
    }


def opaque_key(prefix: str) -> str:
    """A key in the form of Supabase's self-hosted stack: prefix, 22 random characters, `_`, 8 of a checksum."""
    random = _base64url(secrets.token_bytes(17))[:22]
    return f"{prefix}{random}_{_checksum(prefix + random)}"


def compose_file(made: Mapping[str, str], public_url: str) -> str:
    """The text of an .env file: the template with its empty secrets filled in.

    On this machine's own address the mail catcher is on; elsewhere SMTP_HOST stays empty, which compose refuses.
    """
    near = _is_near(public_url)
    values = {
        **made,
        "PUBLIC_URL": public_url,
        "COMPOSE_PROFILES": "dev" if near else "",
        "SMTP_HOST": "mailpit" if near else "",
        "SMTP_PORT": "1025" if near else "587",
    }
    lines = []
    for line in TEMPLATE.read_text(encoding="utf-8").splitlines():
        name, separator, _ = line.partition("=")
        if separator and name in values:
            value = values.pop(name)
            # compose would read `$` and `"` in a bare value; in single quotes all stays as it is
            line = f"{name}='{value}'" if value.startswith(("{", "[")) else f"{name}={value}"
        lines.append(line)
    if values:
        raise OperationFailed(
            "template_incomplete", f"{TEMPLATE.name} lacks {', '.join(values)}.", "Put the file back as it was."
        )
    return "\n".join(lines) + "\n"


def find_faults(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the secrets that `environment` has, a sentence each; a value is never repeated.

    Only names that are set are looked at: every service is given no more than it needs.
    """
    given = {name: environment[name] for name in SECRETS if environment.get(name, "")}
    faults = [
        f"{name} is a published example."
        for name, value in given.items()
        if any(value.lower().startswith(known) for known in PUBLISHED)
    ]
    for name in ("POSTGRES_PASSWORD", "RUNNER_PASSWORD"):
        value = given.get(name, "")
        if value and (len(value) < 16 or not set(value) <= HEX):
            faults.append(f"{name} must be 16 or more hexadecimal digits: it stands in addresses.")
    for name, prefix in (("SUPABASE_PUBLISHABLE_KEY", "sb_publishable_"), ("SUPABASE_SECRET_KEY", "sb_secret_")):
        if name in given and not _is_opaque(given[name], prefix):
            faults.append(f"{name} is no key of the form {prefix}…, or was cut.")
    if 0 < len(given.get("JWT_SECRET", "")) < 32:
        faults.append("JWT_SECRET must have 32 characters or more.")
    for name, role in (("ANON_KEY", "anon"), ("SERVICE_ROLE_KEY", "service_role")):
        if name in given:
            faults += _judge_token(name, role, given[name], given.get("JWT_SECRET"))
    return faults + _judge_key_sets(given)


def _check(as_json: bool) -> None:
    found = [name for name in SECRETS if os.environ.get(name)]
    faults = find_faults(os.environ)
    if not found:
        raise SettingsError(
            "no_keys", "The environment has none of these keys.", "Load them: `set -a; . ./.env; set +a`."
        )
    if faults:
        raise SettingsError("keys_refused", " ".join(faults), "Make new ones: `instashare keys --write FILE`.")
    notice(f"{len(found)} keys fit together.", as_json)
    answer({"ok": True, "names": found}, as_json, lambda console: None)


def _judge_token(name: str, role: str, token: str, secret: str | None) -> list[str]:
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return [f"{name} is no token."]
    if claims.get("iss") == "supabase-demo":
        return [f"{name} is a published example."]
    faults = [] if claims.get("role") == role else [f"{name} is not of the role {role}."]
    if secret is not None and len(secret) >= 32:
        try:
            jwt.decode(token, secret, algorithms=["HS256"], options={"verify_exp": False, "verify_aud": False})
        except jwt.InvalidTokenError:
            faults.append(f"{name} is not signed with JWT_SECRET.")
    left = float(claims.get("exp", 0)) - time.time()
    if left < SOON_SECONDS:
        faults.append(f"{name} has ended." if left < 0 else f"{name} ends in {left / 86400:.0f} days.")
    return faults


def _judge_key_sets(given: Mapping[str, str]) -> list[str]:
    try:
        private = json.loads(given["JWT_KEYS"]) if "JWT_KEYS" in given else None
        public = json.loads(given["JWT_JWKS"])["keys"] if "JWT_JWKS" in given else None
        faults = []
        if private is not None and sum("sign" in key.get("key_ops", ()) for key in private) != 1:
            faults.append("JWT_KEYS must hold exactly one key that signs.")
        if public is not None and any("d" in key for key in public):
            faults.append("JWT_JWKS holds a private key.")
        if private is not None and public is not None:
            known = {key["kid"]: key.get("x") or key.get("k") for key in public}
            if any(known.get(key["kid"]) != (key.get("x") or key.get("k")) for key in private):
                faults.append("JWT_JWKS lacks a key of JWT_KEYS: what Auth signs would be refused.")
        secret = given.get("JWT_SECRET")
        shared = [key["k"] for key in (private or []) + (public or []) if key.get("kty") == "oct"]
        if secret is not None and any(key != _base64url(secret.encode()) for key in shared):
            faults.append("JWT_KEYS and JWT_JWKS hold another secret than JWT_SECRET.")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["JWT_KEYS or JWT_JWKS is no key set."]
    return faults


def _key_pair() -> tuple[dict[str, Any], dict[str, Any]]:
    """A private EC P-256 key as a JWK that signs, and its public half."""
    jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    named = {"kid": str(uuid.uuid4()), "use": "sig", "alg": "ES256"}
    public = {name: value for name, value in jwk.items() if name in ("kty", "crv", "x", "y")}
    private = {**public, "d": jwk["d"], **named, "key_ops": ["sign", "verify"]}
    return private, {**public, **named, "key_ops": ["verify"]}


def _role_token(role: str, secret: str, issued: int) -> str:
    claims = {"role": role, "iss": "supabase", "iat": issued, "exp": issued + TEN_YEARS}
    return jwt.encode(claims, secret, algorithm="HS256")


def _is_opaque(key: str, prefix: str) -> bool:
    body = key[: len(prefix) + 22]  # by length: the random part and the checksum may hold a `_` themselves
    return key.startswith(prefix) and key == f"{body}_{_checksum(body)}"


def _checksum(body: str) -> str:
    return _base64url(hashlib.sha256(f"supabase-self-hosted|{body}".encode()).digest())[:8]


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _public_url(url: str) -> str:
    try:
        parts = urlsplit(url.strip().rstrip("/"))
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("url_malformed", "--url is no web address.", "For example https://docs.example.com") from None
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.path
        or parts.query
        or parts.fragment
        or parts.username
    ):
        raise UsageError(
            "url_malformed", "--url must be scheme and host alone.", "For example https://docs.example.com"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}" if port != 0 else f"{parts.scheme}://{host}"


def _is_near(public_url: str) -> bool:
    return urlsplit(public_url).hostname in ("localhost", "127.0.0.1", "::1")


def _write_new(path: Path, text: str) -> None:
    """Make a file that only its owner can read, and never touch one that is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise OperationFailed(
            "file_exists",
            f"{path} is there already; nothing was changed.",
            "New keys end every session and signed link, and the database keeps its old password: move the file away "
            "only to begin anew. docs/self-hosting.md tells how to change one key.",
        ) from None
    except OSError as error:
        raise OperationFailed("not_written", f"{path} cannot be written ({error.strerror}).") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
