"""The HTTP/1.1 client for calls to providers: POST, pooled, streamed. See docs/performance.md for what it saves."""

from .client import Client
from .errors import BadBody, BrokenOff, CannotConnect, ConnectTimeout, HttpError, Silent
from .response import Response

__all__ = [
    "BadBody",
    "BrokenOff",
    "CannotConnect",
    "Client",
    "ConnectTimeout",
    "HttpError",
    "Response",
    "Silent",
]
