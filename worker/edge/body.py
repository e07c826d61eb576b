"""A client's body, read into the isolate where it is small enough for that."""

from typing import Any

from pyodide.ffi import JsException, to_js

from core.api.errors import ApiError, body_too_slow, invalid_request

from .forwarding import Client
from .nesting import can_be_parsed
from .runtime.javascript import kept

__all__ = ["broke_off", "buffer", "can_be_parsed", "refuse_compressed"]

# Seconds that all of a body may take: it holds room, and nobody may have looked yet whether its client's key is good.
MOST_SECONDS = 30


async def buffer(client: Client) -> Any:
    """A JS buffer. Raises ApiError 400 when the body breaks off, 408 when it takes too long."""
    # Nothing here tells whether it is there already. A promise of its own costs 80 µs; to cancel Python's task would be
    # cheaper, but leaks what waits for a body that never comes.
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
    """What a client may still read that has closed only its own side."""
    return invalid_request("The request's body broke off.")


def refuse_compressed(client: Client) -> None:
    """Raises ApiError 415."""
    if client.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise ApiError(
            415, "invalid_request_error", "Compressed request bodies are not taken.", code="unsupported_encoding"
        )
