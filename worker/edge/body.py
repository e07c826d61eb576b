"""Reads a client's body into the isolate. Whoever calls `buffer` has checked the declared length."""

from typing import Any

from pyodide.ffi import JsException, to_js

from core.api.errors import ApiError, body_too_slow, invalid_request

from .forwarding import Client
from .requests import can_be_parsed
from .runtime.javascript import kept

__all__ = ["broke_off", "buffer", "can_be_parsed", "refuse_compressed"]

# The maximum seconds for a whole body. It occupies memory, possibly before its client's key has been checked.
MOST_SECONDS = 30


async def buffer(client: Client) -> Any:
    """Returns a JS buffer. Raises ApiError 400 if the body is incomplete, 408 if it takes too long."""
    # There is no way to tell whether the body has arrived already. A promise for the timeout costs 80 µs. Canceling a
    # Python task would be cheaper, but leaks whatever waits for a body that never arrives.
    late = kept("Promise.withResolvers")()
    timer = kept("setTimeout")(late.resolve, int(MOST_SECONDS * 1000))
    try:
        found = await kept("Promise.race")(to_js([client.request.arrayBuffer(), late.promise]))
    except JsException:
        raise broke_off() from None
    finally:
        kept("clearTimeout")(timer)
    if found is None:
        raise body_too_slow()
    return found


def broke_off() -> ApiError:
    """The error for an incomplete body. A client that has closed only its sending side can still read it."""
    return invalid_request("The request body ended early.")


def refuse_compressed(client: Client) -> None:
    """Raises ApiError 415 for compressed bodies."""
    if client.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise ApiError(
            415, "invalid_request_error", "Compressed request bodies are not supported.", code="unsupported_encoding"
        )
