"""A Worker that tells how asyncio behaves with `runtime.loop`: GET /NAME runs the function of that name."""

import asyncio
import json

from pyodide.ffi import create_proxy
from workers import WorkerEntrypoint

from runtime.javascript import js
from runtime.loop import use_microtasks


async def order():
    """Callbacks in the order they were asked for, a cancelled one left out, a task's first step among them."""
    done, loop = [], asyncio.get_running_loop()

    async def task():
        done.append("task")
        await js.Promise.resolve(None)
        done.append("after a promise")

    loop.call_soon(done.append, "first")
    loop.call_soon(done.append, "cancelled").cancel()
    running = asyncio.ensure_future(task())
    loop.call_soon(done.append, "last")
    await running
    return done


async def failure():
    """A callback that raises keeps nobody else from running."""
    done, loop = [], asyncio.get_running_loop()
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(done.append, "next")
    await asyncio.sleep(0.001)
    return done


async def waiting():
    """A time limit ends what takes longer, and leaves alone what does not."""
    found = []
    for seconds in (0.001, 10):
        try:
            await asyncio.wait_for(asyncio.sleep(seconds), 0.1)
            found.append("done")
        except TimeoutError:
            found.append("over")
    return found


async def timers():
    """How many timers ten awaited promises and tasks take."""
    original, count = js.setTimeout, 0

    def counted(*arguments):
        nonlocal count
        count += 1
        return original(*arguments)

    proxy = create_proxy(counted)
    js.globalThis.setTimeout = proxy
    try:
        for _ in range(10):
            await js.Promise.resolve(None)
            await asyncio.ensure_future(asyncio.gather())
    finally:
        js.globalThis.setTimeout = original
        proxy.destroy()
    return count


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        use_microtasks()
        name = js.URL.new(request.js_object.url).pathname[1:]
        asked = {function.__name__: function for function in (order, failure, waiting, timers)}
        return js.Response.new(json.dumps(await asked[name]() if name in asked else "ready"))
