"""Anthropic's Messages API for clients.

Requests for Claude are passed through. For other models they are translated to chat completions.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ....config.deployment import Deployment
from ....engine.supervisor import Engine
from ....request.completion import Completion, encode
from ....routing.outcome import Outcome
from ...anthropic import Anthropic, betas, url
from ...anthropic.models import capped, traits
from ...openai import shown_to_engine
from ...shared import failure, prepare
from ...shared.answer import Events, Plain
from ...shared.capabilities import Capabilities, capabilities
from ...shared.format import Malformed, Sent
from ...shared.prepare import Address
from ...shared.tool_identifiers import fitted_block_ids
from ..over_chat import CHAT
from . import passing, thinking
from .answer import MessageEvents, message
from .passing import PassedEvents
from .request import ANTHROPIC, chat, known

ENDPOINTS = ("messages", "count_tokens")
_COUNT = "/count_tokens"
_ID = "[a-zA-Z0-9_-]+"
# Derived from fields that Anthropic's clients send to every model, so they are dropped if a server refuses them.
_GUIDING = ("reasoning_effort", "user", "parallel_tool_calls")
# Anthropic's service tiers and OpenAI's names for them.
_TIERS = {"standard_only": "default"}
# Presets from the config that have the same form in Anthropic's API.
_PRESETS = ("temperature", "top_p", "top_k", "max_tokens", "thinking", "output_config", "cache_control")


class ToClaude(Anthropic):
    """Passes the client's request through, with our credentials and the provider's model name."""

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return url(base) + (_COUNT if endpoint == "count_tokens" else "")

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        presets = {} if request.endpoint == "count_tokens" else d.presets
        body = {name: value for name, value in presets.items() if name in _PRESETS}
        body.update(self._shown(request), messages=self._messages(request), **self._called(d, model))
        if request.endpoint == "messages":
            self._think(body, model)
            _limit(body, request.body, capabilities(d, model))
        wanted = tuple(beta for beta in request.betas.split(",") if beta and not (request.limited and _longer(beta)))
        headers = betas(d, self._betas(wanted)) if wanted else None
        return Sent(encode(body), headers, request.endpoint)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return passing.counted(raw) if sent.note == "count_tokens" else passing.plain(raw, name)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        return PassedEvents(name)

    def _messages(self, request: Completion) -> list[dict[str, Any]]:
        """Removes reasoning and call ids of other models, which Anthropic would refuse."""
        return fitted_block_ids(_signed(request.body["messages"]), None, _ID)

    def _shown(self, request: Completion) -> Mapping[str, Any]:
        """The client's fields that are sent to the provider."""
        return known(request.body, ANTHROPIC)

    def _called(self, d: Deployment, model: str) -> Mapping[str, Any]:
        """The field that identifies the model or the API version."""
        return {"model": model}

    def _betas(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The client's beta features that the provider supports."""
        return wanted

    def _think(self, body: dict[str, Any], model: str) -> None:
        """Adapts the reasoning settings to a Claude model. Other models with this API are unknown and get them
        unchanged.
        """
        if ("thinking" in body or "output_config" in body) and "claude" in model:
            thinking.fitted(body, traits(model))


class ToEngine(ToClaude):
    """Calls the engine, which supports Anthropic's Messages API itself."""

    def __init__(self, engine: Engine, *, drop_params: bool) -> None:
        super().__init__(drop_params=drop_params)
        self._engine = engine

    async def address(self, d: Deployment, patience: float) -> Address:
        return await self._engine.ready(patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return f"{base}/messages"

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return failure.from_response(status, headers, raw)

    def _messages(self, request: Completion) -> list[dict[str, Any]]:
        """Keeps the call ids, because LiteLLM removes signatures from them where necessary."""
        return _signed(request.body["messages"])

    def _shown(self, request: Completion) -> Mapping[str, Any]:
        """Raises Unsupported."""
        return shown_to_engine(request, drop_params=self._drop_params)

    def _called(self, d: Deployment, model: str) -> Mapping[str, Any]:
        return {"model": prepare.engine_model(d, model)}

    def _think(self, body: dict[str, Any], model: str) -> None:
        """Does nothing, because LiteLLM adapts the settings."""


def _longer(beta: str) -> bool:
    """Whether the beta extends the context window, so that the prompt may exceed the reservation."""
    return beta.startswith("context-1m")


class _Translated:
    """An `Api` (over_chat.py)."""

    def chat(self, request: Completion, d: Deployment, model: str, *, drop_params: bool) -> tuple[Completion, None]:
        try:
            body = chat(request.body, d, model, drop_params=drop_params)
        except (AttributeError, KeyError, TypeError) as error:
            raise Malformed(
                "messages", "The request is not valid for Anthropic's API: check messages and tools."
            ) from error
        body["max_tokens"] = request.body["max_tokens"]
        tier = request.body.get("service_tier")
        if tier is not None and "service_tier" in d.presets:  # the request is billed by the client's tier
            body["service_tier"] = _TIERS.get(tier, tier) if isinstance(tier, str) else tier
        optional = tuple(name for name in _GUIDING if name in body)
        return replace(request, endpoint=CHAT, body=body, client_wants_usage=False, optional=optional), None

    def response(self, body: Mapping[str, Any], name: str, asked: None) -> dict[str, Any]:
        return message(body, name)

    def events(self, inner: Events, name: str, asked: None) -> Events:
        return MessageEvents(inner, name)


TRANSLATED = _Translated()


def _limit(body: dict[str, Any], asked: Mapping[str, Any], can: Capabilities) -> None:
    """Clamps the output limit to the model's range.

    Then shrinks the reasoning budget to fit, unless the client chose both.
    """
    limit = body["max_tokens"] = prepare.fitting(asked["max_tokens"], can)
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or not isinstance(thinking.get("budget_tokens"), int):
        return
    if limit <= thinking["budget_tokens"] and ("thinking" not in asked or limit != asked["max_tokens"]):
        fitting = capped(thinking["budget_tokens"], limit)
        if fitting is None:
            del body["thinking"]
        else:
            body["thinking"] = {**thinking, **fitting}


def _signed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Removes the reasoning of other models, which is unsigned and would be refused by Anthropic."""
    if not any(_unsigned(b) for m in messages for b in _blocks(m)):
        return messages
    kept = [{**m, "content": [b for b in _blocks(m) if not _unsigned(b)] or m.get("content")} for m in messages]
    return [m if isinstance(given.get("content"), list) else given for m, given in zip(kept, messages, strict=True)]


def _blocks(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _unsigned(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "thinking" and not block.get("signature")
