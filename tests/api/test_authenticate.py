"""Authentication of a request."""

import pytest

from worker.core.api import auth
from worker.core.api.auth import presented_key, refusal_without_master_key, require_master_key, same_secret
from worker.core.api.errors import ApiError


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"authorization": "Bearer a"}, "a"),
        ({"authorization": "bearer a"}, "a"),
        ({"authorization": "BEARER   a  "}, "a"),
        ({"authorization": " Bearer a b"}, "a b"),
        ({"authorization": "a"}, None),
        ({"authorization": "Bearer"}, None),
        ({"authorization": "Bearer "}, None),
        ({"authorization": "Basic a"}, None),
        ({"authorization": "Basic a", "x-api-key": "b"}, "b"),
        ({"authorization": "", "api-key": "c"}, "c"),
        ({"x-api-key": "b"}, "b"),
        ({"api-key": "c"}, "c"),
        ({"x-api-key": "b", "api-key": "c"}, "b"),
        ({"authorization": "Bearer a", "x-api-key": "b", "api-key": "c"}, "a"),
        ({"x-api-key": "", "api-key": ""}, None),
    ],
)
def test_the_key_is_read_from_three_headers_in_order(headers, key):
    assert presented_key(headers.get) == key


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("", "a", False),
        ("a", "", False),
        ("ü", "ü", True),
        ("ü", "u", False),
        ("\udcff", "\udcff", True),
        ("a" * 1000, "a" * 1000, True),
        ("a" * 1000, "a" * 999, False),
    ],
)
def test_secrets_are_compared(given, expected, same):
    assert same_secret(given, expected) is same


def test_secrets_are_compared_in_constant_time(monkeypatch):
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return True

    monkeypatch.setattr(auth.hmac, "compare_digest", compare)
    assert same_secret("x", "y")
    assert compared == [(b"x", b"y")]


@pytest.mark.parametrize("given", [None, "", "sk-wrong", "sk-right "])
def test_anything_but_the_master_key_is_401(given):
    with pytest.raises(ApiError) as caught:
        require_master_key(given, "sk-right")
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert caught.value.headers == [("www-authenticate", "Bearer"), ("x-should-retry", "false")]
    assert "sk-right" not in caught.value.message


def test_the_master_key_is_accepted():
    require_master_key("sk-right", "sk-right")


@pytest.mark.parametrize(
    ("master_key", "local", "refused"),
    [
        (None, True, True),
        (None, False, True),
        ("", False, True),
        ("sk-1234", False, True),
        ("sk-1234", True, False),
        ("sk-12345", False, False),
        ("sk-right", False, False),
    ],
)
def test_an_unsafe_master_key_refuses_all_requests(master_key, local, refused):
    refusal = refusal_without_master_key(master_key, local=local)
    assert (refusal is not None) is refused
    if refusal is not None:
        assert refusal.status == 503
        assert "LITELLM_MASTER_KEY" in refusal.message
        assert refusal.headers == [("retry-after", "60")]
