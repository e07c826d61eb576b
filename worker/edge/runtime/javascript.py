"""Helpers for JS objects.

Passing a Python dict as headers to a raw JS call ends the whole process, and JS `null` is not Python's None.
"""

from collections.abc import Coroutine, Iterable, Mapping
from functools import cache
from typing import Any

import js as _js  # pyright: ignore[reportMissingImports]
from pyodide.ffi import JsProxy, to_js
from pyodide.ffi import jsnull as _jsnull  # pyright: ignore[reportAttributeAccessIssue]
from workers import import_from_javascript

# The JavaScript global scope. It has no Python types.
js: Any = _js
NULL: Any = _jsnull


def bindings() -> Any:
    """Returns the Worker's variables, secrets and bindings as a JS object. The SDK's wrappers are expensive."""
    return import_from_javascript("cloudflare:workers").env


def wait_until(work: Coroutine[Any, Any, None]) -> None:
    """Runs work that the current request does not wait for, also after its response."""
    import_from_javascript("cloudflare:workers").waitUntil(work)


@cache
def kept(path: str) -> Any:
    """Returns a function of JavaScript's global scope, such as `Object.fromEntries`; `Request.new` is a constructor.

    It is looked up once per isolate, because each step of the path crosses the boundary. Do not use it while a module
    is imported: the runtime may snapshot what was imported.
    """
    found = js
    for name in path.split("."):
        found = getattr(found, name)
    return found


def or_none(value: Any) -> Any:
    """Converts JS `null` to None. (`undefined` is None already.)"""
    return None if value is NULL else value


def variable(env: Any, name: str) -> str | None:
    """Returns a variable or secret; None if it is unset, empty or not a string."""
    value = getattr(env, name, None)
    return value if isinstance(value, str) and value else None


def unwrapped(value: Any) -> Any:
    """Returns the JS object that the SDK has wrapped. The wrapper would convert everything that goes in or out."""
    return getattr(value, "_binding", value)


def js_object(fields: Mapping[str, Any]) -> JsProxy:
    """Converts a mapping, including nested ones, to a plain JS object."""
    return to_js(fields, dict_converter=kept("Object.fromEntries"))


def js_headers(pairs: Iterable[tuple[str, str]]) -> Any:
    """Returns a JS Headers object."""
    return kept("Headers.new")(to_js([[name, value] for name, value in pairs]))


def error_text(error: Exception) -> str:
    """Returns the message of a JS error, without its stack."""
    return str(getattr(error, "message", None) or error)
