"""The interface of a ledger store."""

from typing import Any, Protocol

from worker.core.ledger.decision import Decision
from worker.core.ledger.dialect import Dialect


class LedgerUnavailable(Exception):
    """The database is temporarily unavailable: respond with 503 and refuse to spend. It recovers without intervention.

    The operation may or may not have taken effect, so a reservation should be released and a report repeated.
    """


class Store(Protocol):
    """Runs decisions. Every method may raise LedgerUnavailable."""

    dialect: Dialect

    async def open(self) -> None:
        """Connect and migrate the schema. Raises LedgerUnavailable. May be called again."""
        ...

    async def run(self, decision: Decision) -> Any:
        """Return the decision's result."""
        ...

    async def close(self) -> None: ...
