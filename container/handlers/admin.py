"""The admin endpoints, such as `/key/*` and `/spend/*`: for the master key, and within their rights for people who are
signed in and for virtual keys.
"""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from worker.core.api import admin
from worker.core.api.authorization import operators_only
from worker.core.api.endpoints import Endpoint
from worker.core.api.errors import service_unavailable
from worker.core.ledger.accounts import Policy
from worker.core.ledger.administration import decide
from worker.core.ledger.decision import Decision
from worker.core.ledger.dialect import Dialect

from ..ledger.store import LedgerUnavailable
from ..observability import log
from ..server.context import RequestContext

Run = Callable[..., Awaitable[Any]]


def wall_clock() -> int:
    return time.time_ns() // 1_000_000


class Admin:
    """Runs admin calls on the ledger: `run` executes a decision in `dialect`, as `Ledger.run`.

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
        if context.credential is None and not context.administrator:
            raise admin.operators_only()
        if operators_only(endpoint.name) and context.key_hash is not None:
            raise admin.operators_only()
        body = await context.body(admin.MAX_BODY_MB)
        call = admin.call(endpoint, context.path, context.query, body, self._master_key)
        credential = None if context.administrator else context.credential
        result = await self._run(decide, self._dialect, self._policy, call, self._clock(), credential)
        if endpoint.methods == ("POST",):
            log.info("admin", request_id=context.id, call=endpoint.name, status=result.get("status", 200))
        # orjson cannot write integers over 64 bits, which a key's metadata may contain.
        context.respond(200, json.dumps(admin.answer(result)).encode(), admin.HEADERS)

    async def _run(self, make: Callable[..., Decision], *arguments: Any) -> dict[str, Any]:
        try:
            return await self._decide(make, *arguments)
        except LedgerUnavailable:
            raise service_unavailable(
                "The ledger's database cannot be used now. The operation may or may not have been done."
            ) from None
