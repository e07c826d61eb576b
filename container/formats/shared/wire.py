"""The interface of a wire format, and what most of them share: building a request and reading a response.

docs/providers.md explains how to write one. No I/O, and constant parts are computed once. Some servers ignore
`stream: true`, and others stream without being asked: `as_events` and `whole` convert one to the other.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import orjson

from worker.core.pricing.usage import count, with_details

from ...config.deployment import OUTPUT_LIMITS, Deployment, lowest_limit, split_route
from ...config.providers import JSON, Address
from ...request.completion import Completion, encode
from ...routing.health import UNHEALTHY, Kind, Outcome
from . import failure
from .capabilities import MAX_TOKENS, Capabilities, capabilities, known_model
from .chat_stream import EventStream
from .events import DONE, payload, split
from .failure import from_error_event, says_error, words
from .mend import failure_in, has_answer, mend_answer
from .reasoning import BEFORE_A_TAG


class Sent(NamedTuple):
    """A request in the provider's format.

    `headers` override those of the address. `note` holds whatever the format needs to read the response. `endpoint` is
    set if it differs from the endpoint of the client's request. `stands` is the refusal that led to this request: if
    this request is refused as well, the client receives the earlier refusal. `names` maps the tool names sent to the
    client's names, where they differ.
    """

    body: bytes
    headers: Mapping[str, str] | None = None
    note: Any = None
    endpoint: str | None = None
    stands: Outcome | None = None
    names: Mapping[str, str] | None = None


class Unsupported(Exception):
    """The provider does not accept the field `param`. The message may be shown to the client."""

    kind: Kind = "unsupported"
    code: str | None = "unsupported_parameter"

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param

    def outcome(self) -> Outcome:
        return Outcome(self.kind, 400, str(self), code=self.code, param=self.param)


class Malformed(Unsupported):
    """The request is invalid for any provider, and dropping the field would not help."""

    kind = "caller"
    code = None


class Unreachable(Exception):
    """The address or the credentials of a deployment are unavailable. `outcome` gives the reason."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Format(Protocol):
    """A provider's wire format. One object serves all requests. Only `address` performs I/O."""

    async def address(self, d: Deployment, patience: float) -> Address:
        """The base URL of the deployment and its headers, computed once if they are constant.

        `patience` is in seconds. Raises EngineUnavailable and Unreachable.
        """
        ...

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str: ...

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        """Builds the request. Raises Unsupported for an unsupported field, unless `drop_params` permits dropping it."""
        ...

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        """Called when the provider blames the request. Returns a modified request, or None to accept the refusal."""
        ...

    def plain(self, raw: bytes, name: str, sent: Sent) -> "Plain | Outcome":
        """Parses a complete response with status 200. `name` is the model's public name."""
        ...

    def events(self, name: str, request: Completion, sent: Sent) -> "Events": ...

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        """Maps a response with any other status to a failure."""
        ...


# The endpoints of text models.
_OF_TEXT = frozenset(("chat_completions", "messages", "count_tokens", "responses", "completions"))
# If these endpoints fail, the whole deployment fails: its address or its model is wrong.
_USUAL = frozenset(("chat_completions", "messages", "generate_content"))
_MISSING = frozenset((404, 405, 501))


def excused(outcome: Outcome, d: Deployment, model: str, endpoint: str) -> Outcome:
    """Marks the outcome as `blameless` if only this endpoint is at fault.

    `endpoint` is a name in worker/core/api/endpoints.py.
    """
    if outcome.kind not in UNHEALTHY or outcome.blameless or endpoint in _USUAL:
        return outcome
    if outcome.status in _MISSING and failure.says_path_missing(outcome.message.lower()):
        return outcome._replace(blameless=True)
    if endpoint in _OF_TEXT or not outcome.status:
        return outcome
    name = split_route(d.provider, model)[1]
    answers_in_text = known_model(d.info.get("base_model"), f"{d.provider}/{name}", name) is not None
    return outcome._replace(blameless=True) if answers_in_text else outcome


PATHS = {
    "chat_completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
    "compact": "/responses/compact",
    "input_tokens": "/responses/input_tokens",
    "transcription": "/audio/transcriptions",
    "translation": "/audio/translations",
}

# Versions of Azure's undated API, which uses OpenAI's paths and takes the deployment name in the body.
_AZURE_V1 = frozenset(("v1", "preview", "latest"))
_AZURE_DEPLOYMENTS = "/openai/deployments/"
# The first dated API version with the Responses API.
_AZURE_RESPONSES = "2025-03-01"

# In LiteLLM these fields carry authority: guardrails, log destinations, sessions, routing.
AUTHORITY = frozenset(("metadata", "tags"))


def address(d: Deployment) -> Address:
    """The base URL and headers of a deployment that is called directly."""
    headers = dict(JSON)
    if d.api_key:
        if d.provider == "azure":
            headers["api-key"] = d.api_key
        else:
            headers["authorization"] = f"Bearer {d.api_key}"
    headers.update(d.extra_headers)
    return Address(d.base, headers)


class Addresses:
    """Caches the addresses of deployments that are called directly. `made` computes an address."""

    def __init__(self, made: Callable[[Deployment], Address] = address) -> None:
        self._known: dict[str, Address] = {}
        self._made = made

    def of(self, d: Deployment) -> Address:
        known = self._known.get(d.id)
        if known is None:
            known = self._known[d.id] = self._made(d)
        return known


