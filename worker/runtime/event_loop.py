"""Python's event loop without a timer for each step of a task.

Pyodide sets a timer for every callback, and another one before every call from JavaScript; in workerd each timer enters
the isolate anew. Here one microtask runs all callbacks that are ready, and a call from JavaScript starts at once. A
request's steps stay within the turns in which it has something to do. Futures and tasks are those of C, without the
methods that Pyodide adds in Python. Figures: docs/performance.md.

Microtasks run before anything else can happen, so a task that never waits for something outside blocks everybody.

The names replaced here are private to Pyodide. If an upgrade renames one, its own behavior remains, which is slower and
otherwise the same, and tests/worker/runtime/test_event_loop.py fails.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import pyodide_js  # pyright: ignore[reportMissingImports]
from pyodide.ffi import create_proxy
from pyodide.webloop import WebLoop  # pyright: ignore[reportMissingImports]

from .javascript import js

_ready: deque["_Call"] = deque()
_awaited = False  # whether a microtask will see to what is ready, or does so now
# The two below are made with the first request, as the runtime may keep what it has imported.
_queue_microtask: Any = None
_proxy: Any = None  # of `_call_all`


def install() -> None:
    """Called before anything is awaited."""
    if not (hasattr(WebLoop, "_install_running_loop") and hasattr(WebLoop, "_install_asyncgen_hooks")):
        return
    WebLoop.call_soon = _call_soon
    WebLoop.call_at = _call_at
    WebLoop.create_future = _create_future
    WebLoop.create_task = _create_task


class _Call:
    """asyncio.Handle, without what only its debug mode needs."""

    __slots__ = ("_args", "_callback", "_context")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self._callback: Callable[..., Any] | None = callback
        self._args = args
        self._context = copy_context() if context is None else context

    def cancel(self) -> None:
        self._callback, self._args = None, ()

    def cancelled(self) -> bool:
        return self._callback is None

    def run(self, loop: Any) -> None:
        if self._callback is None:
            return
        try:
            self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 as asyncio.Handle
            loop.call_exception_handler({"message": "a callback failed", "exception": error})


def _create_future(self: Any) -> asyncio.Future[Any]:
    """A method of the loop's."""
    return asyncio.Future(loop=self)


def _create_task(self: Any, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    """A method of the loop's. A call from JavaScript starts at once. A task made by another task starts when that one
    waits, as in every loop: its maker may still have to store it."""
    self._install_running_loop()
    if asyncio.current_task(self) is None:
        options.setdefault("eager_start", True)
    return asyncio.Task(coro, loop=self, **options)


def _call_soon(self: Any, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
    """A method of the loop's."""
    handle = _Call(callback, args, context)
    _ready.append(handle)
    if not _awaited:
        _await(self)
    return handle


def _call_at(
    self: Any, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
) -> asyncio.Handle:
    """A method of the loop's. Pyodide's raises ValueError where the time has passed meanwhile."""
    return self.call_later(max(0.0, when - self.time()), callback, *args, context=context)


def _await(loop: Any) -> None:
    global _awaited
    if _proxy is None:
        _begin(loop)
    _queue_microtask(_proxy)
    _awaited = True


def _begin(loop: Any) -> None:
    global _queue_microtask, _proxy
    _queue_microtask = js.queueMicrotask
    _proxy = create_proxy(partial(_call_all, loop))
    if hasattr(pyodide_js._api, "scheduleCallback"):  # awaited before each call from JavaScript
        pyodide_js._api.scheduleCallback = js.queueMicrotask.bind(js.globalThis)


def _call_all(loop: Any) -> None:
    global _awaited
    loop._install_running_loop()
    loop._install_asyncgen_hooks()
    try:
        while _ready:
            _ready.popleft().run(loop)
    finally:
        _awaited = False
        if _ready:  # one of them has ended the turn: the others are not to blame
            _await(loop)
