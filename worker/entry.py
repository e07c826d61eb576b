"""The Worker: `Default` answers requests, `ProxyContainer` is its Durable Object."""

from typing import Any

from workers import WorkerEntrypoint

from edge.pipeline import handle
from proxy_container import ProxyContainer

__all__ = ["Default", "ProxyContainer"]


class Default(WorkerEntrypoint):
    async def fetch(self, request: Any) -> Any:
        return await handle(request.js_object)
