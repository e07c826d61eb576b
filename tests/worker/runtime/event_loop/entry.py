"""A Worker with one path per use of the event loop. It returns a JSON list of events in order."""

import asyncio
import json
from functools import partial

import pyodide_js
from pyodide.ffi import create_once_callable
from workers import WorkerEntrypoint

from edge.runtime import interpreter
from edge.runtime.javascript import js

interpreter.install_event_loop()
LEFT = []


async def order(loop, seen):
    for number in range(3):
        loop.call_soon(seen.append, number)
    await asyncio.sleep(0)
    seen.append("slept")


async def nested(loop, seen):
    loop.call_soon(lambda: loop.call_soon(seen.append, "inner"))
    loop.call_soon(seen.append, "outer")
    await asyncio.sleep(0.001)


async def cancelled(loop, seen):
    loop.call_soon(seen.append, "never").cancel()
    loop.call_soon(seen.append, "called")
    await asyncio.sleep(0.001)


async def broken(loop, seen):
    def fail():
        raise RuntimeError("on purpose")

    loop.set_exception_handler(lambda _, what: seen.append(str(what["exception"])))
    loop.call_soon(fail)
    loop.call_soon(seen.append, "after it")
    await asyncio.sleep(0.001)


async def ended(loop, seen):
    """What asyncio lets through."""

    def leave():
        raise KeyboardInterrupt

    loop.call_soon(leave)
    loop.call_soon(seen.append, "after it")
    await asyncio.sleep(0.001)


async def before_timers(loop, seen):
    """A due timer waits until no callback is queued."""
    done = asyncio.Event()
    loop.call_later(0, lambda: (seen.append("timer"), done.set()))
    for number in range(3):
        await asyncio.sleep(0)
        seen.append(number)
    await done.wait()


async def late(loop, seen):
    """A time in the past is due at once, as in asyncio's own loops."""
    loop.call_at(loop.time() - 1, seen.append, "late")
    await asyncio.sleep(0.01)


async def tasks(loop, seen):
    async def step(number):
        await js.Promise.resolve(number)
        seen.append(number)
        return number

    seen.append(await asyncio.gather(*(step(n) for n in range(3))))
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
    except TimeoutError:
        seen.append("timeout")


async def from_javascript(loop, seen):
    """A call from outside any task starts at once. A task created by another task waits for it."""
    tasks = []

    async def step(name):
        seen.append(name)

    def call():
        tasks.append(asyncio.ensure_future(step("at once")))
        seen.append("called")

    loop.call_soon(call)
    await asyncio.sleep(0.001)
    task = asyncio.create_task(step("later"))
    seen.append("made")
    await task


async def futures(loop, seen):
    """C futures, whose callbacks run no Python."""
    seen.append(type(loop.create_future()) is asyncio.Future)
    seen.append(type(asyncio.current_task()) is asyncio.Task)


async def before_a_call(loop, seen):
    """What Pyodide awaits before each call from JavaScript is also a microtask."""
    callbacks = [create_once_callable(partial(seen.append, name)) for name in ("before", "microtask")]
    pyodide_js._api.scheduleCallback(callbacks[0], 0)
    js.queueMicrotask(callbacks[1])
    await asyncio.sleep(0.001)


WAYS = {
    f.__name__: f
    for f in (
        order,
        nested,
        cancelled,
        broken,
        ended,
        before_timers,
        late,
        tasks,
        from_javascript,
        futures,
        before_a_call,
    )
}


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        seen = []
        way = WAYS.get(js.URL.new(request.js_object.url).pathname[1:])
        if way is not None:
            await way(asyncio.get_running_loop(), seen)
        return js.Response.new(json.dumps(seen))
