"""RequestContext: one request and its response, on the proxy's own server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from container.server.context import ClientLeft, RequestContext
from tests.container.raw import Answer, Connection, ask
from tests.container.serving import serving
from worker.core.api.errors import ApiError, wrong_method

MB = 1024 * 1024
Work = Callable[[RequestContext], Awaitable[None]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Work], Awaitable[int]]]:
    """`await serve(work)` returns the port where `work(context)` responds. ApiErrors become responses."""

    async def started(work: Work) -> int:
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            context = RequestContext(request)
            try:
                await work(context)
            except ApiError as error:
                context.error(error)
            except ClientLeft:
                raise ConnectionResetError from None
            assert context.response is not None
            return context.response

        return await stack.enter_async_context(serving(handler))

    async with AsyncExitStack() as stack:
        yield started


async def asked(port: int, method: str = "POST", path: str = "/", headers=None, body: bytes = b"") -> Answer:
    return await asyncio.to_thread(ask, port, method, path, headers, body)


async def nothing(context: RequestContext) -> None:
    context.respond(204, b"")


async def echo(context: RequestContext) -> None:
    """Returns the body, limited to 1 MB."""
    context.respond(200, await context.body(1), content_type="application/octet-stream")


# Requests


async def test_path_is_raw_and_without_the_query(serve):
    seen: list[str] = []

    async def work(context: RequestContext) -> None:
        seen.append(context.path)
        context.respond(200, b"{}")

    port = await serve(work)
    for path in ("/v1/models/a%2Fb", "/v1//models", "/v1/../x", "/a?api_key=1#b", "/%ff"):
        await asked(port, "GET", path)
    assert seen == ["/v1/models/a%2Fb", "/v1//models", "/v1/../x", "/a", "/%ff"]


async def test_header_names_are_case_insensitive_and_repeated_headers_are_joined(serve):
    async def work(context: RequestContext) -> None:
        context.respond(200, f"{context.header('AUTHORIZATION')}|{context.header('missing')}".encode())

    port = await serve(work)
    with Connection(port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: first\r\nauthorization: second\r\n\r\n")
        assert (await asyncio.to_thread(connection.answer)).body == b"first, second|None"


async def test_second_line_of_a_header_is_not_ignored(serve):
    port = await serve(echo)
    with Connection(port) as connection:
        coded = b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + coded)
        assert (await asyncio.to_thread(connection.answer)).status == 415


async def test_clients_request_id_is_used_if_harmless(serve):
    port = await serve(nothing)
    assert (await asked(port, headers={"x-request-id": "abc-12345"})).headers["x-request-id"] == "abc-12345"
    made = {(await asked(port, headers={"x-request-id": "<script>"})).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    assert "<script>" not in made


@pytest.mark.parametrize("size", [0, 1, 100_000, MB])
async def test_the_body_is_read_whole(serve, size):
    body = bytes(i % 251 for i in range(size))
    assert (await asked(await serve(echo), body=body)).body == body


async def test_a_chunked_body_is_read_whole(serve):
    with Connection(await serve(echo)) as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        connection.send(b"6;ext=1\r\n world\r\n0\r\n\r\n")
        assert (await asyncio.to_thread(connection.answer)).body == b"hello world"


async def test_client_that_expects_100_continue_gets_it(serve):
    with Connection(await serve(echo)) as connection:
        connection.request("POST", "/", {"expect": "100-continue", "content-length": "2"})
        assert (await asyncio.to_thread(connection.head)).status == 100
        connection.send(b"{}")
        assert (await asyncio.to_thread(connection.answer)).body == b"{}"


async def test_client_that_expects_100_continue_need_not_send_a_body_over_the_limit(serve):
    with Connection(await serve(echo)) as connection:
        connection.request("POST", "/", {"expect": "100-continue", "content-length": str(40 * MB)})
        assert (await asyncio.to_thread(connection.head)).status == 413


@pytest.mark.parametrize("chunked", [False, True])
async def test_body_over_the_limit_is_rejected(serve, chunked):
    port = await serve(echo)
    body = b"x" * (MB + 1)
    if chunked:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        answer = await asked(port, headers={"transfer-encoding": "chunked", "content-length": ""}, body=body)
        assert answer.status == 400  # both headers together are always invalid

        def send() -> Answer:
            with Connection(port) as connection:
                connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
                return connection.answer()

        answer = await asyncio.to_thread(send)
    else:
        answer = await asked(port, body=body)
    assert answer.status == 413
    assert answer.json["error"]["code"] == "body_too_large"
    assert "1 MB" in answer.json["error"]["message"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, identity"])
async def test_compressed_body_is_rejected(serve, encoding):
    answer = await asked(await serve(echo), headers={"content-encoding": encoding}, body=b"{}")
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
async def test_identity_encoding_is_accepted(serve, encoding):
    assert (await asked(await serve(echo), headers={"content-encoding": encoding}, body=b"{}")).body == b"{}"


async def test_disconnect_during_the_body_is_noticed(serve):
    began, left = asyncio.Event(), asyncio.Event()

    async def work(context: RequestContext) -> None:
        began.set()
        try:
            await context.body(1)
        except (ClientLeft, asyncio.CancelledError):
            left.set()
            raise

    with Connection(await serve(work)) as connection:
        connection.request("POST", "/", {"content-length": "100"}, b"half")
        await asyncio.wait_for(began.wait(), 5)
    await asyncio.wait_for(left.wait(), 5)


async def test_malformed_chunked_body_is_rejected(serve):
    with Connection(await serve(echo)) as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n")
        assert (await asyncio.to_thread(connection.answer)).status == 400


# Responses


async def test_whole_response(serve):
    async def work(context: RequestContext) -> None:
        context.respond(200, b'{"a":1}', [("x-a", "b")])

    answer = await asked(await serve(work))
    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["content-length"], answer.headers["x-a"]) == ("7", "b")
    assert answer.headers["server"] == "litellm-router"


async def test_head_response_has_the_length_but_no_body(serve):
    async def work(context: RequestContext) -> None:
        context.respond(200, b'{"a":1}')

    def twice() -> list[Answer]:
        with Connection(port) as connection:
            connection.request("HEAD", "/")
            first = connection.answer("HEAD")
            connection.request("GET", "/")
            return [first, connection.answer("GET")]

    port = await serve(work)
    head, get = await asyncio.to_thread(twice)
    assert (head.headers["content-length"], head.body) == ("7", b"")
    assert get.body == b'{"a":1}'


async def test_response_without_content_has_no_length(serve):
    answer = await asked(await serve(nothing), "OPTIONS")
    assert answer.status == 204
    assert "content-length" not in answer.headers


async def test_common_headers_are_in_every_response(serve):
    async def work(context: RequestContext) -> None:
        context.always = [("vary", "Origin")]
        raise wrong_method("PUT", "/v1/models", ("GET",))

    answer = await asked(await serve(work))
    assert (answer.status, answer.headers["vary"], answer.headers["allow"]) == (405, "Origin", "GET")
    assert answer.json["error"]["code"] == "method_not_allowed"


async def test_stream_is_sent_as_it_is_written(serve):
    go_on = asyncio.Event()

    async def work(context: RequestContext) -> None:
        assert not context.started
        await context.start(200, [("x-a", "b")], "text/event-stream")
        assert context.started
        await context.write(b"a")
        await go_on.wait()
        await context.write(b"b")
        await context.finish(b"c")

    with Connection(await serve(work)) as connection:
        connection.request("GET", "/")
        head = await asyncio.to_thread(connection.head)
        assert (head.status, head.headers["content-type"], head.headers["x-a"]) == (200, "text/event-stream", "b")
        assert await asyncio.to_thread(connection.chunk) == b"a"
        go_on.set()
        rest = [await asyncio.to_thread(connection.chunk) for _ in range(3)]
        assert rest == [b"b", b"c", b""]


async def test_header_value_that_http_cannot_carry_is_encoded(serve):
    async def work(context: RequestContext) -> None:
        context.respond(200, b"", [("x-litellm-model-group", "モデル"), ("x-b", "a\r\nx-evil: 1")])

    answer = await asked(await serve(work))
    assert answer.headers["x-litellm-model-group"] == "???"
    assert answer.headers["x-b"] == "a??x-evil: 1"


async def test_disconnect_during_a_stream_is_noticed(serve):
    left = asyncio.Event()

    async def work(context: RequestContext) -> None:
        await context.start(200, [], "text/event-stream")
        try:
            while True:
                await context.write(b"x" * 1000)
                await asyncio.sleep(0.01)
        except (ClientLeft, asyncio.CancelledError):
            left.set()
            raise

    with Connection(await serve(work)) as connection:
        connection.request("GET", "/")
        assert await asyncio.to_thread(connection.head)
    await asyncio.wait_for(left.wait(), 5)


async def test_disconnect_at_the_end_of_a_stream_is_noticed(serve):
    left = asyncio.Event()

    async def work(context: RequestContext) -> None:
        await context.start(200, [], "text/event-stream")
        assert context.request.transport is not None
        context.request.transport.abort()
        try:
            await context.finish()
        except ClientLeft:
            left.set()
            raise

    with Connection(await serve(work)) as connection:
        connection.request("GET", "/")
        await asyncio.wait_for(left.wait(), 5)


async def test_disconnect_while_waiting_is_noticed(serve):
    began, left = asyncio.Event(), asyncio.Event()

    async def work(context: RequestContext) -> None:
        await context.body(1)
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            left.set()
            raise

    with Connection(await serve(work)) as connection:
        connection.request("POST", "/", body=b"{}")
        await asyncio.wait_for(began.wait(), 5)
        assert not left.is_set()
    await asyncio.wait_for(left.wait(), 5)


async def test_slow_reader_slows_the_writer(serve):
    written = 0

    async def work(context: RequestContext) -> None:
        nonlocal written
        await context.start(200, [], "text/event-stream")
        for _ in range(1000):
            await context.write(b"x" * 100_000)
            written += 100_000

    with Connection(await serve(work)) as connection:
        connection.request("GET", "/")
        before = -1
        while written != before or not written:
            before = written
            await asyncio.sleep(0.1)
        assert written < 30 * MB
