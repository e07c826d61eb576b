"""A client's body, read into the isolate where it is small enough for that."""

from typing import Any

from pyodide.ffi import JsException

from api.errors import ApiError, invalid_request

from .forward import Client
from .nesting import can_be_parsed

__all__ = ["buffer", "can_be_parsed", "refuse_compressed"]


async def buffer(client: Client) -> Any:
    """A JS buffer. Raises ApiError 400 when the body breaks off."""
    try:
        return await client.request.arrayBuffer()
    except JsException:
        raise invalid_request("The request's body broke off.") from None


def refuse_compressed(client: Client) -> None:
    """Raises ApiError 415."""
    if client.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise ApiError(
            415, "invalid_request_error", "Compressed request bodies are not taken.", code="unsupported_encoding"
        )
