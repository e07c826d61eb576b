"""Parks uploads that the edge cannot quote: reads and quotes them, and serves them on the edge's request.

The edge makes the reservation in between, so nothing reaches a provider before it is paid for. The body passes through
the edge only once, as a stream.
"""

import asyncio
from dataclasses import dataclass

import orjson

from worker.core.api.endpoints import Endpoint
from worker.core.api.errors import service_unavailable
from worker.core.ledger.secrets import new_id
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.pricing.quote import Quote

from ..accounting.price_book import PriceBook
from ..request.parsed_request import ParsedRequest
from ..server.context import Pace, RequestContext
from ..server.memory_budget import Lease, MemoryBudget, MemoryBudgetFull
from ..server.recording import Capture
from .request_parser import RequestParser

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
                    "model": asked.request.model,
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
