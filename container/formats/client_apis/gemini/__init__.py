"""Gemini's API for clients.

Requests for Gemini are passed through. For other models they are translated to chat completions, or to OpenAI's
embeddings, and tokens are counted here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson

from worker.core.pricing.estimate import text_tokens
from worker.core.pricing.prices import GOOGLES_COUNT, GOOGLES_EMBEDDINGS

from ....config.deployment import Deployment, tokenizer
from ....request.completion import Completion, encode
from ....routing.health import Outcome
from ...gemini import Gemini, method
from ...gemini.answer import NOT_GROUNDED, broken_off, candidates, grounded_by, instead_of_answer, usage
from ...gemini.request import Traits, body, traits
from ...shared import mock, wire
from ...shared.capabilities import MAX_TOKENS, capabilities
from ...shared.events import EventCutter, payload, split
from ...shared.wire import (
    UNEXPECTED,
    UNREADABLE,
    Address,
    Answer,
    Events,
    Format,
    Malformed,
    Plain,
    Sent,
    Unsupported,
    json_object,
)
from .. import over_chat
from ..over_chat import CHAT
from .answer import ContentEvents, error_event, response
from .request import SAMPLING, chat, signed_blocks

__all__ = ["ENDPOINTS", "TRANSLATED", "OverEmbeddings", "ToGemini", "estimated_count", "mocked"]

ENDPOINTS = frozenset(("generate_content", GOOGLES_COUNT)) | GOOGLES_EMBEDDINGS
# Derived from fields that Gemini's clients send to every model, so they are dropped if a server refuses them.
_GUIDING = ("reasoning_effort", *SAMPLING)


def mocked(d: Deployment, request: Completion, name: str) -> Answer:
    """The response of a mock model. Raises Unsupported."""
    if request.endpoint == GOOGLES_COUNT:
        return estimated_count(d, d.model, request)
    if request.endpoint in GOOGLES_EMBEDDINGS:
        made = mock.answer(d, translated(request), name)
        return vectors(made, batch="requests" in request.body) if isinstance(made, Plain) else made
    return over_chat.mocked(TRANSLATED, d, request, name)


class _Translated:
    """An `Api` (over_chat.py)."""

    def chat(self, request: Completion, d: Deployment, model: str, *, drop_params: bool) -> tuple[Completion, None]:
        try:
            body = chat(request.body, d, model, drop_params=drop_params)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise Malformed(
                "contents", "The request is not valid for Gemini's API: check contents and tools."
            ) from error
        if request.stream:
            body["stream"] = True
        optional = tuple(name for name in _GUIDING if name in body)
        return replace(request, endpoint=CHAT, body=body, client_wants_usage=False, optional=optional), None

    def response(self, body: Mapping[str, Any], name: str, asked: None) -> dict[str, Any]:
        return response(body, name)

    def events(self, inner: Events, name: str, asked: None) -> Events:
        return ContentEvents(inner, name)


TRANSLATED = _Translated()


# Embeddings from models with the endpoint of OpenAI. https://ai.google.dev/api/embeddings

_ENDPOINT = "embeddings"
_BATCH = "batch_embed_contents"


class OverEmbeddings:
    """A `Format` (container/formats/shared/wire.py). Translates around `inner`, whose note it wraps."""

    def __init__(self, inner: Format) -> None:
        self._inner = inner

    async def address(self, d: Deployment, patience: float) -> Address:
        return await self._inner.address(d, patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return self._inner.url(d, base, model, _ENDPOINT, stream=stream)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        as_embeddings = translated(request)
        inner = self._inner.request(d, model, as_embeddings)
        return inner._replace(note=(inner, as_embeddings, request.endpoint == _BATCH))

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        inner, as_embeddings, batch = sent.note
        other = self._inner.again(d, model, as_embeddings, inner, refusal)
        return None if other is None else other._replace(note=(other, as_embeddings, batch))

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        inner, _, batch = sent.note
        answer = self._inner.plain(raw, name, inner)
        return vectors(answer, batch=batch) if isinstance(answer, Plain) else answer

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        raise NotImplementedError("embeddings are not streamed")

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return self._inner.failure(status, headers, raw)


def translated(request: Completion) -> Completion:
    """The request for OpenAI's endpoint. The task type is a hint, which other models do not take. Raises Malformed and
    Unsupported.
    """
    listed = request.body["requests"] if request.endpoint == _BATCH else [request.body]
    body: dict[str, Any] = {"input": [_text(one["content"]) for one in listed], "encoding_format": "float"}
    sizes = {_size(one) for one in listed}
    if len(sizes) > 1:
        raise Malformed("requests", "All requests need the same 'outputDimensionality' for this model.")
    size = sizes.pop()
    if size:
        body["dimensions"] = size
    return replace(request, endpoint=_ENDPOINT, body=body)


def _size(one: Mapping[str, Any]) -> int | None:
    return one.get("outputDimensionality") or (one.get("embedContentConfig") or {}).get("outputDimensionality")


def _text(content: Mapping[str, Any]) -> str:
    parts = content.get("parts") or []
    if not all("text" in part for part in parts):
        raise Unsupported("content", "This model embeds text only.")
    return "\n".join(part["text"] for part in parts)


def vectors(answer: Plain, *, batch: bool) -> Plain | Outcome:
    """Translates the response. `batch` asks for a list of embeddings."""
    try:
        data = sorted(orjson.loads(answer.body)["data"], key=lambda one: one.get("index") or 0)
        found = [{"values": list(one["embedding"])} for one in data]
        said: dict[str, Any] = {"embeddings": found} if batch else {"embedding": found[0]}
    except UNEXPECTED:
        return UNREADABLE
    return Plain(orjson.dumps(said), answer.usage)


# Token counts, for models whose provider is not asked. https://ai.google.dev/api/tokens

# What chat templates add to a message, and the tokens that Gemini counts for an image.
_PER_MESSAGE = 4
_PER_IMAGE = 258


def estimated_count(d: Deployment, model: str, request: Completion) -> Plain:
    """Counts text rather too high than too low. Sounds and documents count as nothing, because their bytes say nothing
    about their tokens. Raises ApiError 400 if the tools are nested too deeply.
    """
    messages = request.priced["messages"]
    text = "\n".join(_texts(messages))
    tools = request.priced.get("tools")
    if tools:
        text += encode({"tools": tools}).decode()
    texts = text_tokens(text, tokenizer(d, model)) + _PER_MESSAGE * len(messages)
    images = _PER_IMAGE * sum(part["type"] == "image_url" for message in messages for part in _parts(message))
    found = {"TEXT": texts, "IMAGE": images}
    details = [{"modality": kind, "tokenCount": tokens} for kind, tokens in found.items() if tokens]
    return Plain(orjson.dumps({"totalTokens": texts + images, "promptTokensDetails": details}), None)


def _texts(messages: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            yield content
            continue
        yield from (part["text"] for part in content if part["type"] == "text")
        for call in message.get("tool_calls") or ():
            function = call["function"]
            yield f"{function['name']} {function['arguments']}"


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return message["content"] if isinstance(message["content"], list) else []


# Passed through to Gemini, at Google AI Studio and on Vertex AI: only the credentials, the model's name and the output
# limit are ours. The deployment's presets apply where the client has set nothing. In responses only the model's name is
# replaced.

# Fields of a request whose tokens are counted.
_COUNTED = ("contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
# What the presets are translated with; only their fields are used.
_NO_MESSAGES = [{"role": "user", "content": "."}]
# Gemini's documented placeholder for the signature of a call that another model made.
_NO_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="

_METHODS = {
    "google_count_tokens": "countTokens",
    "embed_content": "embedContent",
    "batch_embed_contents": "batchEmbedContents",
}


class ToGemini:
    """A `Format` (container/formats/shared/wire.py). `inner` knows addresses, credentials and errors.

    `Sent.note` says whether the request lets Gemini fetch web pages.
    """

    def __init__(self, inner: Gemini, *, drop_params: bool) -> None:
        self._inner = inner
        self._drop_params = drop_params
        self._presets: dict[tuple[str, str], Mapping[str, Any]] = {}  # by deployment and model

    async def address(self, d: Deployment, patience: float) -> Address:
        return await self._inner.address(d, patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        if endpoint in GOOGLES_EMBEDDINGS:
            return f"{base}/models/{quote(model, safe='')}:{_METHODS[endpoint]}"
        url = self._inner.url(d, base, model, endpoint, stream=stream)
        return url.removesuffix(method(stream)) + _METHODS[endpoint] if endpoint in _METHODS else url

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        """Raises Unsupported for presets that Gemini does not have."""
        can = traits(model, vertex=self._inner.vertex)
        if request.endpoint == "embed_content":
            return Sent(encode(request.body), None, False, request.endpoint)
        if request.endpoint == "batch_embed_contents":
            listed = [{**one, "model": f"models/{model}"} for one in request.body["requests"]]
            return Sent(encode({"requests": listed}), None, False, request.endpoint)
        body = {**request.body, "contents": _signed(request.body["contents"], can)}
        if request.endpoint == "google_count_tokens":
            return Sent(encode(self._counted(body, model)), None, False, request.endpoint)
        presets = self._of(d, model, can)
        body = {**presets, **body}
        generation = {**presets.get("generationConfig", {}), **request.body.get("generationConfig", {})}
        limit = _limit(d, model, generation, request)
        generation.pop("maxOutputTokens", None)
        if limit is not None:
            generation["maxOutputTokens"] = limit
        if generation:
            body["generationConfig"] = generation
        fetches = any("urlContext" in tool for tool in body.get("tools") or ())
        return Sent(encode(body), None, fetches)

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        return None

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        if sent.endpoint == "google_count_tokens":
            return passed_result(raw, "totalTokens", int)
        if sent.endpoint == "embed_content":
            return passed_result(raw, "embedding", dict)
        if sent.endpoint == "batch_embed_contents":
            return passed_result(raw, "embeddings", list)
        return passed_answer(raw, name, fetches=sent.note)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        return PassedContent(name, fetches=sent.note)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return self._inner.failure(status, headers, raw)

    def _of(self, d: Deployment, model: str, can: Traits) -> Mapping[str, Any]:
        """The deployment's presets in Google's form, computed once."""
        known = self._presets.get((d.id, model)) if d.presets else {}
        if known is None:
            fields = {**d.presets, "messages": _NO_MESSAGES}
            known = body(fields, can, drop_params=self._drop_params)
            del known["contents"]
            self._presets[d.id, model] = known
        return known

    def _counted(self, body: Mapping[str, Any], model: str) -> dict[str, Any]:
        """The two services want the fields beside `contents` in different places."""
        said = {name: body[name] for name in _COUNTED if name in body}
        if self._inner.vertex or len(said) == 1:
            return said
        return {"generateContentRequest": {"model": f"models/{model}", **said}}


def _limit(d: Deployment, model: str, generation: Mapping[str, Any], request: Completion) -> int | None:
    """The output limit, by the rules of chat: never above what is reserved."""
    asked = (request.body.get("generationConfig") or {}).get("maxOutputTokens")
    fields = {MAX_TOKENS: asked} if asked else {}
    return wire.merge(d, capabilities(d, model), fields, request).get(MAX_TOKENS)


def _signed(contents: list[dict[str, Any]], can: Traits) -> list[dict[str, Any]]:
    """Removes the signatures of other providers, which Gemini would refuse. Where the model wants a signature on the
    first call of a turn, Google's placeholder takes its place.
    """
    if not any("thoughtSignature" in part for c in contents for part in c.get("parts") or ()):
        return contents
    return [{**c, "parts": [_part(part, can) for part in c.get("parts") or ()]} for c in contents]


def _part(part: dict[str, Any], can: Traits) -> dict[str, Any]:
    if "thoughtSignature" not in part or signed_blocks(part["thoughtSignature"]) is None:
        return part
    rest = {name: value for name, value in part.items() if name != "thoughtSignature"}
    if can.signs_calls and "functionCall" in rest:
        rest["thoughtSignature"] = _NO_SIGNATURE
    return rest


# The responses.

_VERSION = re.compile(rb'"modelVersion"\s*:\s*"(?:[^"\\]|\\.)*"')


def passed_answer(raw: bytes, name: str, *, fetches: bool) -> Plain | Outcome:
    """`name` is the model's public name, `fetches` is as in `answer.usage`."""
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    try:
        failed = _failure(body, begun=False)
        if failed is not None:
            return failed
        if not candidates(body):
            return Outcome("server", 0, "The provider's response has no candidates.")
        return Plain(_renamed(raw, body, name), usage(body, fetches=fetches))
    except UNEXPECTED:
        return UNREADABLE


