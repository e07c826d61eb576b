"""A fake provider on loopback: every wire format on one port, in a thread with its own event loop."""

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from tests.fakes import behaviour as behaviours
from tests.fakes import formats, strict
from tests.fakes.behaviour import Behaviour, Fault, Orders
from tests.fakes.formats.base import Events, Format, Refusal, Setting
from tests.fakes.formats.google_token import GOOGLE_TOKEN
from tests.fakes.formats.openai import OPENAI
from tests.fakes.loop_thread import LoopThread
from tests.fakes.record import Recorded
from tests.fakes.sending import Exchange

DEFAULT_CHUNKS = 5
KEPT_REQUESTS = 10_000
# The names in the model list. Every other name is accepted too.
LISTED_MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")


class FakeProvider:
    """`with FakeProvider() as fake:` serves on `fake.url`, for synchronous and asynchronous code.

    `chunks` is the number of content events of a stream, and `pace` the seconds between them. With `record=0`, no
    requests are kept. With `keys`, any other API key gets a 401.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        chunks: int = DEFAULT_CHUNKS,
        pace: float = 0.0,
        record: int = KEPT_REQUESTS,
        keys: tuple[str, ...] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.chunks = chunks
        self.pace = pace
        self.keys = keys
        self.orders = Orders()
        self.in_flight = 0
        self.peak_in_flight = 0
        self._requests: deque[Recorded] = deque(maxlen=record)
        self._count = 0
        self._closing = False
        self._held: asyncio.Event | None = None
        self._steps: asyncio.Semaphore | None = None
        self._thread: LoopThread | None = None
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None

    # Addresses

    @property
    def url(self) -> str:
        """The address without a path. OpenAI's `api_base` is `fake.url + "/v1"`."""
        return f"http://{self.host}:{self.port}"

    @property
    def openai_base(self) -> str:
        return f"{self.url}/v1"

    @property
    def gemini_base(self) -> str:
        return f"{self.url}/v1beta"

    # Recorded requests

    @property
    def requests(self) -> list[Recorded]:
        """Requests to the provider endpoints, in order of arrival."""
        return list(self._requests)

    @property
    def last(self) -> Recorded:
        return self._requests[-1]

    def wait_for(self, condition: Callable[[], Any], timeout: float = 5.0) -> Any:
        """Polls until `condition()` is true and returns it. Raises AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, f"not within {timeout} s; requests: {self.requests}"
            time.sleep(0.005)
        return result

    async def eventually(self, condition: Callable[[], Any], timeout: float = 5.0) -> Any:
        """Like `wait_for`, but lets the caller's event loop run."""
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, f"not within {timeout} s; requests: {self.requests}"
            await asyncio.sleep(0.005)
        return result

    # Behavior

    def always(self, order: Behaviour | str, *, model: str | None = None, api_key: str | None = None) -> None:
        self.orders.always(_behaviour(order), model=model, api_key=api_key)

    def queue(self, *orders: Behaviour | str, model: str | None = None, api_key: str | None = None) -> None:
        """One behavior per request, in this order."""
        self.orders.queue(*map(_behaviour, orders), model=model, api_key=api_key)

    def reset(self) -> None:
        """Clears behaviors and requests."""
        self.orders.clear()
        self._requests.clear()
        self.peak_in_flight = self.in_flight

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Refuses new connections and closes existing ones in the block. Afterwards it serves on the same port
        again."""
        assert self._thread is not None, "the fake provider has not been started"
        self._thread.call(self._close())
        try:
            yield
        finally:
            self._thread.call(self._open())

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Requests that arrive in the block get their response only when it ends."""
        held = asyncio.Event()
        self._held = held
        try:
            yield
        finally:
            self._held = None
            assert self._thread is not None, "the fake provider has not been started"
            self._thread.call(_set(held))

    @contextlib.contextmanager
    def stepping(self) -> Iterator[Callable[[], None]]:
        """Streams that start in the block send one content event for each call of the yielded function, which
        returns once the event may be sent. Events still pending at the end of the block are never sent."""
        steps = asyncio.Semaphore(0)

        def step() -> None:
            assert self._thread is not None, "the fake provider has not been started"
            self._thread.call(_release(steps))

        self._steps = steps
        try:
            yield step
        finally:
            self._steps = None

    def ordered(self, seen: Recorded) -> Behaviour:
        """The behavior for this request."""
        return self.orders.next(seen.model, seen.api_key)

    # Start and stop

    def start(self) -> Self:
        self._thread = LoopThread("fake-provider")
        try:
            self._thread.call(self._open())
        except BaseException:
            self._end_thread()
            raise
        return self

    def stop(self) -> None:
        if self._thread is not None:
            self._thread.call(self._close())
            self._end_thread()

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._thread.stop()
        self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serves on the running loop until cancelled, for a process that does nothing else."""
        await self._open()
        ready()
        assert self._listener is not None
        try:
            await self._listener.serve_forever()
        finally:
            await self._close()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        server = web.Server(
            self._handle, request_factory=_request, handler_cancellation=True, access_log=None, keepalive_timeout=600
        )
        self._listener = await loop.create_server(server, self.host, self.port, backlog=1024, reuse_address=True)
        self._server = server
        self._closing = False
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is None or self._listener is None:
            return
        self._closing = True
        self._listener.close()
        self._server.pre_shutdown()
        await self._server.shutdown(timeout=0.01)
        self._server = self._listener = None

    # Responses

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/_fake/"):
            return await self._control(request, path)
        seen = await self._seen(request, path)
        exchange = Exchange(request, seen, behaviours.OK)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            if self._held is not None:
                await self._held.wait()
            response = await self._answer(request, seen, exchange)
        except (asyncio.CancelledError, ConnectionError):
            if not self._closing:
                exchange.cancelled()
            raise
        finally:
            self.in_flight -= 1
        exchange.finished()
        return response

    async def _seen(self, request: web.BaseRequest, path: str) -> Recorded:
        self._count += 1
        peer = request.transport.get_extra_info("peername") if request.transport else None
        seen = Recorded(
            number=self._count,
            method=request.method,
            path=path,
            query_string=request.query_string,
            headers=request.headers,
            raw=await request.read(),
            connection=peer[1] if peer else 0,
            received_at=time.monotonic(),
        )
        self._requests.append(seen)
        return seen

    async def _answer(self, request: web.BaseRequest, seen: Recorded, exchange: Exchange) -> web.StreamResponse:
        match = formats.find(seen.path)
        if match is None:
            return _json(404, OPENAI.error(404, f"Unknown request URL: {seen.method} {seen.path}."))
        format, endpoint, captured = match
        seen.format, seen.endpoint = format.name, endpoint
        seen.model = format.model(seen, captured)
        if format is not GOOGLE_TOKEN:
            seen.behaviour = self.ordered(seen)
        exchange.behaviour = behaviour = seen.behaviour
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)
        await exchange.hang_or_reset_before_headers()
        if behaviour.status >= 400 and behaviour.fault is not Fault.HTML_PAGE:
            message = behaviour.message or f"The fake provider was told to answer {behaviour.status}."
            error = behaviour.raw[0] if behaviour.raw else orjson.dumps(format.error(behaviour.status, message))
            return await exchange.plain(error, format)
        refusal = self._refusal(seen, format, endpoint, behaviour)
        if refusal is not None:
            return _json(refusal.status, format.error(refusal.status, refusal.message))
        against = strict.refusal(seen, endpoint)
        if against is not None:
            seen.refused = True
            return _json(against.status, against.body)
        if endpoint == "models":
            return _json(200, {"object": "list", "data": [_model(name) for name in LISTED_MODELS]})
        setting = Setting(seen.number, behaviour, behaviour.chunks or self.chunks)
        if format.wants_stream(seen, endpoint):
            pace = self.pace if behaviour.pace is None else behaviour.pace
            events = Events(content=list(behaviour.raw)) if behaviour.raw else None
            return await exchange.stream(events or format.events(seen, endpoint, setting), format, pace, self._steps)
        answer = behaviour.raw[0] if behaviour.raw else format.plain(seen, endpoint, setting)
        if isinstance(answer, str):
            return await exchange.plain(answer.encode(), format, "text/plain; charset=utf-8")
        return await exchange.plain(answer if isinstance(answer, bytes) else orjson.dumps(answer), format)

    def _refusal(self, seen: Recorded, format: Format, endpoint: str, behaviour: Behaviour) -> Refusal | None:
        if seen.method != ("GET" if endpoint == "models" else "POST"):
            return Refusal(405, f"Not allowed to {seen.method} on {seen.path}.")
        refusal = format.refusal(seen, endpoint)
        if refusal is not None:
            return refusal
        if self.keys is not None and format is not GOOGLE_TOKEN and seen.api_key not in self.keys:
            return Refusal(401, "Incorrect API key provided.")
        if behaviour.fault is Fault.REJECT_STREAM_OPTIONS and "stream_options" in seen.body:
            return Refusal(400, "Unrecognized request argument supplied: stream_options")
        return None

    async def _control(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """For other processes: `GET /_fake/requests`, `POST /_fake/always`, `/_fake/queue`, `/_fake/reset`."""
        if path == "/_fake/requests":
            return web.json_response([seen.summary() for seen in self.requests])
        if path == "/_fake/reset":
            self.reset()
            return web.Response(status=204)
        order = orjson.loads(await request.read() or b"{}")
        scope = {"model": order.get("model"), "api_key": order.get("api_key")}
        try:
            if path == "/_fake/always":
                self.always(order["behaviour"], **scope)
            elif path == "/_fake/queue":
                self.queue(*order["behaviours"], **scope)
            else:
                return web.Response(status=404)
        except (KeyError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.Response(status=204)


def _request(*args: Any) -> web.BaseRequest:
    message, payload, protocol, writer, task = args
    # 0: bodies of any size.
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=0)


def _behaviour(order: Behaviour | str) -> Behaviour:
    return behaviours.parse(order) if isinstance(order, str) else order


def _json(status: int, value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fake"}


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port on 127.0.0.1 that refuses connections and that no other process can take meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def _set(event: asyncio.Event) -> None:
    event.set()


async def _release(steps: asyncio.Semaphore) -> None:
    steps.release()
