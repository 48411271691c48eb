"""Faults that a connection string shows before anybody connects with it. Nothing here repeats a password."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import unquote

from jobs.cli.connection import parse
from jobs.errors import SettingsError

__all__ = ["find_fault", "is_safe_to_try", "project_ref"]

ENCODE = "Percent-encode the password: @ is %40, : %3A, / %2F, # %23, ? %3F, % %25."
FORM = "The form is postgresql://user:password@host:port/database."
PUBLISHED_PASSWORDS = ("your-super-secret", "this_password_is_insecure", "supabaserealtime", "[your-password]")
DIRECT_HOST = re.compile(r"^db\.([a-z0-9]{16,24})\.supabase\.(?:co|red|com)$")
PROJECT_HOST = re.compile(r"^([a-z0-9]{16,24})\.supabase\.(?:co|red|com)$")


def project_ref(host: str, user: str = "") -> str | None:
    """The hosted project's ref in a host name (of the project or its database) or behind a pooler's user; else None."""
    if match := DIRECT_HOST.match(host) or PROJECT_HOST.match(host):
        return match[1]
    return user.partition(".")[2] or None if host.endswith(".pooler.supabase.com") else None


def find_fault(value: str, role: str, supabase_ref: str | None = None) -> tuple[str, str] | None:
    """What is wrong with a connection string, and the cure; None where nothing shows.

    `role` is who should log in (`instashare_runner` or `postgres`), `supabase_ref` the project that SUPABASE_URL names.
    """
    return _find_form_fault(value) or _find_meaning_fault(parse(value), role, supabase_ref)


def is_safe_to_try(value: str) -> bool:
    """Whether to connect at all: a password cut in pieces would be looked up as a host name, for all to see."""
    text = value.strip()
    return _find_form_fault(text.replace("postgres://", "postgresql://", 1)) is None


def _find_form_fault(value: str) -> tuple[str, str] | None:
    if value != value.strip():
        return "A stray newline or blank surrounds the value.", "Remove it; `printf %s` writes none."
    if value[:1] in "'\"" or value[-1:] in "'\"":
        return "Quotes surround the value.", "Remove them: an .env file's quotes are not a shell's."
    scheme, separator, rest = value.partition("://")
    if not separator:
        return "It is no address.", FORM
    if scheme == "postgres":
        return (
            "The scheme is postgres://, which SQLAlchemy and others refuse.",
            "Write postgresql:// instead.",
        )
    if scheme != "postgresql":
        return f"The scheme {scheme}:// is another library's (SQLAlchemy's, say).", "Write postgresql:// instead."
    # the last @ before any / or ? that follows it ends the password, if the password is encoded
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest and ("@" not in authority or authority.count("@") > 1 or "#" in rest.split("?", 1)[0]):
        return "The password holds a character that ends it early.", ENCODE
    user, _, password = authority.rpartition("@")[0].partition(":")
    if re.search(r"%(?![0-9A-Fa-f]{2})", user + password):
        return "The password holds a % that encodes nothing.", ENCODE
    if not password and "password=" not in rest:
        return "There is no password in it.", FORM
    if any(known in unquote(password).lower() for known in PUBLISHED_PASSWORDS):
        return "The password is a published example.", "Put in the real one, and change the database's if it is that."
    try:
        parse(value)
    except SettingsError as error:
        return error.message, error.cure
    return None


def _find_meaning_fault(parts: dict[str, str], role: str, supabase_ref: str | None) -> tuple[str, str] | None:
    host, user, port = parts.get("host", ""), parts.get("user", ""), parts.get("port", "5432")
    name, dot, _ = user.partition(".")
    pooler = host.endswith(".pooler.supabase.com")
    if pooler and not dot:
        return (
            f"A pooler does not know the user {user!r}: `Tenant or user not found`.",
            f"The user is {role}.<project ref>.",
        )
    if dot and DIRECT_HOST.match(host):
        return "The user has a project ref, which only a pooler understands.", f"With this host the user is {role}."
    own = project_ref(host, user)
    if own and supabase_ref and own != supabase_ref:
        return (
            f"It is of project {own}, but SUPABASE_URL is of {supabase_ref}.",
            "Take both from one project: half-right settings would sweep another project's files.",
        )
    if role == "instashare_runner" and name != role:
        return (
            f"The runner would log in as {name!r}, which may do far too much.",
            "Use what `instashare db runner-url` prints.",
        )
    if role == "postgres" and name == "instashare_runner":
        return "This is the runner's role, which may not manage the database.", "Use the string of the role postgres."
    if "sslmode" not in parts and not _is_near(host):
        return (
            "sslmode is missing: the password would travel unprotected where the server allows it.",
            "Append ?sslmode=require.",
        )
    if pooler and port not in ("5432", "6543"):
        return f"A pooler does not listen on port {port}.", "5432 is the session pooler, 6543 the transaction pooler."
    return None


def _is_near(host: str) -> bool:
    """This machine, a private network, or a name without dots such as a compose service."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal"))
    return address.is_private or address.is_loopback
