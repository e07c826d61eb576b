"""Name resolution, address selection and connect timeouts."""

import asyncio
import socket

import pytest

from container.http_client.client import Client, Connector, Names
from container.http_client.request import CannotConnect, ConnectTimeout, Place
from tests.container.http_client.support import HELLO
from tests.fakes.server import refusing_port
from tests.ipv6 import needs_ipv6

PLACE = Place(False, "localhost", 80)


def address(port: int, host: str = "127.0.0.1"):
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)


class Counting(Names):
    def __init__(self, *answers) -> None:
        super().__init__()
        self.asked = 0
        self.answers = answers

    async def _look_up(self, place):
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.answers:
            self._known[place] = asyncio.get_running_loop().time() + 60, self.answers
            return self.answers
        return await super()._look_up(place)


async def test_name_is_resolved_once_and_cached():
    names = Counting()
    found = await asyncio.gather(*[names.find(PLACE) for _ in range(10)])
    assert names.asked == 1
    assert found[0]
    assert await names.find(PLACE) == found[0]
    assert names.asked == 1
    names.forget(PLACE)
    await names.find(PLACE)
    assert names.asked == 2


async def test_name_is_resolved_again_after_its_lifetime(monkeypatch):
    monkeypatch.setattr("container.http_client.client.DNS_SECONDS", 0.02)
    names = Counting()
    await names.find(PLACE)
    await asyncio.sleep(0.05)
    await names.find(PLACE)
    assert names.asked == 2


async def test_cancelled_request_does_not_end_the_lookup_for_others():
    names = Counting()
    first = asyncio.create_task(names.find(PLACE))
    second = asyncio.create_task(names.find(PLACE))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert names.asked == 1


async def test_failed_lookup_is_not_cached():
    names = Counting()
    for _ in range(2):
        with pytest.raises(OSError):
            await names.find(Place(False, "nonesuch.invalid", 80))
    assert names.asked == 2


async def test_next_address_is_tried_when_one_does_not_answer(client, say):
    server = await say(HELLO)
    with refusing_port() as port:
        client._connector._names = Counting(address(port), address(server.port))
        assert await (await client.post("http://two.example/", b"", {})).read() == b"hello"


async def test_unreachable_addresses_are_resolved_again(client):
    with refusing_port() as port:
        client._connector._names = names = Counting(address(port))
        for _ in range(2):
            with pytest.raises(CannotConnect):
                await client.post("http://gone.example/", b"", {})
    assert names.asked == 2


async def test_lookup_counts_towards_the_connect_timeout():
    class Slow(Names):
        async def _look_up(self, place):
            await asyncio.sleep(60)
            raise AssertionError("nobody waits that long")

    client = Client(connect_timeout=0.05)
    client._connector._names = Slow()
    with pytest.raises(ConnectTimeout):
        await client.post("http://slow.example/", b"", {})
    await client.close()


@needs_ipv6
async def test_both_address_families_are_tried():
    listener = await asyncio.start_server(lambda r, w: w.close(), "::1", 0)
    port = listener.sockets[0].getsockname()[1]
    made = asyncio.get_running_loop().create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            made.set_result(transport)

    with refusing_port() as refusing:
        connector = Connector(5)
        six = socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)
        connector._names = Counting(address(refusing), six)
        await connector.connect(PLACE, Protocol())
    transport = await made
    assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    transport.abort()
    listener.close()
