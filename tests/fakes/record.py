"""The requests that a fake provider has received."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import orjson

from .behaviour import OK, Behaviour


@dataclass
class Recorded:
    """One request. Times are `time.monotonic()` seconds. `headers` is case-insensitive."""

    number: int
    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    raw: bytes
    connection: int  # the client's port: the same for requests on the same connection
    received_at: float
    format: str = ""
    endpoint: str = ""
    model: str | None = None
    behaviour: Behaviour = field(default=OK)
    refused: bool = False  # by a strict provider (tests/fakes/strict)
    events_sent: int = 0  # content events of a stream, counted once written to the socket
    finished_at: float | None = None  # when the response was complete
    disconnected_at: float | None = None  # when the client disconnected before that

    @cached_property
    def body(self) -> Any:
        """The parsed JSON, or None without any."""
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return None

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @cached_property
    def api_key(self) -> str | None:
        """The key, wherever this provider's clients put it."""
        authorization = self.headers.get("authorization")
        if authorization:
            return authorization.removeprefix("Bearer ")
        for name in ("x-api-key", "api-key", "x-goog-api-key"):
            if name in self.headers:
                return self.headers[name]
        return self.query.get("key")

    def summary(self) -> dict[str, Any]:
        """As JSON, for other processes."""
        return {
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": dict(self.headers),
            "body": self.body,
            "connection": self.connection,
            "received_at": self.received_at,
            "events_sent": self.events_sent,
            "finished_at": self.finished_at,
            "disconnected_at": self.disconnected_at,
        }