def passed_result(raw: bytes, field: str, kind: type) -> Plain | Outcome:
    """A response to another method, which has `field`."""
    body = json_object(raw)
    if isinstance(body, Outcome):
        return body
    if not isinstance(body.get(field), kind):
        return instead_of_answer(body) or Outcome("server", 0, f"The provider's response has no '{field}'.")
    return Plain(raw, None)


def _failure(said: Mapping[str, Any], *, begun: bool) -> Outcome | None:
    failed = instead_of_answer(said)
    if failed is not None:
        return failed
    failures = [broken_off(c, said=begun) for _, c in candidates(said) if c.get("finishReason")]
    return failures[0] if failures and all(failures) else None


def _renamed(raw: bytes, said: Mapping[str, Any], name: str) -> bytes:
    theirs = said.get("modelVersion")
    if theirs is None or theirs == name:
        return raw
    found = _VERSION.findall(raw)
    if len(found) == 1:
        return raw.replace(found[0], b'"modelVersion":' + orjson.dumps(name))
    return orjson.dumps({**said, "modelVersion": name})


class PassedContent:
    """A stream that is passed through. An `Events` (container/formats/shared/wire.py)."""

    def __init__(self, name: str, *, fetches: bool) -> None:
        self.usage: dict[str, Any] | None = None
        self.failed: Outcome | None = None
        self._name = name
        self._fetches = fetches
        self._grounded = NOT_GROUNDED
        self._cutter = EventCutter()
        self._refusal: Outcome | None = None
        self._begun: set[int] = set()
        self._ended: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        """Raises OversizedEvent."""
        return b"".join([self._event(one) for one in split(self._cutter.complete(data))])

    def end(self) -> bytes:
        return self._event(self._cutter.last())

    def begins(self, new: bytes) -> bool | Outcome:
        return self._refusal or bool(self._begun)

    @property
    def cut_off(self) -> bool:
        return not self.failed and (not self._begun or self._ended != self._begun)

    def _event(self, one: bytes) -> bytes:
        said = None if self.failed or self._refusal else payload(one)
        if said is None:
            return b""
        try:
            failed = _failure(said, begun=bool(self._begun))
            if failed is not None:
                return self._fail(failed)
            for index, candidate in candidates(said):
                self._begun.add(index)
                if candidate.get("finishReason"):
                    self._ended.add(index)
            self._grounded = grounded_by(said, self._grounded)
            self.usage = usage(said, fetches=self._fetches, grounded=self._grounded) or self.usage
            raw = one.strip(b"\r\n")
            simple = raw.startswith(b"data:") and b"\n" not in raw and b"\r" not in raw
            data = raw[5:].strip() if simple else orjson.dumps(said)
            return b"data: " + _renamed(data, said, self._name) + b"\n\n"
        except UNEXPECTED:
            return self._fail(UNREADABLE)

    def _fail(self, outcome: Outcome) -> bytes:
        if not self._begun:
            self._refusal = outcome
            return b""
        self.failed = outcome
        return error_event(outcome.message)
