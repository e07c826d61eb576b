"""What only a container behind the edge does: it serves what the edge has reserved for, parks uploads, tells what
requests came to."""

import asyncio
from collections.abc import Awaitable, Callable

from worker.api.endpoints import ANTHROPIC, Endpoint, find
from worker.api.errors import ApiError, invalid_request, service_unavailable, unknown_path, wrong_method
from worker.protocol import ENDING, GO_PREFIX, JOURNAL_PATH, NO_INSTANCE_HEADER, PARK_PREFIX, JournalPoll

from .. import grant
from ..accounting import EdgeAccounting
from ..authenticate import Authenticator
from ..exchange import ClientLeft, Exchange
from .park import Parking

# The edge's own calls, by the name that their endpoint is given.
INTERNAL = "internal"
# Of a poll of the journal.
_MAX_BODY_MB = 1.0
_LONGEST_WAIT = 60.0
_POLL_SECONDS = 0.02
_REFUSING_SECONDS = 0.5

Serve = Callable[[Exchange, Endpoint], Awaitable[None]]


class BehindTheEdge:
    """`catalog`: the hash of the configuration, which the edge has to have, too."""

    def __init__(
        self, authenticator: Authenticator, accounting: EdgeAccounting, parking: Parking, catalog: str
    ) -> None:
        self._authenticator = authenticator
        self._accounting = accounting
        self._journal = accounting.journal
        self._parking = parking
        self._catalog = catalog

    async def __call__(self, exchange: Exchange, serve: Serve) -> None:
        """`serve`: answers what has been let in. Raises ApiError, ClientLeft."""
        path = exchange.path
        if path.startswith("/internal/"):
            exchange.endpoint = INTERNAL
            self._authenticator.require_token(exchange)
            if path == JOURNAL_PATH:
                await self._page(exchange)
            elif path.startswith(GO_PREFIX):
                _require("POST", exchange)
                await self._reserved(exchange, serve, None)
            elif path.startswith(PARK_PREFIX + "/"):
                await self._park(exchange, path.removeprefix(PARK_PREFIX))
            else:
                raise unknown_path(path)
            return
        endpoint = find(exchange.method, path)
        exchange.endpoint = endpoint.name
        self._authenticator.check(exchange, endpoint)
        if endpoint.methods == ("POST",) and not endpoint.admin:
            await self._reserved(exchange, serve, endpoint)
            return
        self._read_grant(exchange)
        await serve(exchange, endpoint)

    async def finish(self, grace: float, at_once: asyncio.Event) -> None:
        """Before the end: takes nothing new, waits `grace` seconds for what runs, then for the edge to fetch it all.

        It goes on refusing for a moment: a request that came on a connection while that is closed would be lost, and
        after the first refusal the edge sends no other.
        """
        self._journal.ending = True
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while self._journal.open and loop.time() < end and not at_once.is_set():  # noqa: ASYNC110 once, at the end
            await asyncio.sleep(_POLL_SECONDS)
        await self._accounting.drained()
        if not at_once.is_set():
            await asyncio.sleep(_REFUSING_SECONDS)

    async def _reserved(self, exchange: Exchange, serve: Serve, endpoint: Endpoint | None) -> None:
        """Serves a request that the edge has reserved for, or the parked one that it names. Whatever becomes of it is
        in the journal when this returns."""
        self._refuse_when_full()
        self._read_grant(exchange)
        if not exchange.grant.reservation:
            raise grant.misfit("The edge has reserved nothing for this request.")
        self._accounting.opened(exchange)
        status = 500
        try:
            grant.check_catalog(exchange.headers, self._catalog)
            if endpoint is None:
                endpoint = self._unpark(exchange)
            exchange.endpoint = endpoint.name
            exchange.anthropic = endpoint.name in ANTHROPIC
            await serve(exchange, endpoint)
        except ApiError as error:
            status = error.status
            raise
        except (ClientLeft, asyncio.CancelledError):
            status = 499
            raise
        finally:
            if not exchange.reserved:
                self._accounting.released(exchange, status)
            if exchange.let_go is not None:
                exchange.let_go()

    async def _park(self, exchange: Exchange, path: str) -> None:
        if exchange.method == "DELETE":
            self._parking.forget(path[1:])
            exchange.respond(204, b"")
            return
        _require("POST", exchange)
        self._refuse_when_full()
        grant.check_catalog(exchange.headers, self._catalog)
        self._read_grant(exchange)
        endpoint = find("POST", path)
        if endpoint.admin:
            raise unknown_path(path)
        exchange.anthropic = endpoint.name in ANTHROPIC
        await self._parking.park(exchange, endpoint, path)

    def _unpark(self, exchange: Exchange) -> Endpoint:
        parked = self._parking.take(exchange.path.removeprefix(GO_PREFIX))
        exchange.path = parked.path
        exchange.asked = parked.asked
        exchange.let_go = parked.share.free
        exchange.capture = parked.capture
        return parked.endpoint

    async def _page(self, exchange: Exchange) -> None:
        _require("POST", exchange)
        poll = _poll(await exchange.body(_MAX_BODY_MB))
        page = await self._journal.page(poll.ack, min(max(0.0, poll.wait), _LONGEST_WAIT), poll.doubtful)
        exchange.respond(200, page.encode().encode())

    def _read_grant(self, exchange: Exchange) -> None:
        exchange.grant = grant.read(exchange.header(grant.GRANT_HEADER))
        exchange.models = exchange.grant.models
        if exchange.grant.ack is not None:
            self._journal.acknowledge(exchange.grant.ack)

    def _refuse_when_full(self) -> None:
        """Raises ApiError 503: of this request nothing is kept, so the edge may send it elsewhere."""
        ending = self._journal.ending
        if ending or self._journal.full:
            what = "is about to end" if ending else "waits until the ledger has what requests came to"
            error = service_unavailable(f"This container {what}.", retry_after=1 if ending else 5)
            error.headers.append((NO_INSTANCE_HEADER, ENDING if ending else "1"))
            raise error


def _require(method: str, exchange: Exchange) -> None:
    if exchange.method != method:
        raise wrong_method(exchange.method, exchange.path, (method,))


def _poll(raw: bytes) -> JournalPoll:
    """Raises ApiError 400."""
    try:
        return JournalPoll.decode(raw)
    except (ValueError, TypeError):
        raise invalid_request("This is no poll of the journal.") from None
