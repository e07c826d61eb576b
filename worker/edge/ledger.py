"""The Worker's and the containers' objects' way to the ledger."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from api.errors import ApiError, service_unavailable
from runtime.javascript import error_text
from runtime.log import log

NAME = "ledger"
# Seconds that what is known of its health holds, and that it may take to say so.
FRESH_SECONDS = 5.0
PATIENCE_SECONDS = 5.0


class LedgerUnavailable(Exception):
    """It could not be asked, or did not answer: what was asked for may or may not have been done."""


class LedgerClient:
    """`namespace`: the binding LEDGER; None where there is none."""

    def __init__(self, namespace: Any) -> None:
        self._namespace = namespace
        self._known: tuple[float, bool] | None = None

    async def usable(self) -> bool:
        """Whether the ledger answers; asked anew after a few seconds, however often somebody wants to know."""
        known = self._known
        if known is not None and time.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = (await self.call("check", {}))["ok"]
        except (LedgerUnavailable, TimeoutError):
            found = False
        self._known = time.monotonic(), found
        return found

    async def call(self, method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What the ledger's method answers. Raises LedgerUnavailable."""
        if self._namespace is None:
            raise LedgerUnavailable("there is no LEDGER binding")
        try:
            stub = self._namespace.getByName(NAME)
            return json.loads(await getattr(stub, method)(json.dumps(fields)))
        except Exception as error:  # noqa: BLE001 whatever it is, nothing can be paid for
            raise LedgerUnavailable(f"{type(error).__name__}: {error_text(error)}") from None


def unavailable(error: LedgerUnavailable, request_id: str) -> ApiError:
    """The 503 that a client gets."""
    log("error", "ledger_unavailable", request_id=request_id, reason=str(error))
    return service_unavailable("The ledger cannot be used now, so nothing can be paid for. Try again in a moment.")
