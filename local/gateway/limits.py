"""Rate limits of Auth per client address, a hosted project's defaults: a bucket of tokens that refills evenly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

__all__ = ["RateLimits", "limit_of"]

# calls and seconds, https://supabase.com/docs/guides/auth/rate-limits
LIMITS = {"sign_in": (30, 300), "refresh": (150, 300), "verify": (30, 300), "mail": (30, 3600)}
MAILS = {"/otp", "/magiclink", "/recover", "/resend"}
REMEMBERED = 10_000


def limit_of(method: str, path: str, grant: str) -> str | None:
    """Which limit a call falls under; `path` without the prefix `/auth/v1`, `grant` its grant_type."""
    if path == "/verify":
        return "verify"
    if method != "POST":
        return None
    if path == "/signup":
        return "sign_in"
    if path == "/token":
        return "refresh" if grant == "refresh_token" else "sign_in"
    return "mail" if path in MAILS else None


class RateLimits:
    """Counts calls. `clock` answers seconds and is there for tests; with `enabled` false nothing is ever refused."""

    def __init__(self, enabled: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._enabled, self._clock = enabled, clock
        self._left: dict[tuple[str, str], tuple[float, float]] = {}

    def wait(self, client: str, limit: str | None) -> int:
        """Count one call; 0 when it may go on, else the seconds until the next one may."""
        if not self._enabled or limit is None:
            return 0
        calls, seconds = LIMITS[limit]
        now = self._clock()
        left, at = self._left.get((client, limit), (float(calls), now))
        left = min(float(calls), left + (now - at) * calls / seconds)
        allowed = left >= 1
        self._left[(client, limit)] = (left - 1 if allowed else left, now)
        if len(self._left) > REMEMBERED:
            self._forget(now)
        return 0 if allowed else max(1, math.ceil((1 - left) * seconds / calls))

    def _forget(self, now: float) -> None:
        longest = max(seconds for _, seconds in LIMITS.values())
        self._left = {key: kept for key, kept in self._left.items() if now - kept[1] < longest}
