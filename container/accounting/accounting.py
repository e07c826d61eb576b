"""Admission and settlement of the standalone proxy's requests, on whichever store the ledger is kept."""

import asyncio
import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worker.api.errors import forbidden, refused, service_unavailable, unauthenticated
from worker.ledger import admit as admission
from worker.ledger import keys
from worker.ledger.admit import Ask
from worker.ledger.charges import Charge
from worker.ledger.declared import Declared, hold
from worker.ledger.estimate import Prompt, prompt
from worker.ledger.policy import Policy
from worker.ledger.secret import new_id

from .. import log
from ..exchange import Exchange
from ..ledger import LedgerUnavailable, Store
from ..routing.router import RouteRequest
from .housekeeping import Housekeeping
from .reservation import UNACCOUNTED, Reservation, Unaccounted
from .settlements import Settlements
from .tariff import Tariff

# How long a reservation lasts when this process does not renew it any more.
LEASE_MS = 120_000
_DRAIN_SECONDS = 10.0
_UNAVAILABLE = "The ledger cannot be used now, so nothing can be paid for. Try again in a moment."


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Accounting:
    """`alone`: no other process uses the store, so whatever is open there at the start is a dead one's. `declared`: the
    config file's keys, which the ledger has to hold before anybody is let in."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        tariff: Tariff,
        *,
        alone: bool,
        declared: Sequence[Declared] = (),
        retention_days: float | None = None,
        webhook: str | None = None,
        now: Callable[[], int] = milliseconds,
    ) -> None:
        self.store = store
        self.policy = policy
        self.now = now
        self.instance = new_id()
        self._tariff = tariff
        self._settlements = Settlements(store, policy, self.instance, now, LEASE_MS)
        self._housekeeping = Housekeeping(
            store,
            self._settlements,
            self.instance if alone else None,
            now=now,
            lease=LEASE_MS,
            retention_days=retention_days,
            webhook=webhook,
        )
        self._tasks: list[asyncio.Task] = []
        self._declared = declared
        self._holds_declared = False

    async def start(self) -> None:
        """A ledger that is not there yet does not keep the proxy from starting: it answers 503 until it is."""
        try:
            await self.store.open()
            await self._hold_declared()
        except LedgerUnavailable as error:
            log.error("ledger_unavailable", error=str(error))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work) for work in (self._settlements.run(), *self._housekeeping.work())]

    async def close(self) -> None:
        """After the last request: waits for settlements on their way."""
        lost = await self._settlements.drained(_DRAIN_SECONDS)
        if lost:
            log.error("reports_not_sent", reports=lost, consequence="their reservations are charged in full")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._housekeeping.close()
        await self.store.close()

    def under(self, policy: Policy, tariff: Tariff, declared: Sequence[Declared]) -> "Accounting":
        """The same ledger under another configuration. Requests that came under this one are quoted and settled by its
        own prices still; only this one is started and closed."""
        self._declared = declared  # where the old ones are not held yet, they must not come after the new ones
        self._settlements.policy = policy
        other = copy.copy(self)
        other.policy, other._tariff, other._holds_declared = policy, tariff, False
        return other

    async def authenticate(self, exchange: Exchange) -> None:
        """Looks up the virtual key that was presented. Raises ApiError 401 or 503."""
        assert exchange.key_hash is not None, "there is a key to look up"
        found = await self._ask(admission.authenticate(exchange.key_hash, self.now()))
        if not found["ok"]:
            raise refused(found)
        exchange.models = json.dumps(found["models"])

    async def admit(
        self,
        exchange: Exchange,
        endpoint: str,
        body: Mapping[str, Any],
        route: RouteRequest,
        charge: Charge,
        *,
        estimated: Prompt | None = None,
    ) -> Reservation | Unaccounted:
        """Sets aside what the request can cost, and puts the key's limits into the answer's headers. Raises ApiError.

        `estimated`: the prompt, where it is not in `body`.
        """
        check_models(exchange, route)
        size = estimated or prompt(body)
        quote = self._tariff.quote(body, size, route, charge)
        id = new_id()
        ask = Ask(
            id,
            exchange.key_hash,
            route.model,
            endpoint,
            quote.amount,
            quote.tokens,
            self.instance,
            LEASE_MS,
            quote.unpriced,
        )
        try:
            result = await self._ask(admission.admit(self.store.dialect, self.policy, ask, self.now()))
        except BaseException:
            self._settlements.release(id)
            raise
        if not result["ok"]:
            raise refused(result)
        self._settlements.opened(id)
        if result["headers"]:
            exchange.always = [*exchange.always, *((name, value) for name, value in result["headers"])]
        return Reservation(
            id,
            self._tariff,
            self._settlements,
            self.instance,
            amount=quote.amount,
            prompt=size.tokens,
            output_limit=quote.add_limit if result["limited"] else None,
            limited=result["limited"],
            tier=body.get("service_tier"),
            units=charge.units,
        )

    async def _hold_declared(self) -> None:
        """Once; what was taken out of the file must not let anyone in before. Raises LedgerUnavailable."""
        done = await self.store.run(hold(self.store.dialect, self._declared, self.now()))
        self._holds_declared = True
        if done["made"] or done["changed"] or done["blocked"]:
            log.info("virtual_keys", **{name: done[name] for name in ("made", "changed", "blocked")})

    async def _ask(self, decision: Any) -> Any:
        try:
            if not self._holds_declared:
                await self._hold_declared()
            return await self.store.run(decision)
        except LedgerUnavailable as error:
            log.error("ledger_unavailable", error=str(error))
            raise service_unavailable(_UNAVAILABLE) from None


class NoAccounting:
    """Behind the edge, or without a ledger: keys and money are not this process's business."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def authenticate(self, exchange: Exchange) -> None:
        raise unauthenticated("This API key is not valid here.")

    async def admit(self, exchange: Exchange, *_: Any, **__: Any) -> Reservation | Unaccounted:
        if exchange.key_hash is not None:  # nobody could tell whether there is such a key
            raise unauthenticated("This API key is not valid here.")
        return UNACCOUNTED


def check_models(exchange: Exchange, route: RouteRequest) -> None:
    """Raises ApiError 403 when the key may not use the model, or a fallback that the request itself names."""
    for name in (route.model, *(route.fallbacks or ())):
        if not keys.allows(exchange.models, name):
            raise forbidden(f"This key may not use the model '{name[:200]}'.")
