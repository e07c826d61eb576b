"""JS requests and responses: a client's request and its body, what of it goes on to a container, headers, and the
responses that the edge makes itself."""

import asyncio
import functools
import json
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pyodide.ffi import JsException, create_proxy

from catalog import CATALOG
from core.api.endpoints import dashboard_file
from core.api.errors import ApiError, Dialect, body_too_slow, invalid_request, unknown_path
from core.configuration import Configuration, own
from core.protocol import CATALOG_HEADER, CONFIGURATION_HEADER, REQUEST_ID_HEADER, from_json, to_json

from .requests import dropped, forwarded
from .runtime.javascript import NULL, bindings, js, js_headers, kept, or_none, variable

JSON = ("content-type", "application/json")
# The maximum seconds for a whole body. It occupies memory, possibly before its client's key has been checked.
MOST_BODY_SECONDS = 30
_SAME_BODY = object()


def headers_of(message: Any) -> dict[str, str]:
    """Returns all headers of a JS Request or Response by lower-case name, crossing the boundary as one string."""
    return from_json(kept("JSON.stringify")(kept("Object.fromEntries")(message.headers)))


def plain_object(fields: Mapping[str, str]) -> Any:
    """Converts names and values to a JS object in one step. `js_object` would cross it for each value."""
    return kept("JSON.parse")(to_json(fields))


class Client(NamedTuple):
    """A client's request: the JS object, its method, its headers by lower-case name, and its ids. `named`: the client's
    own id; `own_id`: the gateway's."""

    request: Any
    method: str
    headers: dict[str, str]
    own_id: str
    named: str | None = None

    @property
    def id(self) -> str:
        return self.named or self.own_id

    @property
    def left(self) -> bool:
        return self.request.signal.aborted


def client_left() -> ApiError:
    """The client disconnected; the response is discarded."""
    return ApiError(499, "client_left", "The client left.")


async def read_body(client: Client) -> Any:
    """Returns a JS buffer. Raises ApiError 400 if the body is incomplete, 408 if it takes too long."""
    # There is no way to tell whether the body has arrived already. A timer belongs to its request, so each has its own.
    found = _awaited[client.own_id] = client.request.arrayBuffer()
    timer = kept("setTimeout")(_late(), int(MOST_BODY_SECONDS * 1000), client.own_id)
    try:
        body = await found
    except JsException:
        raise broke_off() from None
    finally:
        kept("clearTimeout")(timer)
    if body is None:
        raise body_too_slow()
    return body


# The future of a body by its request's id, weak because a request may end without a further step.
_awaited: weakref.WeakValueDictionary[str, asyncio.Future[Any]] = weakref.WeakValueDictionary()


@functools.cache
def _late() -> Any:
    """Returns a JS function, created once per isolate, that ends the wait for a request's body.

    `Promise.race` would do the same, but convert the body's future to a promise and the result to another future.
    """

    def late(own_id: str) -> None:
        found = _awaited.get(own_id)
        if found is not None and not found.done():
            found.set_result(None)

    return create_proxy(late)


def broke_off() -> ApiError:
    """The error for an incomplete body. A client that has closed only its sending side can still read it."""
    return invalid_request("The request body ended early.")


def refuse_compressed(client: Client) -> None:
    """Raises ApiError 415 for compressed bodies."""
    if client.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise ApiError(
            415, "invalid_request_error", "Compressed request bodies are not supported.", code="unsupported_encoding"
        )


@functools.cache
def configuration() -> Configuration:
    """Returns the configuration that this code was deployed with. The variables of an isolate never change."""
    env = bindings()
    return own(CATALOG, lambda name: variable(env, name))


def forward(
    fetch: Any, client: Client, path_and_query: str, added: Iterable[tuple[str, str]], body: Any = _SAME_BODY
) -> Any:
    """Sends the client's request to a container, without credentials and with the `added` headers. Returns a promise.
    `fetch`: of an object's stub. The body is the client's own stream, or `body`: a buffer or None.

    HEAD becomes GET: on a new connection to the container, workerd loses the response to the request after a HEAD.
    """
    url, request, method = f"http://container{path_and_query}", client.request, client.method
    ours = {**_of_this_code(), REQUEST_ID_HEADER: client.id, **dict(added)}
    if body is _SAME_BODY and method != "HEAD":
        copy = kept("Request.new")(url, request)
        for name in dropped(client.headers):
            copy.headers.delete(name)
        for name, value in ours.items():
            copy.headers.set(name, value)
        return fetch(copy)
    headers = forwarded(client.headers)
    headers.update(ours)
    if body is None:
        headers.pop("content-length", None)
    sent = {} if body is _SAME_BODY or body is None else {"body": body}
    method = "GET" if method == "HEAD" else method
    return fetch(url, method=method, headers=plain_object(headers), redirect="manual", signal=request.signal, **sent)


@functools.cache
def _of_this_code() -> dict[str, str]:
    """Returns the headers that are the same for every request."""
    return {CATALOG_HEADER: CATALOG["hash"], CONFIGURATION_HEADER: configuration().name}


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
