"""The baseline Worker: forwards every request unchanged through one object to its container. It uses the Worker's own
`runtime`.
"""

import asyncio
import gc
from typing import Any

from pyodide.ffi import JsException
from runtime import entries, event_loop
from runtime.javascript import bindings, js, js_object
from workers import DurableObject, WorkerEntrypoint

entries.install()
event_loop.install()


class Forwarder(DurableObject):
    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        if not ctx.container.running:
            ctx.container.start(js_object({"enableInternet": False}))
        self._fetch = ctx.container.getTcpPort(4000).fetch
        self._listens = False

    @entries.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        while not self._listens:
            try:
                self._listens = bool(await self._fetch("http://container/"))
            except JsException:
                await asyncio.sleep(0.1)
        return await self._fetch(entries.js_request(request))


@entries.stateless
class Default(WorkerEntrypoint):
    @entries.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        incoming = entries.js_request(request)
        if incoming.method == "GET":
            return js.Response.new("{}")
        return await bindings().FORWARDER.getByName("one").fetch(incoming)


gc.freeze()
