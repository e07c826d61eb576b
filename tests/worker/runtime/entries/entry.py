"""A Worker that returns JSON about how it and its object were called."""

import json

from pyodide.ffi import create_proxy
from workers import DurableObject, WorkerEntrypoint

from edge.runtime import interpreter
from edge.runtime.javascript import bindings, js

interpreter.install_entries()
interpreter.install_event_loop()
timers = []


class Counter(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self._calls = 0

    @interpreter.direct
    async def fetch(self, request, *_):
        self._calls += 1
        return js.Response.new(json.dumps([type(request).__name__, self._calls]))

    async def text(self, given):
        return given + type(given).__name__

    async def fields(self):
        return {"number": 1, "nothing": None}


@interpreter.stateless
class Default(WorkerEntrypoint):
    @interpreter.direct
    async def fetch(self, request, *rest):
        way = js.URL.new(interpreter.js_request(request).url).pathname[1:]
        return js.Response.new(json.dumps(await WAYS[way](self, request)))


async def called(self, request):
    return [type(request).__name__, vars(self)]


async def instance(self, request):
    return id(self)


async def count_timers(self, request):
    """Starts counting and returns the count since the last call."""
    set_timer, seen = js.setTimeout, len(timers)
    if not timers:
        js.globalThis.setTimeout = create_proxy(lambda *given: (timers.append(given), set_timer(*given))[1])
        timers.append(None)
        seen = 1
    del timers[1:]
    return seen - 1


async def an_object(self, request):
    stub = bindings().COUNTER.getByName("one")
    response = await stub.fetch(request)
    fields = (await stub.fields()).to_py()
    return [json.loads(await response.text()), await stub.text("a "), fields["number"]]


WAYS = {"": called, "called": called, "instance": instance, "timers": count_timers, "object": an_object}
