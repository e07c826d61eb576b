"""Listening addresses of the proxy, and errors when they are unavailable."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from container.cli.serve import _alone
from container.config.document import CannotServe
from container.proxy.process import Launch
from container.server.http import listen
from container.server.settings import read
from tests.ipv6 import needs_ipv6


@pytest.fixture
def bound() -> Iterator[ExitStack]:
    """Closes the sockets after the test."""
    with ExitStack() as stack:
        yield stack


def listening(bound: ExitStack, host: str, port: int = 0) -> list[socket.socket]:
    sockets = [bound.enter_context(one) for one in listen(host, port)]
    for one in sockets:
        one.listen()
    return sockets


def reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def taken(bound: ExitStack, host: str = "127.0.0.1") -> int:
    """A port on which another process listens."""
    other = bound.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    other.bind((host, 0))
    other.listen()
    return other.getsockname()[1]


def test_address_listens_only_there(bound):
    [one] = listening(bound, "127.0.0.1")
    port = one.getsockname()[1]
    assert one.getsockname()[0] == "127.0.0.1"
    assert reachable("127.0.0.1", port)
    assert not reachable("::1", port)
    assert not one.getblocking()


@needs_ipv6
def test_double_colon_listens_on_every_address_including_ipv4(bound):
    [one] = listening(bound, "::")
    port = one.getsockname()[1]
    assert reachable("127.0.0.1", port)
    assert reachable("::1", port)


def test_four_zeros_listen_on_every_ipv4_address(bound):
    [one] = listening(bound, "0.0.0.0")
    assert reachable("127.0.0.1", one.getsockname()[1])


def test_localhost_listens_on_every_loopback_address(bound):
    sockets = listening(bound, "localhost")
    addresses = {one.getsockname()[0] for one in sockets}
    assert "127.0.0.1" in addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_occupied_port_is_reported(bound):
    port = taken(bound)
    with pytest.raises(CannotServe) as caught:
        listen("127.0.0.1", port)
    said = str(caught.value)
    assert said == f"Cannot listen on 127.0.0.1 port {port}: Address already in use. Choose another with --port."


@pytest.mark.parametrize("other", ["127.0.0.1", "0.0.0.0", pytest.param("::1", marks=needs_ipv6)])
def test_wildcard_address_is_not_narrowed_when_one_family_is_occupied(bound, other):
    port = taken(bound, other)
    with pytest.raises(CannotServe) as caught:
        listen("::", port)
    assert f"Cannot listen on :: port {port}" in str(caught.value)


class Forbidden(socket.socket):
    """A socket of a user without permission for the port. Which user that is depends on the machine."""

    def bind(self, address) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_forbidden_port_is_reported(monkeypatch):
    monkeypatch.setattr("socket.socket", Forbidden)
    with pytest.raises(CannotServe, match="Permission denied"):
        listen("127.0.0.1", 1)


@pytest.mark.parametrize("host", ["nonesuch.invalid", "300.1.1.1", "192.0.2.1"])
def test_foreign_address_is_reported(host):
    with pytest.raises(CannotServe, match=f"Cannot listen on {host} port 0: "):
        listen(host, 0)


class NoIPv6(socket.socket):
    """A socket on a machine with IPv6 disabled."""

    def bind(self, address) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        super().bind(address)


def without_ipv6(host: str, port: int, **_: object) -> list:
    v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if host == "localhost" else "0.0.0.0", port))
    v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1" if host == "localhost" else "::", port, 0, 0))
    return [v6] if host == "::" else [v6, v4] if host == "localhost" else [v4]


@pytest.mark.parametrize(("host", "address"), [("::", "0.0.0.0"), ("localhost", "127.0.0.1")])
def test_ipv4_is_enough_without_ipv6(bound, monkeypatch, host, address):
    monkeypatch.setattr("socket.socket", NoIPv6)
    monkeypatch.setattr("socket.getaddrinfo", without_ipv6)
    [one] = [bound.enter_context(one) for one in listen(host, 0)]
    assert one.getsockname()[0] == address


def test_nothing_stays_bound_after_a_failure(bound, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    port = taken(bound)
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", p)) for p in (free, port)]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: both)
    with pytest.raises(CannotServe):
        listen("127.0.0.1", 0)
    again = bound.enter_context(socket.socket())
    again.bind(("127.0.0.1", free))


async def test_address_occupied_at_the_last_moment_is_reported(bound, load_config, tmp_path):
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": {"model": "x", "mock_response": "hi"}}]})
    [other] = [bound.enter_context(one) for one in listen("127.0.0.1", 0)]
    port = other.getsockname()[1]
    ours = [bound.enter_context(one) for one in listen("127.0.0.1", port)]
    other.listen()
    settings = read({"PORT": str(port), "LEDGER_PATH": str(tmp_path / "ledger.db")})
    with pytest.raises(CannotServe, match=f"Cannot listen on 127.0.0.1 port {port}: Address already in use"):
        await _alone(Launch(config, tmp_path / "config.yaml", settings, {}, ours))
