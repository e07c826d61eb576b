"""The results of a successful attempt: a complete response or a stream."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from worker.core.pricing.usage import count, with_details

from ...routing.outcome import Outcome
from .assemble import is_stream, whole
from .error_body import says_error, words
from .failure import from_error_event
from .odd_chunks import failure_in, has_answer, is_ordinary, mend_answer


@dataclass(slots=True)
class Plain:
    """A complete response. `body` contains the model's public name, and `usage` is as the provider reported it.
    `passed`: it is a response of the Responses API as the provider sent it, with the provider's ids.
    """

    body: bytes
    usage: dict[str, Any] | None
    passed: bool = False


class Events(Protocol):
    """Rewrites a provider's stream for the client. Input may be cut anywhere; output consists of complete events.

    `usage` is the latest one seen, in OpenAI's or Anthropic's form (core/pricing/usage.py). `failed` is set once an
    error event has been passed on.
    """

    @property
    def usage(self) -> dict[str, Any] | None: ...

    @property
    def failed(self) -> Outcome | None: ...

    def feed(self, data: bytes) -> bytes:
        """Raises OversizedEvent."""
        ...

    def end(self) -> bytes:
        """Returns what remains when the provider has closed the stream."""
        ...

    def begins(self, new: bytes) -> bool | Outcome:
        """Whether the response has begun with `new`, the latest result of `feed` or `end`. An Outcome if it is an
        error.

        Until the response has begun, another deployment can take over.
        """
        ...

    @property
    def cut_off(self) -> bool:
        """Whether the response is incomplete so far."""
        ...


@dataclass(slots=True)
class Stream:
    """A streaming response. `first` contains the first events. `rest` yields the others, already rewritten, and may
    raise StreamBroken. `passed` is as for Plain. `shown` turns events with the provider's ids into the client's, for
    those that report that the stream broke off.
    """

    first: bytes
    rest: AsyncGenerator[bytes]
    events: Events
    passed: bool = False
    shown: Callable[[bytes], bytes] | None = None


class StreamBroken(Exception):
    """The provider's stream broke off. The message may be shown to the client. `timed_out` means that the provider fell
    silent.
    """

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


# Raised while reading a response whose parts are not of the documented types.
UNEXPECTED = (AttributeError, LookupError, TypeError, ValueError)
UNREADABLE = Outcome("server", 0, "The provider's response does not match its documentation.", unread=True)

_KEY = b'"model"'

Answer = Plain | Stream | Outcome


def json_object(raw: bytes) -> dict[str, Any] | Outcome:
    """Parses the body of a response with status 200, or returns a failure."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return Outcome("server", 0, "The provider's answer is not valid JSON.")
    if isinstance(body, list) and body and isinstance(body[0], dict) and says_error(body[0]):
        body = body[0]
    return body if isinstance(body, dict) else Outcome("server", 0, "The provider's answer is not a JSON object.")


def plain(raw: bytes, name: str) -> Plain | Outcome:
    """Reads a response with status 200. Anything but a JSON object with a result is a failure."""
    if raw[:1] != b"{" and is_stream(raw.lstrip()):
        joined = whole(raw)
        if isinstance(joined, Outcome):
            return joined
        raw = joined
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    usage = body.get("usage")
    usage = with_details(usage) if isinstance(usage, dict) else None
    ordinary = is_ordinary(body)
    failed = None if ordinary else _failure(body, usage)
    if failed is not None:
        return failed
    told = usage is not None and usage is not body["usage"]
    if told:
        body["usage"] = usage
    try:
        if (not ordinary and mend_answer(body)) or told:
            raw = orjson.dumps(body)
        return Plain(_renamed(raw, body, name), usage)
    except orjson.JSONEncodeError:
        return Outcome("server", 0, "The provider's response is nested too deeply.")
    except UNEXPECTED:
        return UNREADABLE


def _failure(body: dict[str, Any], usage: dict[str, Any] | None) -> Outcome | None:
    """The failure that the body describes, if any. If the provider counted output tokens, it may bill for them."""
    failed = failure_in(body)
    if failed is not None:
        return failed._replace(unread=failed.unread or bool(usage and count(usage, "completion_tokens")))
    if isinstance(body.get("data"), list) or has_answer(body.get("choices")):
        return None
    if "choices" in body or not words(body):
        return Outcome("server", 0, "The provider's answer holds neither choices nor data.")
    return from_error_event(body)


def _renamed(raw: bytes, body: dict[str, Any], name: str) -> bytes:
    """Replaces the model name. Edits the bytes where that is unambiguous. Raises JSONEncodeError."""
    theirs = body.get("model")
    if theirs == name:
        return raw
    if isinstance(theirs, str) and raw.count(_KEY) == 1:
        value = orjson.dumps(theirs)
        for colon in (b":", b": "):
            needle = b'"model"' + colon + value
            if needle in raw:
                return raw.replace(needle, b'"model"' + colon + orjson.dumps(name))
    body["model"] = name
    return orjson.dumps(body)
