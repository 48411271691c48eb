"""Where the links in mails lead: through the gateway to Auth, and from there to the web client.

A link that nobody was sent is followed without a session: Auth answers by sending the visitor on with an error, and so
tells where it would send everybody. `doctor --thorough` also makes an account at example.invalid, has Auth make its
link without mailing it, looks at it, and deletes the account.
"""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.target import Target

__all__ = ["check_mail_links"]

SECONDS = 6.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
AFTER_CONFIRMING = "/confirmed"  # where web/ asks Auth to send people


def check_mail_links(
    target: Target, environment: Mapping[str, str] | None = None, *, make_one: bool = False
) -> list[Check]:
    """The checks `mail.*`; none where Auth does not answer (its own checks fail)."""
    given = os.environ if environment is None else environment
    url = (target.get("SUPABASE_URL") or "").rstrip("/")
    if not url.startswith(("http://", "https://")):
        return []
    web = _web_address(target, given)
    try:
        with httpx.Client(timeout=SECONDS, follow_redirects=False) as client:
            found = _follow(client, url, web)
            if make_one:
                found.append(_make(client, target, url))
            return found
    except (httpx.HTTPError, httpx.InvalidURL):
        return []


def _web_address(target: Target, environment: Mapping[str, str]) -> str | None:
    """Where the web client is: WEB_URL, the local stack's, or the origin under which a deployment has its API."""
    if told := environment.get("WEB_URL", "").strip().rstrip("/"):
        return told
    if target.is_local and target.local:
        return target.local.web_url
    backend = (target.get("BACKEND_URL") or "").rstrip("/")
    return backend.removesuffix("/api") if backend.endswith("/api") else None


def _follow(client: httpx.Client, url: str, web: str | None) -> list[Check]:
    asked = {"token": secrets.token_hex(28), "type": "recovery"}
    route = client.get(f"{url}/auth/v1/verify", params=asked)
    place = route.headers.get("location", "")
    if route.status_code not in (302, 303) or not place:
        words = f"/auth/v1/verify answers {route.status_code} to a link without a key, as browsers bring none."
        return [fail("mail.route", words, "Let the gateway pass /auth/v1/verify on to Auth without asking for a key.")]
    found = [passed("mail.route", "Links in mails reach Auth.")]
    site = place.partition("#")[0].partition("?")[0].rstrip("/")
    far = urlsplit(url).hostname not in LOOPBACK
    cure = f"Set Auth's site URL (GOTRUE_SITE_URL, or URL Configuration in the dashboard) to {web or 'the web client'}."
    if far and urlsplit(site).hostname in LOOPBACK:
        return [*found, fail("mail.site_url", f"Links in mails end at {site}, on the reader's own machine.", cure)]
    if web is None:
        note = "Set WEB_URL to the web client's address to have that compared."
        return [*found, passed("mail.site_url", f"Links in mails end at {site}. Note: {note}")]
    if _origin(site) != _origin(web):
        return [*found, fail("mail.site_url", f"Links in mails end at {site}, but the web client is at {web}.", cure)]
    found.append(passed("mail.site_url", f"Links in mails end at {site}."))
    wanted = f"{web}{AFTER_CONFIRMING}"
    back = client.get(f"{url}/auth/v1/verify", params={**asked, "redirect_to": wanted})
    if not back.headers.get("location", "").startswith(wanted):
        cure = f"Add {web}/** to Auth's redirect URLs (GOTRUE_URI_ALLOW_LIST, or URL Configuration in the dashboard)."
        return [*found, fail("mail.redirects", f"Auth sends nobody on to {wanted}.", cure)]
    return [*found, passed("mail.redirects", "People come back to the page that asked for the mail.")]


def _make(client: httpx.Client, target: Target, url: str) -> Check:
    name, headers = "mail.link", {"apikey": target.get("SUPABASE_SECRET_KEY") or ""}
    email = f"doctor-{uuid.uuid4().hex[:12]}@example.invalid"
    person = {"email": email, "password": secrets.token_urlsafe(24), "email_confirm": True}
    made = client.post(f"{url}/auth/v1/admin/users", headers=headers, json=person)
    if made.status_code not in (200, 201):
        return fail(name, f"Auth's admin API answers {made.status_code}.", "Look at Auth's log, and at the secret key.")
    try:
        asked = {"type": "magiclink", "email": email}
        told = client.post(f"{url}/auth/v1/admin/generate_link", headers=headers, json=asked).json()
        link = str(told.get("action_link") or told.get("properties", {}).get("action_link", ""))
    except ValueError:
        link = ""
    finally:
        client.delete(f"{url}/auth/v1/admin/users/{made.json()['id']}", headers=headers)
    shown = link.partition("?")[0]
    public = (target.get("SUPABASE_PUBLIC_URL") or url).rstrip("/")
    if shown != f"{public}/auth/v1/verify":
        cure = (
            f"Set API_EXTERNAL_URL to {public}/auth/v1 and GOTRUE_MAILER_URLPATHS_* to /auth/v1/verify: readers of the "
            "mail can open nothing else."
        )
        return fail(name, f"Auth makes links that begin with {shown[:120] or 'nothing'}.", cure)
    return passed(name, f"Links begin with {shown}.")


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    host = "127.0.0.1" if parts.hostname in LOOPBACK else parts.hostname or ""
    return parts.scheme, f"{host}:{parts.port}"
