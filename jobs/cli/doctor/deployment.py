"""What goes wrong around Supabase's services where somebody hosts them himself: logins, secrets, uploads on their way.

The probes store one byte in bucket `archives` under a key that no document has, and remove it again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from urllib.parse import quote

import httpx
import psycopg

from jobs.cli.connection import explain, parse
from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.doctor.connection_strings import is_safe_to_try
from jobs.cli.keys import find_faults
from jobs.cli.target import Target

__all__ = ["check_logins", "check_uploads"]

SERVICE_ROLES = ("authenticator", "supabase_auth_admin", "supabase_storage_admin")
SECONDS = 6.0


def check_logins(target: Target, environment: Mapping[str, str] | None = None) -> list[Check]:
    """With a deployment's .env loaded: whether its secrets fit together and the services' roles have its password."""
    given = os.environ if environment is None else environment
    password, url = given.get("POSTGRES_PASSWORD", ""), target.get("ADMIN_DATABASE_URL") or ""
    if not password:
        return []
    faults = find_faults(given)
    cure = "`instashare keys --check` looks at them alone; docs/self-hosting.md tells how to change one."
    found = [fail("deployment.secrets", " ".join(faults), cure)] if faults else []
    found = found or [passed("deployment.secrets", "They fit together.")]
    if not url or not is_safe_to_try(url):
        return found
    parts = parse(url)
    for role in SERVICE_ROLES:
        name = f"deployment.login.{role}"
        try:
            psycopg.connect(**{**parts, "user": role, "password": password, "connect_timeout": "5"}).close()  # type: ignore[arg-type]
        except psycopg.Error as error:
            cure = (
                "The volume was initialised with another password: put the old .env back, or run as supabase_admin "
                f"`alter role {role} with password '…'`."
            )
            found.append(fail(name, explain(error, role).message, cure))
            break  # one wrong password is enough: more would be the same
        found.append(passed(name, "Logs in with POSTGRES_PASSWORD."))
    return found


def check_uploads(target: Target) -> list[Check]:
    """Whether Storage keeps a byte, and sends a resumable upload on to an address that clients can reach."""
    url, key = (target.get("SUPABASE_URL") or "").rstrip("/"), target.get("SUPABASE_SECRET_KEY") or ""
    if not url.startswith(("http://", "https://")) or not key or not key.isascii() or not key.isprintable():
        return []
    try:
        with httpx.Client(timeout=SECONDS, headers={"apikey": key}) as client:
            bucket = client.get(f"{url}/storage/v1/bucket/archives")
            if bucket.status_code != 200:
                return []  # the check of Storage itself says why
            return [_store(client, url), _resume(client, url)]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return [fail("storage.probe", f"The probe was cut ({type(error).__name__}).", "Look at Storage's log.")]


def _store(client: httpx.Client, url: str) -> Check:
    name, key = "storage.probe", f"doctor/{uuid.uuid4()}"
    stored = client.post(f"{url}/storage/v1/object/archives/{quote(key)}", content=b"x")
    if stored.status_code != 200:
        cure = (
            "500 on a volume of one's own: its file system has no extended attributes, or is full or read-only. "
            "Use ext4, xfs or btrfs; Storage's log says more."
        )
        return fail(name, f"Storage answers {stored.status_code} to an upload of one byte.", cure)
    read = client.get(f"{url}/storage/v1/object/archives/{quote(key)}")
    client.request("DELETE", f"{url}/storage/v1/object/archives", json={"prefixes": [key]})
    if read.status_code != 200 or read.content != b"x":
        return fail(name, f"The byte stored is not what is read ({read.status_code}).", "Look at Storage's log.")
    return passed(name, "Keeps a byte, gives it back and removes it.")


def _resume(client: httpx.Client, url: str) -> Check:
    name = "storage.resumable"
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": "1",
        # bucketName archives, objectName doctor/probe, contentType text/plain
        "Upload-Metadata": "bucketName YXJjaGl2ZXM=,objectName ZG9jdG9yL3Byb2Jl,contentType dGV4dC9wbGFpbg==",
        "x-upsert": "true",
    }
    prefix = f"{url}/storage/v1/upload/resumable"
    created = client.post(prefix, headers=headers)
    if created.status_code != 201:
        cure = "Look at the gateway's route /storage/v1 and at Storage's log; clients send large files this way."
        return fail(name, f"Storage answers {created.status_code} to a resumable upload.", cure)
    location = created.headers.get("location", "")
    if location.startswith("/"):
        location = f"{httpx.URL(url).copy_with(path='/')}".rstrip("/") + location
    if not location.startswith(f"{prefix}/"):
        cure = (
            "Let the proxy in front pass on X-Forwarded-Proto, -Host and -Prefix (/storage/v1) as the client saw them: "
            "scheme, host, port and prefix of the two must be alike."
        )
        return fail(name, f"A resumable upload is sent on to {location[:120]}, not below {prefix}.", cure)
    client.delete(location, headers={"Tus-Resumable": "1.0.0"})
    return passed(name, "Goes on at the same address.")
