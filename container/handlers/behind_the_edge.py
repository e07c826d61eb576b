"""What the container does for its edge: it serves the requests that the edge has reserved for (`BehindTheEdge`) and
reports their usage through the journal.

Large requests are read and quoted here first and wait until the ledger has admitted them (`Parking`). They share a
memory budget (`MemoryBudget`). Uploads queue, unread, while it is full.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from worker.core.api.endpoints import Endpoint, dialect, find
from worker.core.api.errors import ApiError, invalid_request, service_unavailable, unknown_path, wrong_method
from worker.core.ledger.keys import new_id
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.pricing.quote import Quote
from worker.core.protocol import ENDING, GO_PREFIX, JOURNAL_PATH, NO_INSTANCE_HEADER, PARK_PREFIX, JournalPoll

from ..accounting import edge
from ..accounting.edge import EdgeAccounting
from ..accounting.reservation import PriceBook
from ..request.engine_body import ParsedRequest
from ..server.auth import Authenticator
from ..server.context import Capture, ClientLeft, Pace, RequestContext
from .completions import RequestParser


class MemoryBudgetFull(Exception):
    """No memory was freed in time."""


class Lease:
    """The memory that one upload holds."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: "MemoryBudget", size: int) -> None:
        self._budget = budget
        self.size = size

    def shrink(self, size: int) -> None:
        """Return all but `size` bytes to the budget."""
        if size < self.size:
            given, self.size = self.size - size, size
            self._budget.give(given)

    def free(self) -> None:
        """Return all of it. Further calls do nothing."""
        self.shrink(0)


