"""What a store of the ledger is, whichever database is behind it."""

from typing import Any, Protocol

from worker.core.ledger.decision import Decision
from worker.core.ledger.dialect import Dialect


class LedgerUnavailable(Exception):
    """The database cannot be used now: answer 503 and refuse to spend. Nothing has to be done for it to recover.

    What was asked for may or may not have happened: a reservation should be released, a report repeated.
    """


class Store(Protocol):
    """Runs decisions. Every call may raise LedgerUnavailable."""

    dialect: Dialect

    async def open(self) -> None:
        """Connects and brings the schema up to date. Raises LedgerUnavailable; may be called again."""
        ...

    async def run(self, decision: Decision) -> Any:
        """The decision's result."""
        ...

    async def close(self) -> None: ...
