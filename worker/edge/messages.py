"""JS requests and responses: their headers, and the responses that the edge makes itself."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from core.api.endpoints import dashboard_file
from core.api.errors import ApiError, Dialect, unknown_path
from core.protocol import REQUEST_ID_HEADER, from_json, to_json

from .runtime.javascript import NULL, js, js_headers, kept, or_none

JSON = ("content-type", "application/json")


def headers_of(message: Any) -> dict[str, str]:
    """Returns all headers of a JS Request or Response by lower-case name, crossing the boundary as one string."""
    return from_json(kept("JSON.stringify")(kept("Object.fromEntries")(message.headers)))


def plain_object(fields: Mapping[str, str]) -> Any:
    """Converts names and values to a JS object in one step. `js_object` would cross it for each value."""
    return kept("JSON.parse")(to_json(fields))


def error_response(error: ApiError, dialect: Dialect = "openai") -> Any:
    body = error.body(dialect).decode()
    return js.Response.new(body, status=error.status, headers=js_headers([JSON, *error.headers]))


def json_response(status: int, body: dict, headers: Iterable[tuple[str, str]] = ()) -> Any:
    said = js_headers([JSON, ("cache-control", "no-store"), *headers])
    return js.Response.new(json.dumps(body), status=status, headers=said)


def text_response(body: str) -> Any:
    """`body`: encoded JSON."""
    return js.Response.new(body, status=200, headers=js_headers([JSON]))


def plain_response(body: str) -> Any:
    """`body`: Prometheus' text format."""
    kind = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
    return js.Response.new(body, status=200, headers=js_headers([kind, ("cache-control", "no-store")]))


def empty_response(status: int) -> Any:
    return js.Response.new(NULL, status=status)


async def without_body(response: Any) -> Any:
    """Returns the response to a HEAD request."""
    body = or_none(response.body)
    bare = js.Response.new(NULL, response)
    if body is not None:
        await body.cancel()
    return bare


def finished(response: Any, request_id: str, cors: Iterable[tuple[str, str]]) -> Any:
    """Adds the request id and the CORS headers. Returns `response` itself if it has them, else a copy."""
    added = list(cors)
    if or_none(response.headers.get(REQUEST_ID_HEADER)) is None:
        added.append((REQUEST_ID_HEADER, request_id))
    if not added:
        return response
    copy = js.Response.new(response.body, response)
    for name, value in added:
        if name != "vary":
            copy.headers.set(name, value)
        elif value.lower() not in (or_none(copy.headers.get(name)) or "").lower():
            copy.headers.append(name, value)
    return copy


def page_response(path: str, if_none_match: str | None) -> Any:
    """Serves a file of the dashboard. Raises ApiError 404."""
    import dashboard  # imported on first use, so that other isolates do not pay for it

    answer = dashboard.answer(dashboard_file(path) or dashboard.PAGE, if_none_match)
    if answer is None:
        raise unknown_path(path)
    headers = js_headers([("content-type", answer.content_type), *answer.headers])
    body = answer.content.decode() if answer.content else NULL
    return js.Response.new(body, status=answer.status, headers=headers)
