"""Embeddings for clients of Gemini's API from models with OpenAI's endpoint.

https://ai.google.dev/api/embeddings
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from ....config.deployment import Deployment
from ....request.completion import Completion
from ....routing.outcome import Outcome
from ...shared.answer import UNEXPECTED, UNREADABLE, Events, Plain
from ...shared.format import Format, Malformed, Sent, Unsupported
from ...shared.prepare import Address

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
