"""The Worker's and the containers' objects' way to the ledger."""

import json
from collections.abc import Mapping
from typing import Any

from api.errors import ApiError, service_unavailable
from runtime.javascript import error_text
from runtime.log import log

NAME = "ledger"


class LedgerUnavailable(Exception):
    """It could not be asked, or did not answer: what was asked for may or may not have been done."""


class LedgerClient:
    """`namespace`: the binding LEDGER; None where there is none."""

    def __init__(self, namespace: Any) -> None:
        self._namespace = namespace

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
