"""Requests through a real HTTP proxy on loopback: tunnels for https, full addresses for http, and what can fail."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import trustme

from container.http_client.client import Client
from container.http_client.request import CannotConnect, ConnectTimeout, Proxies, ProxyFailed, proxy
from tests.container.http_client.conftest import Server
from tests.container.http_client.support import HELLO, ask
from tests.fakes.http_proxy import HttpProxy
from tests.fakes.server import refusing_port

HOST = "api.example"
CREDENTIALS = "me:s3cret-of-the-proxy"
Through = Callable[..., Client]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def between() -> Iterator[HttpProxy]:
    with HttpProxy(credentials=CREDENTIALS) as one:
        yield one


@pytest.fixture
async def through(authority: trustme.CA) -> AsyncIterator[Through]:
    """`through(port, credentials)`: a client that uses the proxy on this loopback port for everything."""
    clients = []

    def one(port: int, credentials: str = CREDENTIALS, timeout: float = 5) -> Client:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        used = proxy(f"http://{credentials}@127.0.0.1:{port}")
        clients.append(Client(connect_timeout=timeout, context=context, proxies=Proxies(used, used)))
        return clients[-1]

    yield one
    for client in clients:
        await client.close()


@pytest.fixture
def serving(authority: trustme.CA, serve) -> Callable[..., Awaitable[Server]]:
    """`await serving(tls=True)`: a server that says hello, with a certificate for HOST or `name`."""

    async def one(*, tls: bool, name: str = HOST) -> Server:
        context = None
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert(name).configure_cert(context)

        async def script(reader, writer):
            while True:
                await server.request(reader)
                writer.write(HELLO)

        server = await serve(script, tls=context)
        return server

    return one


async def test_https_goes_through_one_tunnel(between, through, serving):
    server = await serving(tls=True)
    between.routes[HOST] = server.port
    client = through(between.port)
    for _ in range(3):
        assert await ask(client, f"https://{HOST}/v1") == b"hello"
    assert between.seen == [f"CONNECT {HOST}:443 HTTP/1.1"]
    head = server.requests[0][0]
    assert head.startswith(b"POST /v1 HTTP/1.1")
    assert b"proxy-authorization" not in head.lower()


async def test_a_large_body_goes_through_the_tunnel(between, through, serving):
    server = await serving(tls=True)
    between.routes[HOST] = server.port
    body = bytes(range(256)) * 16384
    assert await ask(through(between.port), f"https://{HOST}/v1", body) == b"hello"
    assert server.requests[0][1] == body


async def test_http_is_sent_with_the_full_address(between, through, serving):
    server = await serving(tls=False)
    between.routes[HOST] = server.port
    assert await ask(through(between.port), f"http://{HOST}:8080/v1?a=b") == b"hello"
    assert between.seen == [f"POST http://{HOST}:8080/v1?a=b HTTP/1.1"]
    assert f"Host: {HOST}:8080".encode() in server.requests[0][0]


async def test_loopback_is_not_sent_to_the_proxy(between, through, serving):
    server = await serving(tls=False)
    assert await ask(through(between.port), server.url) == b"hello"
    assert not between.seen


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_wrong_credentials_are_the_proxys_refusal(between, through, scheme):
    with pytest.raises(ProxyFailed, match="407") as failed:
        await ask(through(between.port, "me:wrong"), f"{scheme}://{HOST}/v1")
    assert "wrong" not in str(failed.value)


async def test_a_host_that_the_proxy_cannot_reach(between, through):
    with pytest.raises(ProxyFailed, match="502"):
        await ask(through(between.port), f"https://{HOST}/v1")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nunasked",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000,
        b"HTTP/1.1 302 Found\r\nlocation: http://login.example\r\n\r\n",
    ],
    ids=["nothing", "half a head", "not HTTP", "too much", "endless headers", "a login page"],
)
async def test_a_proxy_that_opens_no_tunnel(through, answer):
    with HttpProxy(answer=answer) as broken:
        client = through(broken.port)
        with pytest.raises(ProxyFailed):
            await ask(client, f"https://{HOST}/v1")
        assert not client._open


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there(through, scheme):
    with refusing_port() as port, pytest.raises(ProxyFailed):
        await ask(through(port), f"{scheme}://{HOST}/v1")


async def test_a_proxy_that_is_silent_has_a_timeout(through, serve):
    async def script(reader, writer):
        await reader.read()

    server = await serve(script)
    with pytest.raises(ConnectTimeout):
        await ask(through(server.port, timeout=0.2), f"https://{HOST}/v1")


async def test_the_certificate_behind_the_tunnel_is_checked(between, through, serving):
    server = await serving(tls=True, name="other.example")
    between.routes[HOST] = server.port
    with pytest.raises(CannotConnect) as failed:
        await ask(through(between.port), f"https://{HOST}/v1")
    assert not isinstance(failed.value, ProxyFailed)
    assert not server.requests
