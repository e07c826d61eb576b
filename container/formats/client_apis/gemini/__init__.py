"""Gemini's API for clients.

Requests for Gemini are passed through (native.py). For other models they are translated to chat completions, or to
OpenAI's embeddings, and tokens are counted here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from worker.core.pricing.estimate import text_tokens
from worker.core.pricing.prices import GOOGLES_COUNT, GOOGLES_EMBEDDINGS

from ....config.deployment import Deployment, tokenizer
from ....request.completion import Completion, encode
from ....routing.health import Outcome
from ...shared import mock
from ...shared.answer import UNEXPECTED, UNREADABLE, Answer, Events, Plain
from ...shared.format import Format, Malformed, Sent, Unsupported
from ...shared.prepare import Address
from .. import over_chat
from ..over_chat import CHAT
from .answer import ContentEvents, response
from .native import ToGemini
from .request import SAMPLING, chat

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
    """A `Format` (container/formats/shared/format.py). Translates around `inner`, whose note it wraps."""

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
