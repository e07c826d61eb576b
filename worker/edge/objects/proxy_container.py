"""The Durable Object of a further container. It forwards requests and reports their usage to the ledger."""

from typing import Any

from ..ledger_client import LedgerClient
from ..runtime import interpreter
from ..runtime.javascript import bindings, or_none, unwrapped
from .drain_ends import LedgerObject, StorageAlarm
from .own_container import ContainerObject, OwnContainer


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
