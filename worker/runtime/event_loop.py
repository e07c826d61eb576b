"""Python's event loop without a timer for each step of a task.

Pyodide sets a timer for whatever is to be called soon, and in workerd each timer enters the isolate anew. Here what is
to be called soon waits for one microtask, which comes before the turn ends: a request's steps stay within the turns in
which the request has something to do. Figures: docs/performance.md.

Microtasks come before anything else can happen, so a task that never waits for something outside keeps everybody out.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from pyodide.ffi import create_proxy
from pyodide.webloop import WebLoop  # pyright: ignore[reportMissingImports]

from .javascript import js

_ready: deque[asyncio.Handle] = deque()
_awaited = False  # whether a microtask will see to what is ready, or does so now
_proxy: Any = None  # of `_call_all`; made with the first request, as the runtime may keep what it has imported


def install() -> None:
    """Called before anything is awaited. A Pyodide that is not the one known here keeps its own ways."""
    if hasattr(WebLoop, "_install_running_loop") and hasattr(WebLoop, "_install_asyncgen_hooks"):
        WebLoop.call_soon = _call_soon


def _call_soon(self: Any, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
    """A method of the loop's."""
    handle = asyncio.Handle(callback, args, self, context=context)
    _ready.append(handle)
    if not _awaited:
        _await(self)
    return handle


def _await(loop: Any) -> None:
    global _awaited, _proxy
    if _proxy is None:
        _proxy = create_proxy(partial(_call_all, loop))
    js.queueMicrotask(_proxy)
    _awaited = True


def _call_all(loop: Any) -> None:
    global _awaited
    loop._install_running_loop()
    loop._install_asyncgen_hooks()
    try:
        while _ready:
            handle = _ready.popleft()
            if not handle.cancelled():
                handle._run()
    finally:
        _awaited = False
        if _ready:  # one of them has ended the turn: the others are not to blame
            _await(loop)