class MemoryBudget:
    """`size` is in bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = size
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waited_for(self) -> bool:
        """Whether any upload is queued."""
        return bool(self._line)

    async def take(self, size: int, patience: float) -> Lease:
        """Lease `size` bytes, capped at the whole budget. Raises MemoryBudgetFull after `patience` seconds."""
        size = min(size, self.size)
        if not self._line and size <= self.left:
            self.left -= size
            return Lease(self, size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((size, turn))
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # granted just as the waiter was cancelled
                self.give(size)
            else:
                turn.cancel()
                self._serve()  # the next in line may need less
            if isinstance(error, TimeoutError):
                raise MemoryBudgetFull from None
            raise
        return Lease(self, size)

    def give(self, size: int) -> None:
        self.left += size
        self._serve()

    def _serve(self) -> None:
        while self._line:
            size, turn = self._line[0]
            if not turn.cancelled():  # still waiting
                if size > self.left:
                    return
                self.left -= size
                turn.set_result(None)
            self._line.popleft()


LIFE_SECONDS = 30.0
# How long an upload waits for memory.
ROOM_SECONDS = 60.0
PATIENT = Pace(silence=20.0, grace=60.0, rate=512)
# Applies while other uploads wait for memory.
HURRIED = Pace(silence=10.0, grace=10.0, rate=128 * 1024)
# Minimum lease, because a parked request has some overhead.
_LEAST = 16 * 1024
# Larger bodies are estimated in a thread. It takes milliseconds, which would delay streams.
_LARGE = 128 * 1024


@dataclass(slots=True)
class Parked:
    """A parsed request that waits for its reservation."""

    endpoint: Endpoint
    path: str
    asked: ParsedRequest
    share: Lease
    end: asyncio.TimerHandle
    capture: Capture | None


class Parking:
    """`memory`: budget of all uploads, held until their responses begin."""

    def __init__(self, reading: RequestParser, price_book: PriceBook, memory: MemoryBudget) -> None:
        self._reading = reading
        self._price_book = price_book
        self._memory = memory
        self._parked: dict[str, Parked] = {}

    async def park(self, context: RequestContext, endpoint: Endpoint, path: str) -> None:
        """Read and check a request as its endpoint would, and respond with a quote. Raises ApiError, ClientLeft."""
        limit = int(self._reading.max_body_mb * 1024 * 1024)
        length = context.request.content_length
        share = await self._share(limit if length is None else min(length, limit))
        try:
            raw = await context.body(self._reading.max_body_mb, self._pace)
            share.shrink(max(len(raw), _LEAST))
            asked = self._reading.read(context, endpoint, raw)
            large = len(raw) > _LARGE
            del raw
            asked, quote = await self._quoted(asked, large=large)
        except BaseException:
            share.free()
            raise
        id = new_id()
        end = asyncio.get_running_loop().call_later(LIFE_SECONDS, self.forget, id)
        self._parked[id] = Parked(endpoint, path, asked, share, end, context.capture)
        context.capture = None  # the response to record comes later
        context.respond(
            200,
            orjson.dumps(
                {
                    "id": id,
                    "model": asked.request.route.model,
                    "named": asked.request.route.alias,
                    "fallbacks": asked.request.route.named_fallbacks,
                    "amount": quote.amount,
                    "tokens": quote.tokens,
                    "add_limit": quote.add_limit,
                    "unpriced": quote.unpriced,
                    "tags": asked.request.claims.tags,
                    "end_user": asked.request.claims.end_user,
                    "steps": quote.steps,
                    "candidates": self._price_book.candidates(asked.request.route),
                }
            ),
        )

    def take(self, id: str) -> Parked:
        """Remove a parked request in order to serve it. Raises ApiError 503 if it is gone."""
        parked = self._parked.pop(id, None)
        if parked is None:
            raise service_unavailable("The upload has expired. Send it again.", retry_after=1)
        parked.end.cancel()
        return parked

    def forget(self, id: str) -> None:
        """Drop a parked request."""
        parked = self._parked.pop(id, None)
        if parked is not None:
            parked.end.cancel()
            parked.share.free()

    def _pace(self) -> Pace:
        return HURRIED if self._memory.waited_for else PATIENT

    async def _share(self, size: int) -> Lease:
        try:
            return await self._memory.take(max(size, _LEAST), ROOM_SECONDS)
        except MemoryBudgetFull:
            raise service_unavailable("Too many large requests are in progress.", retry_after=5) from None

    async def _quoted(self, asked: ParsedRequest, *, large: bool) -> tuple[ParsedRequest, Quote]:
        def work() -> tuple[Prompt, Quote]:
            size = asked.prompt or prompt(asked.fields)
            return size, self._price_book.quote(asked.fields, size, asked.request.route, asked.charge)

        size, quote = await asyncio.to_thread(work) if large else work()
        return asked._replace(prompt=size), quote


# The endpoint name of the edge's own calls.
INTERNAL = "internal"
# Limits for polls of the journal.
_POLL_BODY_MB = 1.0
_LONGEST_WAIT = 60.0
_POLL_SECONDS = 0.02
_REFUSING_SECONDS = 0.5

Serve = Callable[[RequestContext, Endpoint], Awaitable[None]]


class BehindTheEdge:
    """`catalog`: hash of the catalog, which must match the edge's."""

    def __init__(
        self, authenticator: Authenticator, accounting: EdgeAccounting, parking: Parking, catalog: str
    ) -> None:
        self._authenticator = authenticator
        self._accounting = accounting
        self._journal = accounting.journal
        self._parking = parking
        self._catalog = catalog

    async def __call__(self, context: RequestContext, serve: Serve) -> None:
        """`serve` handles an admitted request. Raises ApiError, ClientLeft."""
        path = context.path
        if path.startswith("/internal/"):
            context.endpoint = INTERNAL
            self._authenticator.require_token(context)
            if path == JOURNAL_PATH:
                await self._page(context)
            elif path.startswith(GO_PREFIX):
                _require("POST", context)
                await self._reserved(context, serve, None)
            elif path.startswith(PARK_PREFIX + "/"):
                await self._park(context, path.removeprefix(PARK_PREFIX))
            else:
                raise unknown_path(path)
            return
        endpoint = find(context.method, path)
        context.endpoint, context.dialect = endpoint.name, dialect(endpoint)
        self._authenticator.check(context, endpoint)
        if endpoint.billable:
            await self._reserved(context, serve, endpoint)
            return
        self._read_grant(context)
        await serve(context, endpoint)

    async def finish(self, grace: float, at_once: asyncio.Event) -> None:
        """Prepare for shutdown: refuse new requests, wait `grace` seconds for running ones, then until the edge has
        fetched the journal.

        Refusals continue briefly afterwards. A request that arrives on a closing connection would be lost, but after
        the first refusal the edge sends no more.
        """
        self._journal.ending = True
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while self._journal.open and loop.time() < end and not at_once.is_set():  # noqa: ASYNC110 once, at the end
            await asyncio.sleep(_POLL_SECONDS)
        await self._accounting.drained()
        if not at_once.is_set():
            await asyncio.sleep(_REFUSING_SECONDS)

    async def _reserved(self, context: RequestContext, serve: Serve, endpoint: Endpoint | None) -> None:
        """Serve a request that the edge has reserved for, or the parked request that it names.

        The journal has an entry for it by the time this returns.
        """
        self._refuse_when_full()
        self._read_grant(context)
        if not context.grant.reservation:
            raise edge.misfit("The edge has made no reservation for this request.")
        self._accounting.opened(context)
        status = 500
        try:
            edge.check_catalog(context.headers, self._catalog, context.grant)
            if endpoint is None:
                endpoint = self._unpark(context)
            context.endpoint = endpoint.name
            context.dialect = dialect(endpoint)
            await serve(context, endpoint)
        except ApiError as error:
            status = error.status
            raise
        except (ClientLeft, asyncio.CancelledError):
            status = 499
            raise
        finally:
            if not context.reserved:
                self._accounting.released(context, status)
            if context.release_memory is not None:
                context.release_memory()

    async def _park(self, context: RequestContext, path: str) -> None:
        if context.method == "DELETE":
            self._parking.forget(path[1:])
            # workerd closes the connection when the Worker is done with a response without a body, even if it already
            # sends the next request on it. So it must not use the connection again.
            context.respond(204, b"", [("connection", "close")])
            return
        _require("POST", context)
        self._refuse_when_full()
        self._read_grant(context)
        edge.check_catalog(context.headers, self._catalog, context.grant)
        endpoint = find("POST", path)
        if not endpoint.billable:
            raise unknown_path(path)
        context.dialect = dialect(endpoint)
        try:
            await self._parking.park(context, endpoint, path)
        except ApiError:
            context.endpoint = endpoint.name  # the client gets this answer, so the request ends here
            raise

    def _unpark(self, context: RequestContext) -> Endpoint:
        parked = self._parking.take(context.path.removeprefix(GO_PREFIX))
        context.path = parked.path
        context.asked = parked.asked
        context.release_memory = parked.share.free
        context.capture = parked.capture
        return parked.endpoint

    async def _page(self, context: RequestContext) -> None:
        _require("POST", context)
        poll = _poll(await context.body(_POLL_BODY_MB))
        page = await self._journal.page(poll.ack, min(max(0.0, poll.wait), _LONGEST_WAIT), poll.doubtful)
        context.respond(200, page.encode().encode())

    def _read_grant(self, context: RequestContext) -> None:
        context.grant = edge.read_grant(context.header(edge.GRANT_HEADER))
        context.models, context.aliases = context.grant.models, context.grant.aliases
        if context.grant.ack is not None:
            self._journal.acknowledge(context.grant.ack)

    def _refuse_when_full(self) -> None:
        """Raises ApiError 503. Nothing of the request is kept, so the edge may send it elsewhere."""
        ending = self._journal.ending
        if ending or self._journal.full:
            what = "is shutting down" if ending else "has too many unsettled requests"
            error = service_unavailable(f"This container {what}.", retry_after=1 if ending else 5)
            error.headers.append((NO_INSTANCE_HEADER, ENDING if ending else "1"))
            raise error


def _require(method: str, context: RequestContext) -> None:
    if context.method != method:
        raise wrong_method(context.method, context.path, (method,))


def _poll(raw: bytes) -> JournalPoll:
    """Raises ApiError 400."""
    try:
        return JournalPoll.decode(raw)
    except (ValueError, TypeError):
        raise invalid_request("The body is not a valid poll of the journal.") from None
