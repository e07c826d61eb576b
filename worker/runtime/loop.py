"""asyncio's callbacks, and calls from JS into Python, as microtasks.

Pyodide waits for a timer of zero milliseconds before each callback of its event loop, so at each step of a task, and
before each call from outside. In workerd every timer is an entry into the isolate of its own: an `await` of a JS
promise took 0.09 ms of CPU, and takes 0.02 ms so. A microtask runs as soon as the JS that queued it has returned, in
the same request and in the same order; so nothing here may spin on `asyncio.sleep(0)`, as nothing else would get its
turn. Real waiting (`call_later`, `sleep`) still uses timers. What runs here cannot block on a promise (`run_sync`).

Source: https://github.com/pyodide/pyodide/blob/main/src/py/pyodide/webloop.py
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pyodide_js  # pyright: ignore[reportMissingImports]
from pyodide.ffi import JsProxy, create_proxy
from pyodide.webloop import WebLoop  # pyright: ignore[reportMissingImports]

from .javascript import js

_ready: deque[tuple[Any, asyncio.Handle]] = deque()
_step: JsProxy | None = None


def use_microtasks() -> None:
    """For the whole isolate, once. Not at import: a snapshot of the memory is taken then, which holds no JS objects."""
    global _step
    if _step is None:
        _step = create_proxy(_run_ready)
        WebLoop.call_soon = _call_soon  # pyright: ignore[reportAttributeAccessIssue]
        # With it Pyodide's JS waits before a call; the loop has its own name for the same function, for its timers.
        pyodide_js._api.scheduleCallback = js.queueMicrotask.bind(js.globalThis)


def _call_soon(loop: Any, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
    handle = asyncio.Handle(callback, args, loop, context=context)
    _ready.append((loop, handle))
    js.queueMicrotask(_step)
    return handle


def _run_ready() -> None:
    """All that is ready, and not one for each microtask: should one ever be lost, the next makes up for it."""
    for _ in range(len(_ready)):
        loop, handle = _ready.popleft()
        # What Pyodide does before each callback: with stack switching these are each thread state's own.
        loop._install_running_loop()
        loop._install_asyncgen_hooks()
        if not handle.cancelled():
            handle._run()
