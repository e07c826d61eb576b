"""One attempt at one deployment, over the network: bytes out, an Answer back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from ..config import Deployment, Options
from ..engine.supervisor import Engine, EngineUnavailable
from ..request.completion import Completion
from ..routing.outcome import Outcome
from ..routing.router import Try
from . import failure, mock, prepare
from .answer import Answer, Plain, Stream, StreamBroken, plain
from .events import EventStream, OversizedEvent, first_error, opening

MAX_ERROR_BYTES = 64 * 1024
MAX_TIMEOUTS = 100
# What a provider calls a field that it does not take. With `drop_params` it is left out.
_UNSUPPORTED = {"unsupported_parameter", "unsupported_value", "unknown_parameter"}
# Without these it would be another request.
_ESSENTIAL = {"model", "messages", "prompt", "input", "stream"}
_MAX_LEFT_OUT = 5


class Upstream:
    """The providers and the engine; one pooled session for all of them."""

    def __init__(self, options: Options, engine: Engine, *, connect_timeout: float, keepalive: float) -> None:
        self._options = options
        self._engine = engine
        self._keepalive = keepalive
        self._connect_timeout = connect_timeout
        self._addresses: dict[str, prepare.Address] = {}
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}
        self._limit_names: dict[str, str] = {}  # deployments that refused the usual name of an output limit
        self._rejects_usage: set[str] = set()  # ids of deployments that refused stream_options
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=15),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
        )

    async def close(self) -> None:
        await self._session.close()

    async def attempt(self, step: Try, request: Completion, on_silence: Callable[[], Awaitable[None]]) -> Answer:
        """Sends the request to the step's deployment. `on_silence` is called every keepalive interval while a
        provider that has accepted a streamed request says nothing."""
        d, model = step.target
        name = request.model if step.fallbacks == 0 else step.group
        if d.kind == "mock":
            return mock.answer(d, request, name)
        leave_out: frozenset[str] = frozenset()
        while True:
            asks = (
                request.stream and not request.client_wants_usage and d.asks_usage and d.id not in self._rejects_usage
            )
            limit = None
            if request.output_limit is not None:
                name_of_limit = self._limit_names.get(d.id) or prepare.limit_name(d, request.endpoint)
                limit = name_of_limit, request.output_limit
            body = prepare.body(d, model, request.body, ask_usage=asks, leave_out=leave_out, limit=limit)
            answer = await self._send(d, model, request, body, name, asks, on_silence)
            if not isinstance(answer, Outcome) or answer.kind != "caller" or len(leave_out) >= _MAX_LEFT_OUT:
                return answer
            if limit and self._wants_other_limit(d, answer, limit[0]):
                continue
            unwanted = self._unwanted(d, answer, asks)
            if unwanted in prepare.OUTPUT_LIMITS and request.limited:
                return answer  # without it the request could cost more than was set aside for it
            if unwanted is None or unwanted in leave_out:
                return answer
            leave_out |= {unwanted}

    def _wants_other_limit(self, d: Deployment, refusal: Outcome, sent: str) -> bool:
        """Whether the provider has refused the name of our output limit; the other one is tried, and remembered."""
        if d.id in self._limit_names or sent not in f"{refusal.param} {refusal.message}":
            return False
        self._limit_names[d.id] = next(name for name in prepare.OUTPUT_LIMITS if name != sent)
        return True

    def _unwanted(self, d: Deployment, refusal: Outcome, asked_usage: bool) -> str | None:
        """The field that the provider will not have and that may be left out, if that is what the refusal says."""
        text = f"{refusal.param} {refusal.message}"
        if asked_usage and ("stream_options" in text or "include_usage" in text):
            self._rejects_usage.add(d.id)
            return "stream_options"
        if not self._options.drop_params or refusal.code not in _UNSUPPORTED or refusal.param in _ESSENTIAL:
            return None
        return refusal.param

    async def _send(
        self,
        d: Deployment,
        model: str,
        request: Completion,
        body: bytes,
        name: str,
        asked_usage: bool,
        on_silence: Callable[[], Awaitable[None]],
    ) -> Answer:
        first = request.timeout or d.timeout or self._options.timeout
        if request.stream and not request.timeout:
            first = d.stream_timeout or self._options.stream_timeout or first
        response: aiohttp.ClientResponse | None = None
        kept = False
        try:
            async with asyncio.timeout(first):
                where = await self._address(d, first)
                response = await self._session.post(
                    prepare.url(d, where.base, model, request.endpoint),
                    data=body,
                    headers=where.headers,
                    allow_redirects=False,
                    timeout=self._limits(first if request.stream else None),
                )
                if response.status != 200:
                    return failure.from_response(response.status, response.headers, await read_error(response))
                if not request.stream:
                    return plain(await response.read(), name)
                if response.content_type != "text/event-stream":
                    return Outcome("server", 0, f"The provider sent {response.content_type} instead of a stream.")
                events = EventStream(name, drop_usage=asked_usage)
                answer = await self._first_events(response, events, on_silence)
            if isinstance(answer, bytes):
                kept = True
                return Stream(answer, _rest(response, events, first), events)
            return answer
        except EngineUnavailable as error:
            return Outcome("connection", 503, str(error), retry_after=error.retry_after)
        except aiohttp.ConnectionTimeoutError:
            return Outcome("connection", 0, f"No connection to the provider within {self._connect_timeout:g} s.")
        except TimeoutError:
            return Outcome("timeout", 0, f"The provider did not answer within {first:g} s.", latency=first)
        except OversizedEvent:
            return Outcome("server", 0, "The provider sent an event that does not end.")
        except aiohttp.ClientConnectorError:
            return Outcome("connection", 0, "The provider cannot be reached.")
        except (aiohttp.ClientPayloadError, HttpProcessingError):
            return Outcome("server", 0, "The provider's answer broke off or is not valid HTTP.")
        except (aiohttp.ClientError, OSError):
            return Outcome("connection", 0, "The connection to the provider broke off.")
        finally:
            if response is not None and not kept:
                # Read to its end it goes back to the pool; anything else is closed, which tells the provider to stop.
                response.release() if response.content.at_eof() else response.close()

    def _limits(self, idle: float | None) -> aiohttp.ClientTimeout:
        """aiohttp's own limits; `idle`: seconds of silence in a stream, watched by one timer of the connection."""
        known = self._timeouts.get(idle)
        if known is None:
            known = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout, sock_read=idle)
            if len(self._timeouts) < MAX_TIMEOUTS:  # clients may ask for any number
                self._timeouts[idle] = known
        return known

    async def _address(self, d: Deployment, patience: float) -> prepare.Address:
        if d.kind == "engine":
            return await self._engine.ready(patience)
        known = self._addresses.get(d.id)
        if known is None:
            known = self._addresses[d.id] = prepare.address(d)
        return known

    async def _first_events(
        self, response: aiohttp.ClientResponse, events: EventStream, on_silence: Callable[[], Awaitable[None]]
    ) -> bytes | Outcome:
        """The first events that say something, with any comments before them."""
        got = b""
        while True:
            try:
                async with asyncio.timeout(self._keepalive):
                    data = await response.content.readany()
            except aiohttp.SocketTimeoutError:
                raise
            except TimeoutError:
                await on_silence()
                continue
            new = events.feed(data) if data else events.end()
            got += new
            first = opening(new)
            if first:
                error = first_error(first)
                return got if error is None else failure.from_error_event(error)
            if not data:
                return Outcome("server", 0, "The provider's stream ended before it began.")


