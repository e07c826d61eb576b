"""What a worker has instead of a ledger, an engine and a limit of its own: the hub's."""

import asyncio
from collections.abc import Callable
from typing import Any

from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.decision import Decision, Dialect
from worker.core.ledger.settle import Report

from ..config.providers import Address
from ..engine.supervisor import Engine
from ..ledger.stores import LedgerUnavailable
from ..observability import log
from .link import Link

# The end of a response waits no longer than this for its settlement.
_PATIENCE = 0.5
_CHECK_SECONDS = 3.0


class RemoteLedger:
    """`alone`: no other process uses the store. The hub's ledger takes reports before any later admission, whichever
    worker they come from."""

    # The hub knows them.
    unsettled = open = 0

    def __init__(self, link: Link, dialect: Dialect, instance: str, *, alone: bool) -> None:
        self.dialect = dialect
        self.instance = instance
        self._link = link
        self._alone = alone

    async def admit(self, request: AdmissionRequest, size: int) -> dict[str, Any]:
        try:
            result = await self._link.call("admit", tuple(request), size)
            if "soon" in result:
                result = await self._link.call("wait", tuple(request), size)
            return result
        except BaseException:
            # It may have been admitted.
            self.later(Report(request.id, self.instance, 0, status=0))
            raise

    async def authenticate(self, secret_hash: str) -> dict[str, Any]:
        return await self._link.call("authenticate", secret_hash)

    async def run(self, make: Callable[..., Decision], *arguments: Any, **named: Any) -> Any:
        return await self._link.call("run", make, arguments, named)

    async def usable(self) -> bool:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                return await self._link.call("usable")
        except (LedgerUnavailable, RuntimeError, TimeoutError):
            return False

    def later(self, report: Report) -> None:
        self._link.tell("report", tuple(report))

    async def now(self, report: Report) -> None:
        """Report. If other processes use the ledger, wait briefly until the report is written."""
        self._link.tell("report", tuple(report))
        if self._alone:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._link.call("settled")
        except (LedgerUnavailable, RuntimeError, TimeoutError):
            log.warning("ledger_slow")

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        await self.now(report)
        return []


class RemoteEngine(Engine):
    """The hub's engine. `number` names it, because a new configuration may have another one."""

    def __init__(self, link: Link, number: int, state: str, address: Address | None) -> None:
        self.number = number
        self._link = link
        self.changed(state, address)

    @property
    def state(self) -> str:
        return self._state

    @property
    def pid(self) -> int | None:
        return None

    def changed(self, state: str, address: Address | None) -> None:
        """The hub says so."""
        self._state, self._where = state, address

    def start(self) -> None: ...

    async def ready(self, patience: float) -> Address:
        if self._where is not None:
            return self._where
        return Address(*await self._link.call("engine", self.number, patience))

    async def stop(self) -> None: ...
