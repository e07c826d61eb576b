"""The results of a successful attempt, a complete response or a stream, and how a complete one is read.

Some servers ignore `stream: true`, and others stream without being asked: `as_events` and `whole` convert one to the
other.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from worker.core.pricing.usage import count, with_details

from ...routing.health import Outcome
from .chat_stream import EventStream
from .events import DONE, payload, split
from .failure import from_error_event, says_error, words
from .mend import failure_in, has_answer, is_ordinary, mend_answer


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


_STREAM = re.compile(rb"(?:data|event|id|retry) ?:|:")
BROKEN_OFF = Outcome("server", 0, "The provider ended its stream in the middle of the answer.", unread=True)


def is_stream(head: bytes) -> bool:
    """Whether a body that starts with `head` is an event stream, whatever its content type says."""
    return _STREAM.match(head) is not None


def as_events(body: Any) -> bytes:
    """Converts a response of OpenAI's or Anthropic's to events.

    Any other body, such as a Gemini response or an error, becomes a single event.
    """
    if isinstance(body, list):
        return b"".join(_data(item) for item in body)
    choices = body.get("choices") if isinstance(body, dict) else None
    if isinstance(choices, list) and any(isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices):
        return b"".join(_chunks(body, choices)) + DONE
    if isinstance(body, dict) and body.get("type") == "message" and isinstance(body.get("content"), list):
        return b"".join(_data(e, e["type"]) for e in _message_events(body))
    return _data(body) + (DONE if choices else b"")


def whole(raw: bytes) -> bytes | Outcome:
    """Joins an OpenAI stream to a chat completion."""
    stream = EventStream("", drop_usage=False)
    events = stream.feed(raw) + stream.end()
    begun = stream.begins(events)
    if isinstance(begun, Outcome):
        return begun
    if stream.failed is not None:
        return stream.failed
    if not begun or stream.cut_off:
        return BROKEN_OFF
    chunks = [chunk for event in split(events) if (chunk := payload(event)) is not None]
    head = {name: value for chunk in reversed(chunks) for name, value in chunk.items() if value is not None}
    joined: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            if isinstance(choice, dict):
                index = choice.get("index")
                _join(joined.setdefault(index if type(index) is int else 0, {}), choice)
    for choice in joined.values():
        for call in choice.get("message", {}).get("tool_calls", ()):
            del call["index"]
    made = [{"index": index, **choice} for index, choice in sorted(joined.items())]
    chat = not any("text" in choice for choice in made)
    object = "chat.completion" if chat else "text_completion"
    return orjson.dumps(
        {**head, "object": object, "choices": made, **({"usage": stream.usage} if stream.usage else {})}
    )


def _data(value: Any, kind: str = "") -> bytes:
    return (b"event: " + kind.encode() + b"\n" if kind else b"") + b"data: " + orjson.dumps(value) + b"\n\n"


def _chunks(body: Mapping[str, Any], choices: list[Any]) -> Iterator[bytes]:
    head = {name: value for name, value in body.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    for at, choice in enumerate(c for c in choices if isinstance(c, dict)):
        rest = {name: value for name, value in choice.items() if name != "message"}
        index = rest.setdefault("index", at)
        delta = dict(choice.get("message") or {})
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            delta["tool_calls"] = [{"index": i, **c} if isinstance(c, dict) else c for i, c in enumerate(calls)]
        yield _data({**head, "choices": [{**rest, "delta": delta, "finish_reason": None}]})
        last = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}
        used = {"usage": body["usage"]} if body.get("usage") and at == len(choices) - 1 else {}
        yield _data({**head, "choices": [last], **used})


def _message_events(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}
    for index, block in enumerate(b for b in body["content"] if isinstance(b, dict)):
        head, deltas = _taken_apart(block)
        yield {"type": "content_block_start", "index": index, "content_block": head}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": body.get("stop_reason") or "end_turn", "stop_sequence": body.get("stop_sequence")}
    yield {"type": "message_delta", "delta": stop, "usage": body.get("usage") or {}}
    yield {"type": "message_stop"}


def _taken_apart(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The start of a content block and its deltas."""
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": block.get("text") or ""}]
    if kind == "thinking":
        thought = {"type": "thinking_delta", "thinking": block.get("thinking") or ""}
        signed = {"type": "signature_delta", "signature": block.get("signature") or ""}
        return {**block, "thinking": "", "signature": ""}, [thought, signed]
    if kind in ("tool_use", "server_tool_use"):
        given = orjson.dumps(block.get("input") or {}).decode()
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    return block, []


def _join(made: dict[str, Any], choice: Mapping[str, Any]) -> None:
    if choice.get("finish_reason"):
        made["finish_reason"] = choice["finish_reason"]
    if isinstance(choice.get("text"), str):
        made["text"] = made.get("text", "") + choice["text"]
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return
    message = made.setdefault("message", {"role": "assistant", "content": None})
    for name, value in delta.items():
        if name == "tool_calls":
            _join_calls(message.setdefault("tool_calls", []), value if isinstance(value, list) else ())
        elif name == "function_call" and isinstance(value, dict):
            _join_texts(message.setdefault("function_call", {}), value)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif isinstance(value, list):
            message[name] = [*(message.get(name) or ()), *value]
        elif value is not None:
            message[name] = value


def _join_calls(calls: list[dict[str, Any]], pieces: Iterable[Any]) -> None:
    """Joins calls in order of appearance. `ChunkMender` gives every piece an index, except possibly those of custom
    tools.
    """
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        call = next((one for one in calls if one["index"] == piece.get("index")), None)
        if call is None:
            call = {"index": piece.get("index"), "id": piece.get("id") or "", "type": piece.get("type") or "function"}
            calls.append(call)
        call["id"] = call["id"] or piece.get("id") or ""
        for kind in ("function", "custom"):
            if isinstance(piece.get(kind), dict):
                _join_texts(call.setdefault(kind, {}), piece[kind])


def _join_texts(made: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if isinstance(value, str):
            made[name] = made.get(name, "") + value