async def read_error(response: aiohttp.ClientResponse) -> bytes:
    """The body of a refusal, as much of it as is looked at."""
    raw = b""
    while len(raw) < MAX_ERROR_BYTES:
        data = await response.content.read(MAX_ERROR_BYTES - len(raw))
        if not data:
            break
        raw += data
    return raw


async def _rest(response: aiohttp.ClientResponse, events: EventStream, idle: float) -> AsyncIterator[bytes]:
    """What follows the first events. Raises StreamBroken when the provider breaks off or is silent for `idle` s."""
    content = response.content
    whole = False
    try:
        while True:
            data = await content.readany()
            if not data:
                break
            new = events.feed(data)
            if new:
                yield new
        new = events.end()
        if new:
            yield new
        if events.cut_off:
            raise StreamBroken("The provider ended its stream in the middle of the answer.")
        whole = True
    except TimeoutError:
        raise StreamBroken(f"The provider said nothing for {idle:g} s.", timed_out=True) from None
    except OversizedEvent:
        raise StreamBroken("The provider sent an event that does not end.") from None
    except (aiohttp.ClientError, HttpProcessingError, OSError):
        raise StreamBroken("The connection to the provider broke off in the middle of the answer.") from None
    finally:
        response.release() if whole else response.close()


__all__ = ["Plain", "Stream", "StreamBroken", "Upstream"]
