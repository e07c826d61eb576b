"""The interface of a wire format: request validation, plain responses, streams and errors."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from ..behaviour import Behaviour
from ..record import Recorded


class Refusal(NamedTuple):
    """An error status with its message. The format gives it its shape."""

    status: int
    message: str


class Setting(NamedTuple):
    """What the server adds to a request: a number for IDs, and the number of content events of a stream."""

    number: int
    behaviour: Behaviour
    chunks: int


@dataclass(slots=True)
class Events:
    """A stream: the events before, with and after the content, and the terminator. Whole events with LF line
    endings."""

    head: list[bytes] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)
    tail: list[bytes] = field(default_factory=list)
    end: bytes = b""


class Format(ABC):
    """A provider's wire format."""

    name: str

    @abstractmethod
    def refusal(self, seen: Recorded, endpoint: str) -> Refusal | None:
        """The error of a real provider for this request, such as missing credentials or a missing required field."""

    @abstractmethod
    def plain(self, seen: Recorded, endpoint: str, setting: Setting) -> Any:
        """The response body: a JSON value or text."""

    @abstractmethod
    def events(self, seen: Recorded, endpoint: str, setting: Setting) -> Events: ...

    @abstractmethod
    def error(self, status: int, message: str) -> dict[str, Any]: ...

    def error_event(self, message: str) -> bytes:
        return sse(self.error(500, message))

    def wants_stream(self, seen: Recorded, endpoint: str) -> bool:
        return bool(seen.body.get("stream"))

    def model(self, seen: Recorded, captured: str | None) -> str | None:
        model = seen.body.get("model") if isinstance(seen.body, dict) else None
        return model if isinstance(model, str) else None


class Match(NamedTuple):
    """The format for a path. `captured` is the part of the path that names a deployment or model."""

    format: Format
    endpoint: str
    captured: str | None = None


Matcher = Callable[[str], Match | None]


def sse(data: Any, event: str | None = None) -> bytes:
    prefix = f"event: {event}\n".encode() if event else b""
    return prefix + b"data: " + orjson.dumps(data) + b"\n\n"
