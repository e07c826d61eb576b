"""The baseline Worker: forwards every request unchanged through one object to its container. It uses the Worker's own
`runtime`.
"""

import asyncio
import gc
from typing import Any

from pyodide.ffi import JsException
from workers import DurableObject, WorkerEntrypoint

from edge.runtime import interpreter
from edge.runtime.javascript import bindings, js, js_object

interpreter.install_entries()
interpreter.install_event_loop()


class Forwarder(DurableObject):
    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        if not ctx.container.running:
            ctx.container.start(js_object({"enableInternet": False}))
        self._fetch = ctx.container.getTcpPort(4000).fetch
        self._listens = False

    @interpreter.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        while not self._listens:
            try:
                self._listens = bool(await self._fetch("http://container/"))
            except JsException:
                await asyncio.sleep(0.1)
        return await self._fetch(interpreter.js_request(request))


@interpreter.stateless
class Default(WorkerEntrypoint):
    @interpreter.direct
    async def fetch(self, request: Any, *_: Any) -> Any:
        incoming = interpreter.js_request(request)
        if incoming.method == "GET":
            return js.Response.new("{}")
        return await bindings().FORWARDER.getByName("one").fetch(incoming)


gc.freeze()
