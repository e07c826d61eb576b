"""The Durable Object of a further container. It forwards requests and reports their usage to the ledger."""

import time
from typing import Any

from ..ledger_client import LedgerClient, LedgerUnavailable
from ..runtime import interpreter
from ..runtime.javascript import bindings, or_none, unwrapped
from .own_container import ContainerObject, OwnContainer
from .usage_drain import LedgerFailed


class ProxyContainer(ContainerObject):
    """An object named proxy-1, proxy-2, …, each with a container. The first container belongs to the ledger object."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        container = or_none(ctx.container)
        self._own = None
        if container is not None:
            storage = unwrapped(ctx.storage)
            ledger = LedgerObject(LedgerClient(or_none(getattr(bindings(), "LEDGER", None))))
            self._own = OwnContainer(container, storage, ledger, StorageAlarm(storage))

    async def alarm(self, *_: Any) -> None:
        """Runs while there may be something to fetch from the container."""
        if self._own is not None:
            await self._own.drain.alarm()

    @interpreter.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        """Returns the container's response unchanged, or a 503. With NO_INSTANCE_HEADER, nothing was sent."""
        incoming = interpreter.js_request(request)
        return await self._answer(incoming, self._configuration(incoming.headers))


class LedgerObject:
    """The ledger object as a `usage_drain.Ledger`."""

    def __init__(self, client: LedgerClient) -> None:
        self._client = client

    async def report(self, instance: str, reports: list[list[Any]], renew: list[str]) -> None:
        await self._call("report", {"instance": instance, "reports": reports, "renew": renew})

    async def ended(self, instance: str) -> None:
        await self._call("ended", {"instance": instance})

    async def bind(self, id: str, instance: str) -> None:
        await self._client.call("bind", {"id": id, "instance": instance})

    async def _call(self, method: str, fields: dict[str, Any]) -> None:
        try:
            await self._client.call(method, fields)
        except LedgerUnavailable as error:
            raise LedgerFailed(str(error)) from None


class StorageAlarm:
    """The object's only alarm. `storage`: `ctx.storage`."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def set(self, seconds: float) -> None:
        self._storage.setAlarm(int((time.time() + seconds) * 1000))

    def delete(self) -> None:
        self._storage.deleteAlarm()
