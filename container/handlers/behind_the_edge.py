"""Container endpoints for the edge: serve reserved requests, park uploads, report usage through the journal."""

import asyncio
from collections.abc import Awaitable, Callable

from worker.core.api.endpoints import Endpoint, dialect, find
from worker.core.api.errors import ApiError, invalid_request, service_unavailable, unknown_path, wrong_method
from worker.core.protocol import ENDING, GO_PREFIX, JOURNAL_PATH, NO_INSTANCE_HEADER, PARK_PREFIX, JournalPoll

from ..accounting import edge
from ..accounting.edge import EdgeAccounting
from ..server.auth import Authenticator
from ..server.context import ClientLeft, RequestContext
from .parked_uploads import Parking

# The endpoint name of the edge's own calls.
INTERNAL = "internal"
# Limits for polls of the journal.
_MAX_BODY_MB = 1.0
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
            context.respond(204, b"")
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
        poll = _poll(await context.body(_MAX_BODY_MB))
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
