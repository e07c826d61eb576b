"""The Durable Object of a further container: passes requests on to it, and tells the ledger what they came to."""

from typing import Any

from ..ledger_client import LedgerClient
from ..runtime import interpreter
from ..runtime.javascript import bindings, or_none, unwrapped
from .drain_ends import LedgerObject, StorageAlarm
from .own_container import ContainerObject, OwnContainer


class ProxyContainer(ContainerObject):
    """Named proxy-1, proxy-2, …; each has a container of its own. The first one is the ledger's."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        container = or_none(ctx.container)
        self._own = None
        if container is not None:
            storage = unwrapped(ctx.storage)
            ledger = LedgerObject(LedgerClient(or_none(getattr(bindings(), "LEDGER", None))))
            self._own = OwnContainer(container, storage, ledger, StorageAlarm(storage))

    async def alarm(self, *_: Any) -> None:
        """Set while there may be something to fetch from the container."""
        if self._own is not None:
            await self._own.drain.alarm()

    @interpreter.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        """The container's response as it came, or a 503; one with NO_INSTANCE_HEADER has sent nothing anywhere."""
        incoming = interpreter.js_request(request)
        return await self._answer(incoming, self._configuration(incoming.headers))
