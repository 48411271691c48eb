"""Whether what the database encrypts can still be read: its key lies outside of it, in a volume of its own.

Supabase's image keeps the key in `/etc/postgresql-custom/pgsodium_root.key`. A server that cannot read the file does
not start; one that has the file of another volume starts, and fails where a secret is decrypted. That shows from here.
"""

from __future__ import annotations

import psycopg

from jobs import queries
from jobs.cli.connection import Connection
from jobs.cli.doctor.check import Check, fail, passed

__all__ = ["check_vault"]

CURE = (
    "Put back the volume db-config (pgsodium_root.key) that belongs to this data, from the same backup; without it "
    "what Vault holds is lost, and its secrets must be made anew."
)


def check_vault(connection: Connection) -> list[Check]:
    """The check `encryption_key`; InstaShare itself keeps nothing in Vault, but Supabase's extensions may."""
    name, texts = "encryption_key", queries.load("doctor")
    row = connection.execute(texts["has_vault"]).fetchone()
    if not row or not row[0]:
        return [passed(name, "The database has no Vault: nothing is encrypted by a key outside of it.")]
    try:
        with connection.transaction():
            counted = connection.execute(texts["count_secrets"]).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return [passed(name, "Vault is not open to this login: its key was not tried.")]
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        words = error.diag.message_primary or type(error).__name__
        return [fail(name, f"Vault's secrets cannot be decrypted: {words}.", CURE)]
    secrets, unreadable = counted or (0, 0)
    if unreadable:
        return [fail(name, f"{unreadable} of Vault's secrets cannot be decrypted.", CURE)]
    if not secrets:
        return [passed(name, "Vault is empty: its key was not tried, and nothing depends on it.")]
    return [passed(name, f"Vault's secrets ({secrets}) can be decrypted.")]
