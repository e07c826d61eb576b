"""The client address of a request. Only trusted proxies can set it."""

import pytest

from container.server import settings
from container.server.auth import client_address

TRUSTED = settings.networks("10.0.0.0/8, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),  # an untrusted peer sends a forged header
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),  # the first entry was written by the client
        ("10.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("10.0.0.1", " , ", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "nonsense", "nonsense"),
        # The port changes with every connection.
        ("10.0.0.1", "198.51.100.1:5123", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1:5123, 10.0.0.7:80", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:5123", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        (None, "198.51.100.1", ""),
    ],
)
def test_nearest_untrusted_address_is_the_client(peer, forwarded, found):
    assert client_address(peer, {"x-forwarded-for": forwarded}.get, TRUSTED) == found


def test_header_is_ignored_without_trusted_proxies():
    assert client_address("10.0.0.1", {"x-forwarded-for": "198.51.100.1"}.get, ()) == "10.0.0.1"


@pytest.mark.parametrize("text", ["10.0.0.0/33", "example.com", "10.0.0.1/8", "10.0.0.0/8 192.0.2.1"])
def test_invalid_network_is_rejected(text):
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8"):
        settings.networks(text)
