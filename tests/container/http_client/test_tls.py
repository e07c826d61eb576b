"""HTTPS with a custom certificate authority."""

import asyncio
import datetime
import socket
import ssl

import pytest
import trustme

from container.http_client.client import Client
from container.http_client.request import CannotConnect, ConnectTimeout
from tests.container.http_client.support import HELLO, ask

EXPIRED = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def client(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    one = Client(connect_timeout=5, context=context)
    yield one
    await one.close()


@pytest.fixture
def serving(authority, serve):
    """`await serving("name", …)`: a server with a certificate for these names. `names`: the server names sent by
    clients."""

    async def one(*names: str, issuer: trustme.CA | None = None, answer: bytes = HELLO, close: bool = False, **more):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        (issuer or authority).issue_cert(*names, **more).configure_cert(context)
        asked: list[str | None] = []
        context.sni_callback = lambda _, name, __: asked.append(name)

        async def script(reader, writer):
            while True:
                await server.request(reader)
                writer.write(answer)
                if close:
                    return

        server = await serve(script, tls=context)
        server.names = asked
        return server

    return one


async def test_a_trusted_certificate(client, serving):
    server = await serving("localhost")
    for _ in range(3):
        assert await ask(client, f"https://localhost:{server.port}/") == b"hello"
    assert (server.connections, server.names) == (1, ["localhost"])


async def test_certificate_for_an_ip_address(client, serving):
    server = await serving("127.0.0.1")
    assert await ask(client, server.url) == b"hello"


async def test_trailing_dot_of_a_name_is_ignored(client, serving, monkeypatch):
    server = await serving("a.example")

    async def here(_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    monkeypatch.setattr(client._connector._names, "_look_up", here)
    assert await ask(client, f"https://a.example.:{server.port}/") == b"hello"
    assert server.names == ["a.example"]


@pytest.mark.parametrize(
    "certificate",
    [
        {"names": ["other.example"]},
        {"names": ["localhost"]},  # the address is resolved
        {"names": ["127.0.0.1"], "not_after": EXPIRED, "not_before": EXPIRED - datetime.timedelta(days=1)},
        {"names": ["127.0.0.1"], "issuer": trustme.CA()},
    ],
    ids=["another name", "another kind of name", "expired", "another authority"],
)
async def test_nothing_is_sent_to_an_untrusted_server(client, serving, certificate):
    server = await serving(*certificate.pop("names"), **certificate)
    with pytest.raises(CannotConnect):
        await ask(client, server.url)
    assert not server.requests
    assert not client._open


async def test_system_authorities_are_trusted_by_default(serving):
    server = await serving("127.0.0.1")
    client = Client(connect_timeout=5)
    with pytest.raises(CannotConnect):
        await ask(client, server.url)
    await client.close()
    assert not server.requests


async def test_plain_http_instead_of_tls_is_a_connect_error(client, serve):
    async def script(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(100)

    server = await serve(script)
    with pytest.raises(CannotConnect):
        await ask(client, server.url.replace("http:", "https:"))


async def test_handshake_has_a_timeout(serve):
    async def script(reader, writer):
        await reader.read(10_000)
        await asyncio.sleep(60)

    server = await serve(script)
    client = Client(connect_timeout=0.2)
    with pytest.raises(ConnectTimeout):
        await ask(client, server.url.replace("http:", "https:"))
    await client.close()


async def test_large_request_and_large_response(client, serving):
    size = 8 * 1024 * 1024
    server = await serving("127.0.0.1", answer=b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
    assert len(await ask(client, server.url, bytes(size))) == size
    assert server.requests[0][1] == bytes(size)


async def test_body_that_ends_with_its_connection(client, serving):
    server = await serving("127.0.0.1", answer=b"HTTP/1.1 200 OK\r\n\r\nhello", close=True)
    assert await ask(client, server.url) == b"hello"


async def test_connection_closed_by_the_server_is_skipped(client, serving):
    server = await serving("127.0.0.1", close=True)
    for _ in range(5):
        assert await ask(client, server.url) == b"hello"
    assert server.connections == 5


async def test_cancelled_request_closes_its_connection(client, serving):
    server = await serving("127.0.0.1", answer=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    response = await client.post(server.url, b"", {})
    response.close()
    await asyncio.wait_for(server.left.wait(), 5)
    assert not client._open
