"""The Worker: `Default` answers requests; its Durable Objects are `ProxyContainer` and `Ledger`."""

import gc
from typing import Any

from workers import WorkerEntrypoint

from edge.pipeline import handle
from ledger_object import Ledger
from proxy_container import ProxyContainer
from runtime import entries, event_loop

__all__ = ["Default", "Ledger", "ProxyContainer"]

entries.install()
event_loop.install()


@entries.stateless
class Default(WorkerEntrypoint):
    @entries.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        return await handle(entries.js_request(request))


gc.freeze()  # what is imported stays: no collection looks through it again
