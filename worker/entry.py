"""The Worker's main module: the entrypoint `Default`, and the Durable Objects `Ledger` and `ProxyContainer`."""

import gc
from typing import Any

from workers import WorkerEntrypoint

from edge.app import handle
from edge.objects.ledger import Ledger
from edge.objects.own_container import ProxyContainer
from edge.runtime import interpreter

__all__ = ["Default", "Ledger", "ProxyContainer"]

interpreter.install_entries()
interpreter.install_event_loop()


@interpreter.stateless
class Default(WorkerEntrypoint):
    @interpreter.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        return await handle(interpreter.js_request(request))


gc.freeze()  # excludes everything imported so far from garbage collection
