"""What an attempt at a deployment brings back when it did not fail: a whole answer or a stream."""

from collections.abc import AsyncGenerator
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
    """`body` with the model's public name in it; `usage` as the provider reported it."""

    body: bytes
    usage: dict[str, Any] | None


class Events(Protocol):
    """A provider's stream on its way to the client: fed with what comes, it returns what the client gets, whole events
    only.

    `usage`: the last one seen, in OpenAI's words or Anthropic's (core/pricing/usage.py); `failed`: what the error
    event said that was seen, and passed on.
    """

    @property
    def usage(self) -> dict[str, Any] | None: ...

    @property
    def failed(self) -> Outcome | None: ...

    def feed(self, data: bytes) -> bytes:
        """Raises OversizedEvent."""
        ...

    def end(self) -> bytes:
        """What is left when the provider has closed."""
        ...

    def begins(self, new: bytes) -> bool | Outcome:
        """Whether the answer has begun with `new`, what `feed` or `end` returned last; an Outcome when it is an error
        instead. Until it has begun, another deployment can take over."""
        ...

    @property
    def cut_off(self) -> bool:
        """Whether what came so far is no whole answer."""
        ...


@dataclass(slots=True)
class Stream:
    """`first`: the events that have come; `rest` yields what follows, already rewritten, and raises StreamBroken."""

    first: bytes
    rest: AsyncGenerator[bytes]
    events: Events


class StreamBroken(Exception):
    """The provider broke off in mid-stream; the message is fit for the client. `timed_out`: it fell silent."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


# What reading an answer raises whose parts are not of the types that the provider documents.
UNEXPECTED = (AttributeError, LookupError, TypeError, ValueError)
UNREADABLE = Outcome("server", 0, "The provider's answer is not as its documentation says.", unread=True)

_KEY = b'"model"'

Answer = Plain | Stream | Outcome


def json_object(raw: bytes) -> dict[str, Any] | Outcome:
    """The body of an answer with status 200, or what is wrong with it."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return Outcome("server", 0, "The provider's answer is not valid JSON.")
    if isinstance(body, list) and body and isinstance(body[0], dict) and says_error(body[0]):
        body = body[0]
    return body if isinstance(body, dict) else Outcome("server", 0, "The provider's answer is not a JSON object.")


def plain(raw: bytes, name: str) -> Plain | Outcome:
    """Reads a provider's answer with status 200; anything but a JSON object with an answer in it is a failure."""
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
        return Outcome("server", 0, "The provider's answer is nested too deeply.")
    except UNEXPECTED:
        return UNREADABLE


def _failure(body: dict[str, Any], usage: dict[str, Any] | None) -> Outcome | None:
    """What failed instead of an answer; a provider that has counted what it wrote may charge for it."""
    failed = failure_in(body)
    if failed is not None:
        return failed._replace(unread=failed.unread or bool(usage and count(usage, "completion_tokens")))
    if isinstance(body.get("data"), list) or has_answer(body.get("choices")):
        return None
    if "choices" in body or not words(body):
        return Outcome("server", 0, "The provider's answer holds neither choices nor data.")
    return from_error_event(body)


def _renamed(raw: bytes, body: dict[str, Any], name: str) -> bytes:
    """The answer with its `model` renamed: in its bytes where that is unambiguous. Raises JSONEncodeError."""
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
