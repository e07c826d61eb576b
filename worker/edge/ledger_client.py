"""Client of the ledger object, for the Worker and the containers' objects."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from core.api.errors import ApiError, service_unavailable
from core.configuration import Configuration

from .runtime.javascript import error_text, js_object
from .runtime.log import log

NAME = "ledger"
# Seconds that a health result is valid, and the maximum seconds for the check.
FRESH_SECONDS = 5.0
PATIENCE_SECONDS = 5.0
# The error of an object whose code does not know a field. It has done nothing then.
_UNKNOWN_FIELD = "unexpected keyword argument"


class LedgerUnavailable(Exception):
    """The ledger did not respond. The operation may or may not have been done."""


class LedgerClient:
    """`namespace`: the LEDGER binding; None if missing. `place`: see `object_of`."""

    def __init__(self, namespace: Any, place: str | None = None) -> None:
        self._namespace = namespace
        self._place = place
        self._known: tuple[float, bool] | None = None

    async def usable(self) -> bool:
        """Whether the ledger responds. The result is cached for a few seconds."""
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

    async def admit(self, ask: Mapping[str, Any], configuration: Configuration) -> dict[str, Any]:
        """Returns a result of `ledger.batch.batch` under this configuration. `ask`: the fields of
        `ledger.admit.AdmissionRequest` except the lease. Raises LedgerUnavailable."""
        asked = {**ask, "configuration": configuration.name}
        # An older object knows no end users and candidates, an even older one no lower limits, no tags, or only its own
        # configuration.
        for left_out in (("end_user", "candidates"), ("steps", "without_limit"), ("tags",), ("configuration",)):
            try:
                return await self._admitted(asked, configuration)
            except LedgerUnavailable as error:
                if _UNKNOWN_FIELD not in str(error):
                    raise
            for name in left_out:
                asked.pop(name, None)
        return await self.call("admit", asked)

    async def _admitted(self, asked: Mapping[str, Any], configuration: Configuration) -> dict[str, Any]:
        """Sends the configuration first if the object lacks it. Raises LedgerUnavailable."""
        result = await self.call("admit", asked)
        if "unconfigured" in result:
            await self._asked("configure", configuration.text())
            result = await self.call("admit", asked)
        return result

    async def call(self, method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Calls a method of the ledger. Raises LedgerUnavailable."""
        return json.loads(await self._asked(method, json.dumps(fields)))

    async def _asked(self, method: str, text: str) -> str:
        if self._namespace is None:
            raise LedgerUnavailable("there is no LEDGER binding")
        try:
            return await getattr(object_of(self._namespace, NAME, self._place), method)(text)
        except Exception as error:  # noqa: BLE001 without the ledger nothing can be paid for, whatever the error
            raise LedgerUnavailable(f"{type(error).__name__}: {error_text(error)}") from None


def object_of(namespace: Any, name: str, place: str | None) -> Any:
    """Returns the stub of a Durable Object. `place`: where to create it if it does not exist yet, permanently; None
    leaves it to Cloudflare
    (https://developers.cloudflare.com/durable-objects/reference/data-location/#provide-a-location-hint)."""
    if place is None:
        return namespace.getByName(name)
    return namespace.getByName(name, js_object({"locationHint": place}))


def unavailable(error: LedgerUnavailable, request_id: str) -> ApiError:
    """Logs the error and returns the 503 for the client."""
    log("error", "ledger_unavailable", request_id=request_id, reason=str(error))
    return service_unavailable("The ledger cannot be used now, so nothing can be paid for. Try again in a moment.")
