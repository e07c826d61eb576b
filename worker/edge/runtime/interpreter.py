"""Speeds up Pyodide's event loop and calls from JavaScript, by avoiding expensive timers and conversions."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import pyodide_js  # pyright: ignore[reportMissingImports]
import workers
from pyodide.ffi import create_proxy
from pyodide.webloop import WebLoop  # pyright: ignore[reportMissingImports]

from .javascript import js

try:  # private: without it, a promise's value takes one more entry into Python
    from _pyodide import _future_helper  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
except ImportError:
    _future_helper: Any = None

_CONVERTERS = ("python_from_rpc", "python_to_rpc")
# The type of every JS object, and of no Python object. `pyodide.ffi.JsProxy` compares flags in Python.
_JS_OBJECT = type(js).__mro__[-2]
# `inspect.signature` raises TypeError for a function with such a `__signature__`. Then relaxed_call, which normally
# drops arguments that a function does not accept, passes all of them and binds none.
_NOT_INSPECTABLE = False


def install_entries() -> None:
    """Call this while the main module is imported: workerd's wrapper imports the converters afterwards."""
    if all(hasattr(workers, name) for name in _CONVERTERS):
        workers.python_from_rpc = _as_it_is
        workers.python_to_rpc = _result_converter(workers.python_to_rpc)


def direct(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a `fetch` method. workerd may pass more than the request, so the method must accept any arguments."""
    method.__signature__ = _NOT_INSPECTABLE
    return method


def stateless(cls: Any) -> Any:
    """Decorates a WorkerEntrypoint without per-request state: one instance serves all requests.

    workerd creates an instance for each request, and the SDK wraps `ctx` and `env` for it.
    """
    one = object.__new__(cls)
    cls.__new__ = lambda *_: one
    cls.__init__ = lambda *_: None  # replaces the SDK's wrapper
    return cls


def js_request(request: Any) -> Any:
    """Returns the JS Request passed to `fetch`, even if the SDK has wrapped it."""
    return request if isinstance(request, _JS_OBJECT) else request.js_object


def _as_it_is(value: Any) -> Any:
    return value


_PASSED_ON = (_JS_OBJECT, str)


def _result_converter(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def converted(value: Any) -> Any:
        return value if isinstance(value, _PASSED_ON) else convert(value)

    return converted


_ready: deque["_Call"] = deque()
_awaited = False  # a microtask is scheduled or running
# Created on the first request, because the runtime may snapshot what was imported.
_queue_microtask: Any = None
_proxy: Any = None  # of `_call_all`


def install_event_loop() -> None:
    """Call this before anything is awaited."""
    if not (hasattr(WebLoop, "_install_running_loop") and hasattr(WebLoop, "_install_asyncgen_hooks")):
        return
    WebLoop.call_soon = _call_soon
    WebLoop.call_at = _call_at
    WebLoop.create_future = _create_future
    WebLoop.create_task = _create_task
    if hasattr(_future_helper, "set_result"):
        _future_helper.set_result = _resolve


class _Call:
    """Like asyncio.Handle, without what only the debug mode needs."""

    __slots__ = ("args", "callback", "context")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args = args
        self.context = copy_context() if context is None else context

    def cancel(self) -> None:
        self.callback, self.args = None, ()

    def cancelled(self) -> bool:
        return self.callback is None


def _create_future(self: Any) -> asyncio.Future[Any]:
    """Replaces a method of the loop."""
    return asyncio.Future(loop=self)


def _create_task(self: Any, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    """Replaces a method of the loop. A call from JavaScript starts immediately. A task created by another task starts
    when that one waits, as in other loops: its creator may still have to store it."""
    self._install_running_loop()
    if asyncio.current_task(self) is None:
        options.setdefault("eager_start", True)
    return asyncio.Task(coro, loop=self, **options)


def _call_soon(self: Any, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
    """Replaces a method of the loop."""
    handle = _Call(callback, args, context)
    _ready.append(handle)
    if not _awaited:
        _await(self)
    return handle


def _call_at(
    self: Any, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
) -> asyncio.Handle:
    """Replaces a method of the loop. Pyodide's raises ValueError if the time has passed in the meantime."""
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
    if hasattr(pyodide_js._api, "scheduleCallback"):  # Pyodide awaits it before each call from JavaScript
        pyodide_js._api.scheduleCallback = js.queueMicrotask.bind(js.globalThis)


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    """Replaces a function of Pyodide's, which a JS promise calls with its value. What waited for the promise continues
    at once: a microtask would enter Python once more."""
    global _awaited
    if future.done():
        return
    if _awaited or _proxy is None:
        future.set_result(value)
        return
    _awaited = True
    try:
        future.set_result(value)
    finally:
        _call_all(future.get_loop())


def _call_all(loop: Any) -> None:
    global _awaited
    loop._install_running_loop()
    loop._install_asyncgen_hooks()
    try:
        while _ready:
            call = _ready.popleft()
            if call.callback is not None:
                try:
                    call.context.run(call.callback, *call.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 as in asyncio.Handle
                    loop.call_exception_handler({"message": "a callback failed", "exception": error})
    finally:
        _awaited = False
        if _ready:  # a callback raised SystemExit or KeyboardInterrupt; run the others later
            _await(loop)
