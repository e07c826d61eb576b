"""A client's body, read into the isolate where it is small enough for that."""

from typing import Any

from pyodide.ffi import JsException

from api.errors import ApiError, invalid_request

from .forward import Client

# Pyodide's JSON parser is recursive, and a stack that overflows there ends the whole isolate: 2,000 levels are still
# fine, 3,000 are not. As many brackets as this open at most as many levels.
MOST_BRACKETS = 1000


async def buffer(client: Client) -> Any:
    """A JS buffer. Raises ApiError 400 when the body breaks off."""
    try:
        return await client.request.arrayBuffer()
    except JsException:
        raise invalid_request("The request's body broke off.") from None


def can_be_parsed(content: bytes) -> bool:
    """Whether this isolate survives parsing it as JSON."""
    return content.count(b"[") + content.count(b"{") <= MOST_BRACKETS


def refuse_compressed(client: Client) -> None:
    """Raises ApiError 415."""
    if client.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise ApiError(
            415, "invalid_request_error", "Compressed request bodies are not taken.", code="unsupported_encoding"
        )
