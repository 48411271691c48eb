"""Rate limits are counted by client and kind of call, and refill with time."""

from __future__ import annotations

import pytest

from local.gateway.limits import LIMITS, RateLimits, limit_of


@pytest.mark.parametrize(
    ("method", "path", "grant", "limit"),
    [
        ("POST", "/token", "password", "sign_in"),
        ("POST", "/token", "refresh_token", "refresh"),
        ("POST", "/signup", "", "sign_in"),
        ("GET", "/verify", "", "verify"),
        ("POST", "/verify", "", "verify"),
        ("POST", "/recover", "", "mail"),
        ("POST", "/resend", "", "mail"),
        ("GET", "/user", "", None),
        ("GET", "/signup", "", None),
        ("POST", "/logout", "", None),
    ],
)
def test_which_limit_a_call_falls_under(method: str, path: str, grant: str, limit: str | None) -> None:
    assert limit_of(method, path, grant) == limit


def test_bucket_empties_and_refills() -> None:
    now = [100.0]
    limits = RateLimits(clock=lambda: now[0])
    calls, seconds = LIMITS["sign_in"]
    assert [limits.wait("a", "sign_in") for _ in range(calls)] == [0] * calls
    wait = limits.wait("a", "sign_in")
    assert wait == seconds / calls
    assert limits.wait("b", "sign_in") == 0 and limits.wait("a", "refresh") == 0
    now[0] += wait
    assert limits.wait("a", "sign_in") == 0
    assert limits.wait("a", "sign_in") > 0
    now[0] += 10 * seconds
    assert [limits.wait("a", "sign_in") for _ in range(calls + 1)].count(0) == calls


def test_off_and_unlimited_calls_never_wait() -> None:
    off, on = RateLimits(enabled=False), RateLimits()
    assert not any(off.wait("a", "mail") for _ in range(1000))
    assert not any(on.wait("a", None) for _ in range(1000))
