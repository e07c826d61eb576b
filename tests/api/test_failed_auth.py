"""Failed authentication per address: counted within a minute, then forgotten, in bounded memory."""

import hmac

import pytest

from worker.core.api import auth
from worker.core.api.auth import MAX_ADDRESSES, WINDOW_SECONDS, FailedAuthLimiter, too_many


def test_the_limit_returns_the_remaining_seconds_and_is_logged_once():
    limiter = FailedAuthLimiter(3)
    assert [limiter.failed("192.0.2.1", at) for at in (0.0, 1.0, 2.0)] == [(0, False)] * 3
    assert limiter.failed("192.0.2.1", 10.0) == (50, True)
    assert limiter.failed("192.0.2.1", 59.9) == (1, False)
    assert limiter.failed("192.0.2.1", WINDOW_SECONDS) == (0, False)


def test_each_address_has_its_own_count():
    limiter = FailedAuthLimiter(1)
    limiter.failed("192.0.2.1", 0.0)
    assert limiter.failed("192.0.2.1", 0.0)[0]
    assert limiter.failed("192.0.2.2", 0.0)[0] == 0


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("no address", "no address", True),
        ("", "", True),
    ],
)
def test_an_ipv6_network_counts_as_one_client(one: str, other: str, together: bool):
    limiter = FailedAuthLimiter(1)
    limiter.failed(one, 0.0)
    assert bool(limiter.failed(other, 0.0)[0]) is together


def test_memory_is_bounded_and_the_oldest_address_is_forgotten():
    limiter = FailedAuthLimiter(1)
    for number in range(MAX_ADDRESSES + 1):
        limiter.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(limiter._counts) == MAX_ADDRESSES
    assert limiter.failed("10.0.0.0", 0.0)[0] == 0, "forgotten"
    assert limiter.failed("10.0.39.16", 0.0)[0] > 0


def test_the_429_error():
    error = too_many(17)
    assert (error.status, error.code, error.headers) == (
        429,
        "too_many_failed_keys",
        [("retry-after", "17"), ("x-should-retry", "false")],
    )


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    assert not auth.same_secret("sk-a", "sk-b")
    assert compared == [(b"sk-a", b"sk-b")]
