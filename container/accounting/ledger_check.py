"""Whether the ledger can be used, for `/health/readiness`: asked when somebody wants to know, and rarely."""

import asyncio
import time
from collections.abc import Callable

from worker.ledger.schema import writable

from ..ledger import LedgerUnavailable, Store

# Seconds that an answer holds for everybody who asks, and that the ledger may take.
FRESH_SECONDS = 1.0
PATIENCE_SECONDS = 2.0


class LedgerCheck:
    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: tuple[float, bool] | None = None
        self._asking: asyncio.Task[bool] | None = None

    async def usable(self) -> bool:
        """Whether a row can be written. Probes that come together share one question."""
        if self._known is not None and self._clock() - self._known[0] < FRESH_SECONDS:
            return self._known[1]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._store.run(writable())
            found = True
        except (LedgerUnavailable, TimeoutError):
            found = False
        finally:
            self._asking = None
        self._known = self._clock(), found
        return found
