"""Whom a request is counted for: only a trusted proxy may say that it comes from somebody else."""

import pytest

from container.server import settings
from container.server.client_address import client_address

TRUSTED = settings.networks("10.0.0.0/8, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),  # a stranger names somebody else
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),  # the client has written the first one itself
        ("10.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("10.0.0.1", " , ", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "nonsense", "nonsense"),
        # A port changes with every connection.
        ("10.0.0.1", "198.51.100.1:5123", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1:5123, 10.0.0.7:80", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:5123", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        (None, "198.51.100.1", ""),
    ],
)
def test_the_nearest_that_is_no_trusted_proxy(peer, forwarded, found):
    assert client_address(peer, {"x-forwarded-for": forwarded}.get, TRUSTED) == found


def test_without_trusted_proxies_the_header_means_nothing():
    assert client_address("10.0.0.1", {"x-forwarded-for": "198.51.100.1"}.get, ()) == "10.0.0.1"


@pytest.mark.parametrize("text", ["10.0.0.0/33", "example.com", "10.0.0.1/8", "10.0.0.0/8 192.0.2.1"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8"):
        settings.networks(text)
