"""Calls from JavaScript into our classes, without the SDK's conversions.

workerd calls a method through a wrapper. The wrapper converts each argument and the result, and inspects the method's
signature; the SDK wraps `ctx` and `env`. A plain request crosses this boundary five times, for 0.3 ms of CPU each time.
Our methods only take and return JavaScript's requests and responses, texts and flags, which need no conversion.

The names replaced here are private to the SDK and to workerd. If an upgrade renames one, the SDK's behavior remains,
which is slower and otherwise the same, and tests/worker/runtime/test_entries.py fails.
"""

from collections.abc import Callable
from typing import Any

import workers
from pyodide.ffi import JsProxy

_CONVERTERS = ("python_from_rpc", "python_to_rpc")
# `inspect.signature` raises TypeError for a function with such a `__signature__`. Then relaxed_call, which drops the
# arguments that a function does not take, passes all of them and binds none.
_NOT_INSPECTABLE = False


def install() -> None:
    """Call it while the main module is imported: workerd's wrapper imports the converters after that."""
    if all(hasattr(workers, name) for name in _CONVERTERS):
        workers.python_from_rpc = _as_it_is
        workers.python_to_rpc = _result_converter(workers.python_to_rpc)


def direct(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of a `fetch` method. workerd may pass it more than the request, so it must accept any arguments."""
    method.__signature__ = _NOT_INSPECTABLE
    return method


def stateless(cls: Any) -> Any:
    """Decorator of a WorkerEntrypoint that keeps nothing of a request: one instance serves all of them.

    workerd makes an instance for each request, and the SDK wraps `ctx` and `env` for it.
    """
    one = object.__new__(cls)
    cls.__new__ = lambda *_: one
    cls.__init__ = lambda *_: None  # replaces the SDK's wrapper
    return cls


def js_request(request: Any) -> Any:
    """The JS Request that `fetch` was called with, even if the SDK has wrapped it."""
    return request if isinstance(request, JsProxy) else request.js_object


def _as_it_is(value: Any) -> Any:
    return value


def _result_converter(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def converted(value: Any) -> Any:
        return value if isinstance(value, JsProxy | str) else convert(value)

    return converted