def url(d: Deployment, base: str, model: str, endpoint: str) -> str:
    """The full URL of an endpoint (a key of `PATHS`) at a deployment.

    Azure: https://learn.microsoft.com/azure/ai-services/openai/reference
    """
    path = PATHS[endpoint]
    if d.provider == "azure" and not base.endswith("/v1"):
        _, deployed = split_route(d.provider, model)
        base, _, named = base.partition(_AZURE_DEPLOYMENTS)  # the address may include the deployment name
        deployed = named.partition("/")[0] or deployed
        return _azure_url(d, base.removesuffix("/openai") + "/openai", deployed, path)
    if d.provider == "perplexity" and endpoint == "responses":
        return f"{base}/v1{path}"
    return base + path


def _azure_url(d: Deployment, base: str, model: str, path: str) -> str:
    """https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle"""
    if d.api_version in _AZURE_V1:
        return f"{base}/v1{path}"
    if not path.startswith(PATHS["responses"]):
        return f"{base}/deployments/{quote(model, safe='')}{path}?api-version={quote(d.api_version)}"
    if d.api_version < _AZURE_RESPONSES:
        return f"{base}/v1{path}"
    return f"{base}{path}?api-version={quote(d.api_version)}"


def engine_model(d: Deployment, model: str) -> str:
    """The engine's name for the deployment: its id, followed by whatever replaces the `*` of a wildcard.

    `model` is the provider's name with the wildcard filled in, and `d.model` is the pattern.
    """
    if not d.wildcard or "*" not in d.model:
        return d.id
    prefix, suffix = d.model.split("*", 1)
    return f"{d.id}/{model[len(prefix) : len(model) - len(suffix) or None]}"


def body(
    d: Deployment,
    model: str,
    fields: Mapping[str, Any],
    *,
    ask_usage: bool,
    leave_out: frozenset[str] = frozenset(),
    request: Completion | None = None,
    limit_name: str = MAX_TOKENS,
    called: str | None = None,
    fit: Callable[[dict[str, Any], Capabilities, Mapping[str, Any]], None] | None = None,
) -> bytes:
    """Builds the body: the client's fields over the deployment's presets, with `model`, and with usage requested if
    `ask_usage`.

    `request` has the output limits that a budget relies on, and `limit_name` is the field for the limit. `called`
    replaces `model` as the name that is sent. `fit` adapts the merged fields to the model in place.
    """
    can = capabilities(d, model)
    merged = merge(d, can, fields, request, limit_name)
    if fit is not None:
        fit(merged, can, d.presets)
    merged["model"] = called or model
    if ask_usage and "stream_options" not in leave_out:
        merged["stream_options"] = {**(merged.get("stream_options") or {}), "include_usage": True}
    for name in leave_out:
        merged.pop(name, None)
    return encode(merged)


def merge(
    d: Deployment,
    can: Capabilities,
    fields: Mapping[str, Any],
    request: Completion | None = None,
    name: str = MAX_TOKENS,
) -> dict[str, Any]:
    """Merges the client's fields over the deployment's presets, with at most one output limit.

    The limit is the lowest of the client's limits, else of the deployment's, else the one that `request` has to be
    given. It is never above what a budget covers, and is clamped to the range that the model accepts. `name` is the
    field for the limit.
    """
    merged = {**d.presets, **fields} if d.presets else dict(fields)
    limits = OUTPUT_LIMITS.intersection(merged)
    if not limits and (request is None or (request.output_limit is None and request.most_output is None)):
        return merged
    limit = output_limit(d, can, fields, request)
    for other in limits:
        del merged[other]
    if limit is not None:
        merged[name] = fitting(limit, can)
    return merged


def output_limit(d: Deployment, can: Capabilities, fields: Mapping[str, Any], request: Completion | None) -> int | None:
    """The output limit of a request with these `fields`, not yet clamped to the model's range; see `merge`."""
    limit = lowest_limit(fields)
    added, most = (None, None) if request is None else (request.output_limit, request.most_output)
    if limit is None:
        limit = lowest_limit(d.presets) if d.presets else None
        if limit is None and added is not None and request is not None:
            limit = added if can.max_output is not None else min(added, request.unknown_limit)
    elif added is not None:  # the reservation does not cover the client's limit
        limit = min(limit, added)
    return most if limit is None else limit if most is None else min(limit, most)


def limit_name(can: Capabilities, fields: Mapping[str, Any]) -> str:
    """The field for the output limit: the client's, if the model accepts it."""
    for name in can.limit_names:
        if name in fields:
            return name
    return can.limit_name


def fitting(limit: int, can: Capabilities) -> int:
    """Clamps the limit to the model's range.

    The reservation covers the result (see `worker.core.pricing.quote.quote`).
    """
    return max(limit if can.max_output is None else min(limit, can.max_output), can.min_output)


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
    ordinary = _is_ordinary(body)
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


# Finish reasons of a whole text, and fields that a plain text does not have.
_COMPLETE = ("stop", "length")
_ODD_FIELDS = frozenset(("tool_calls", "function_call", "reasoning", "reasoning_details"))


def _is_ordinary(body: dict[str, Any]) -> bool:
    """Whether a complete response is plain text in OpenAI's format. Nearly all are, and they need no further checks."""
    choices = body.get("choices")
    if type(choices) is not list or len(choices) != 1 or body.get("error") or "base_resp" in body:
        return False
    choice = choices[0]
    message = choice.get("message") if type(choice) is dict else None
    if type(message) is not dict or choice.get("finish_reason") not in _COMPLETE or "error" in choice:
        return False
    content = message.get("content")
    if type(content) is not str or content[:1] in BEFORE_A_TAG or not _ODD_FIELDS.isdisjoint(message):
        return False
    return type(message.get("reasoning_content", "")) is str


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
