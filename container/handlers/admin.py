"""`/key/*`, `/spend/*`, `/global/spend`: keys and what was spent, for the master key alone; `/key/info` of its own for
every key."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from worker.api import admin
from worker.api.endpoints import OF_ONES_OWN, Endpoint
from worker.api.errors import service_unavailable
from worker.ledger.administration import decide
from worker.ledger.decision import Decision
from worker.ledger.dialect import Dialect
from worker.ledger.policy import Policy
from worker.ledger.secret import reference

from .. import log
from ..exchange import Exchange
from ..ledger import LedgerUnavailable

Run = Callable[[Decision], Awaitable[Any]]


def wall_clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Admin:
    """Answers from the ledger, which `run`s decisions in its `dialect`; `policy` is the config's, `clock` in
    milliseconds since 1970; `master_key` None where there is none."""

    def __init__(
        self,
        run: Run,
        dialect: Dialect,
        policy: Policy,
        master_key: str | None,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self._decide = run
        self._dialect = dialect
        self._policy = policy
        self._master_key = master_key
        self._clock = clock

    async def __call__(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """Raises ApiError: 403 before anything is read, 400 naming the field, 404 for a key, 503."""
        if not exchange.administrator and endpoint.name not in OF_ONES_OWN:
            raise admin.master_key_only()
        body = await exchange.body(admin.MAX_BODY_MB)
        query = exchange.request.raw_path.partition("?")[2]
        call = admin.call(endpoint, exchange.path, query, body, self._master_key)
        if not exchange.administrator:
            call = admin.of_its_own(endpoint, call, exchange.key_hash, reference)
        result = await self._run(decide(self._dialect, self._policy, call, self._clock()))
        if endpoint.methods == ("POST",):
            log.info("admin", request_id=exchange.id, call=endpoint.name, status=result.get("status", 200))
        # Not orjson, which has no number over 64 bits: a key's metadata may.
        exchange.respond(200, json.dumps(admin.answer(result)).encode(), admin.HEADERS)

    async def _run(self, decision: Decision) -> dict[str, Any]:
        try:
            return await self._decide(decision)
        except LedgerUnavailable:
            raise service_unavailable(
                "The ledger's database cannot be used now. What was asked for may or may not have been done."
            ) from None
