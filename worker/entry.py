"""The Worker: `Default` answers requests; its Durable Objects are `ProxyContainer` and `Ledger`."""

from typing import Any

from workers import WorkerEntrypoint

from edge.pipeline import handle
from ledger_object import Ledger
from proxy_container import ProxyContainer
from runtime import event_loop

__all__ = ["Default", "Ledger", "ProxyContainer"]

event_loop.install()


class Default(WorkerEntrypoint):
    async def fetch(self, request: Any) -> Any:
        return await handle(request.js_object)
