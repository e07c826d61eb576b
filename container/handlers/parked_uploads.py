"""Large requests from the edge, which are read and quoted here and wait until the ledger has admitted them (`Parking`).

They share a memory budget (`MemoryBudget`). Uploads queue, unread, while it is full.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

import orjson

from worker.core.api.endpoints import Endpoint
from worker.core.api.errors import service_unavailable
from worker.core.ledger.secrets import new_id
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.pricing.quote import Quote

from ..accounting.price_book import PriceBook
from ..request.engine_body import ParsedRequest
from ..server.context import Capture, Pace, RequestContext
from .request_parser import RequestParser


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
