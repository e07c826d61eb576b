"""The few things about JS objects that have to be said once.

A Python dict as headers in a raw JS call ends the whole process, and JS `null` is not Python's None.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import js as _js  # pyright: ignore[reportMissingImports]
from pyodide.ffi import JsProxy, to_js
from pyodide.ffi import jsnull as _jsnull  # pyright: ignore[reportAttributeAccessIssue]
from workers import import_from_javascript

# The JavaScript global scope; it has no types that Python could know.
js: Any = _js
NULL: Any = _jsnull


def bindings() -> Any:
    """The Worker's variables, secrets and bindings as JS has them: the SDK's wrappers cost half a request."""
    return import_from_javascript("cloudflare:workers").env


@cache
def kept(path: str) -> Any:
    """A function of JavaScript's global scope, as `Object.fromEntries`; `Request.new` makes an object of a class.

    Looked up once in an isolate: each step of the path is a step over the boundary. Not for use while a module is
    imported, as the runtime may keep what it has imported.
    """
    found = js
    for name in path.split("."):
        found = getattr(found, name)
    return found


def or_none(value: Any) -> Any:
    """None for JS `null` (and for `undefined`, which is None already)."""
    return None if value is NULL else value


def variable(env: Any, name: str) -> str | None:
    """A variable or secret; None when it is not set, empty or not text."""
    value = getattr(env, name, None)
    return value if isinstance(value, str) and value else None


def unwrapped(value: Any) -> Any:
    """The JS object that the SDK has wrapped; its wrapper converts whatever goes in and out."""
    return getattr(value, "_binding", value)


def js_object(fields: Mapping[str, Any]) -> JsProxy:
    """A plain JS object, nested mappings too."""
    return to_js(fields, dict_converter=kept("Object.fromEntries"))


def js_record(texts: Mapping[str, str]) -> Any:
    """A plain JS object of texts, such as a new Request takes for its headers. As one JSON text, as each value by
    itself would be a step over the boundary."""
    return kept("JSON.parse")(json.dumps(texts))


def js_headers(pairs: Iterable[tuple[str, str]]) -> Any:
    """A JS Headers object."""
    return kept("Headers.new")(to_js([[name, value] for name, value in pairs]))


def headers_of(message: Any) -> dict[str, str]:
    """All headers of a JS Request or Response, names in lower case, in one step over the boundary."""
    return kept("Object.fromEntries")(message.headers).to_py()


def error_text(error: Exception) -> str:
    """What a JS error says, without its stack."""
    return str(getattr(error, "message", None) or error)
