"""Which installation SUPABASE_URL leads to, as the secret key's holder may ask through REST."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from jobs.errors import SettingsError

__all__ = ["Unreachable", "installation_at"]


class Unreachable(OSError):
    """The address does not answer, or not yet as it should; waiting may help."""


def installation_at(supabase_url: str, secret_key: str, *, timeout: float = 10.0) -> str:
    """The installation's id, by POST /rest/v1/rpc/installation_id.

    Raises SettingsError when the key is refused, for no waiting cures that, and Unreachable for everything else.
    """
    headers = {"apikey": secret_key, "Content-Type": "application/json", "Accept": "application/json"}
    if not secret_key.startswith("sb_"):  # a legacy key is itself the token
        headers["Authorization"] = f"Bearer {secret_key}"
    request = urllib.request.Request(f"{supabase_url}/rest/v1/rpc/installation_id", b"{}", headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = json.loads(response.read(10_000))
    except urllib.error.HTTPError as error:
        with error:
            error.read(10_000)
        if error.code in (401, 403):
            raise SettingsError(
                "secret_key_refused",
                f"SUPABASE_URL answered {error.code} to SUPABASE_SECRET_KEY: the key belongs to another project, was "
                "revoked, or is not a secret key.",
                "Copy the secret key of the same project (`instashare keys` shows a local stack's).",
            ) from None
        if error.code == 404:
            raise Unreachable("SUPABASE_URL does not know installation_id: its database is not migrated yet") from None
        raise Unreachable(f"SUPABASE_URL answered {error.code}") from None
    except (OSError, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"SUPABASE_URL does not answer: {reason}") from None
    if not isinstance(answer, str):
        raise Unreachable("SUPABASE_URL does not answer as a database of this program does")
    return answer
