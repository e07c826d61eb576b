"""The admin endpoints `/key/*`, `/spend/*` and `/global/spend`, for the master key only.

Any key may call `/key/info` about itself.
"""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from worker.core.api import admin
from worker.core.api.endpoints import OF_ONES_OWN, Endpoint
from worker.core.api.errors import service_unavailable
from worker.core.ledger.accounts import Policy
from worker.core.ledger.administration import decide
from worker.core.ledger.decision import Decision
from worker.core.ledger.dialect import Dialect
from worker.core.ledger.secrets import reference

from ..ledger.store import LedgerUnavailable
from ..observability import log
from ..server.context import RequestContext

Run = Callable[[Decision], Awaitable[Any]]


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


class Admin:
    """Runs admin calls on the ledger: `run` executes a decision in `dialect`.

    `policy` is the config's. `clock` returns milliseconds since 1970. `master_key` is None if there is none.
    """

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

    async def __call__(self, context: RequestContext, endpoint: Endpoint) -> None:
        """Raises ApiError 403 before the body is read, 400 with the field's name, 404 for an unknown key, or 503."""
        if not context.administrator and endpoint.name not in OF_ONES_OWN:
            raise admin.master_key_only()
        body = await context.body(admin.MAX_BODY_MB)
        query = context.query
        call = admin.call(endpoint, context.path, query, body, self._master_key)
        if not context.administrator:
            call = admin.of_its_own(endpoint, call, context.key_hash, reference)
        result = await self._run(decide(self._dialect, self._policy, call, self._clock()))
        if endpoint.methods == ("POST",):
            log.info("admin", request_id=context.id, call=endpoint.name, status=result.get("status", 200))
        # orjson cannot write integers over 64 bits, which a key's metadata may contain.
        context.respond(200, json.dumps(admin.answer(result)).encode(), admin.HEADERS)

    async def _run(self, decision: Decision) -> dict[str, Any]:
        try:
            return await self._decide(decision)
        except LedgerUnavailable:
            raise service_unavailable(
                "The ledger's database cannot be used now. The operation may or may not have been done."
            ) from None
