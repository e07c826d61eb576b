"""Sends requests of Gemini's API to Gemini as they are, at Google AI Studio and on Vertex AI.

Only the credentials, the model's name and the output limit are ours. The deployment's presets apply where the client
has set nothing.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from worker.core.pricing.charge import GOOGLES_EMBEDDINGS

from ....config.deployment import Deployment
from ....request.completion import Completion, encode
from ....routing.outcome import Outcome
from ...gemini import Gemini, method
from ...gemini import request as of_chat
from ...gemini.models import Traits, traits
from ...shared import prepare
from ...shared.answer import Events, Plain
from ...shared.capabilities import MAX_TOKENS, capabilities
from ...shared.format import Sent
from ...shared.prepare import Address
from . import passing, signatures
from .passing import PassedContent

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
    """A `Format` (container/formats/shared/format.py). `inner` knows addresses, credentials and errors.

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
            return passing.result(raw, "totalTokens", int)
        if sent.endpoint == "embed_content":
            return passing.result(raw, "embedding", dict)
        if sent.endpoint == "batch_embed_contents":
            return passing.result(raw, "embeddings", list)
        return passing.plain(raw, name, fetches=sent.note)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        return PassedContent(name, fetches=sent.note)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return self._inner.failure(status, headers, raw)

    def _of(self, d: Deployment, model: str, can: Traits) -> Mapping[str, Any]:
        """The deployment's presets in Google's form, computed once."""
        known = self._presets.get((d.id, model)) if d.presets else {}
        if known is None:
            fields = {**d.presets, "messages": _NO_MESSAGES}
            known = of_chat.body(fields, can, drop_params=self._drop_params)
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
    return prepare.merge(d, capabilities(d, model), fields, request).get(MAX_TOKENS)


def _signed(contents: list[dict[str, Any]], can: Traits) -> list[dict[str, Any]]:
    """Removes the signatures of other providers, which Gemini would refuse. Where the model wants a signature on the
    first call of a turn, Google's placeholder takes its place.
    """
    if not any("thoughtSignature" in part for c in contents for part in c.get("parts") or ()):
        return contents
    return [{**c, "parts": [_part(part, can) for part in c.get("parts") or ()]} for c in contents]


def _part(part: dict[str, Any], can: Traits) -> dict[str, Any]:
    if "thoughtSignature" not in part or signatures.blocks(part["thoughtSignature"]) is None:
        return part
    rest = {name: value for name, value in part.items() if name != "thoughtSignature"}
    if can.signs_calls and "functionCall" in rest:
        rest["thoughtSignature"] = _NO_SIGNATURE
    return rest
