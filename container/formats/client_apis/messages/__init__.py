"""Anthropic's Messages API for clients.

Requests for Claude are passed through. For other models they are translated to chat completions.

Claude on Vertex AI gets the model in the URL. https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai

Clients write `thinking` and `output_config.effort` for the newest models, but the gateway's model name may map to an
older one (`fit_thinking`). Chat completions are adapted by container/formats/anthropic/models.py.
https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking

Only Anthropic has `count_tokens`. For other models the answer is our own estimate, without any request. Documents are
not counted. https://platform.claude.com/docs/en/api/messages/count_tokens
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from worker.core.pricing.estimate import prompt

from ....config.deployment import Deployment, tokenizer
from ....engine import Engine
from ....request.completion import Completion, encode
from ....routing.health import Outcome
from ...anthropic import Anthropic, betas, url
from ...anthropic.models import BUDGETS, Traits, capped, effort_of, traits
from ...openai import shown_to_engine
from ...shared import failure, wire
from ...shared.capabilities import Capabilities, capabilities
from ...shared.tool_identifiers import fitted_block_ids
from ...shared.wire import Address, Events, Malformed, Plain, Sent, Unsupported
from ...vertex import CLAUDE_VERSION, Vertex, refuse_addresses
from ..over_chat import CHAT
from .answer import MessageEvents, PassedEvents, message, passed_count, passed_message
from .request import ANTHROPIC, MISSED_ON_VERTEX, VERTEX, chat, known

COUNT = "count_tokens"
ENDPOINTS = ("messages", COUNT)
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
        return url(base) + (f"/{COUNT}" if endpoint == COUNT else "")

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        presets = {} if request.endpoint == COUNT else d.presets
        body = {name: value for name, value in presets.items() if name in _PRESETS}
        body.update(self._shown(request), messages=self._messages(request), **self._called(d, model))
        if request.endpoint == "messages":
            self._think(body, model)
            _limit(body, request.body, capabilities(d, model))
        wanted = tuple(beta for beta in request.betas.split(",") if beta and not (request.limited and _longer(beta)))
        headers = betas(d, self._betas(wanted)) if wanted else None
        return Sent(encode(body), headers, request.endpoint)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return passed_count(raw) if sent.note == COUNT else passed_message(raw, name)

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
            fit_thinking(body, traits(model))


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
        return {"model": wire.engine_model(d, model)}

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
    limit = body["max_tokens"] = wire.fitting(asked["max_tokens"], can)
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


# Claude on Vertex AI.

# Vertex AI refuses other betas. LiteLLM lists these in `anthropic_beta_headers_config.json`, and a test compares them.
BETAS = {
    name: name
    for name in (
        "compact-2026-01-12",
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-1m-2025-08-07",
        "context-management-2025-06-27",
        "dangerous-tool-use-2026-09-03",
        "inline-tools-2026-09-15",
        "interleaved-thinking-2025-05-14",
        "per-turn-control-2026-07-01",
        "thinking-binding-controls-2026-08-01",
        "thinking-display-updates-2026-08-18",
        "tool-search-tool-2025-10-19",
        "web-search-2025-03-05",
    )
} | {"advanced-tool-use-2025-11-20": "tool-search-tool-2025-10-19"}

_OPERATORS = "An instruction of the operator, not of the user:"


class ToVertexClaude(ToClaude):
    """Passes requests through to Vertex AI. `vertex` provides the project and the token, and maps errors."""

    def __init__(self, vertex: Vertex, *, drop_params: bool) -> None:
        super().__init__(drop_params=drop_params)
        self._vertex = vertex

    async def address(self, d: Deployment, patience: float) -> Address:
        return await self._vertex.address(d, patience)

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return self._vertex.url(d, base, model, endpoint, stream=stream)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        """Raises Unsupported."""
        refuse_addresses(request.body["messages"])
        return super().request(d, model, request)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        return self._vertex.failure(status, headers, raw)

    def _shown(self, request: Completion) -> Mapping[str, Any]:
        """Raises Unsupported."""
        for name in MISSED_ON_VERTEX:
            if request.body.get(name) and not self._drop_params:
                raise Unsupported(name, f"Vertex AI does not support '{name}'.")
        shown = known(request.body, VERTEX)
        if not isinstance(shown.get("system"), list):
            return shown
        return {**shown, "system": _without_scope(shown["system"])}

    def _messages(self, request: Completion) -> list[dict[str, Any]]:
        return [_message(message) for message in super()._messages(request)]

    def _betas(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(BETAS[beta] for beta in wanted if beta in BETAS))

    def _called(self, d: Deployment, model: str) -> Mapping[str, Any]:
        return {"anthropic_version": CLAUDE_VERSION}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Converts system messages to user messages. Vertex AI supports only the user and assistant roles."""
    content = message.get("content")
    if isinstance(content, list):
        message = {**message, "content": _without_scope(content)}
    if message.get("role") != "system":
        return message
    said = [{"type": "text", "text": content}] if isinstance(content, str) else message.get("content") or []
    return {"role": "user", "content": [{"type": "text", "text": _OPERATORS}, *said]}


def _without_scope(blocks: list[Any]) -> list[Any]:
    """Removes `scope` from cache markers, which only Anthropic's own service supports."""
    return [_unscoped(block) if isinstance(block, dict) else block for block in blocks]


def _unscoped(block: dict[str, Any]) -> dict[str, Any]:
    marker = block.get("cache_control")
    if not isinstance(marker, dict) or "scope" not in marker:
        return block
    return {**block, "cache_control": {name: value for name, value in marker.items() if name != "scope"}}


# Reasoning settings of Claude.


def fit_thinking(body: dict[str, Any], can: Traits) -> None:
    """Adapts `thinking`, `output_config` and `temperature` in place, as LiteLLM does. Invalid values stay, and
    Anthropic refuses them.
    """
    thinking, config = body.get("thinking"), body.get("output_config")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    effort = config.get("effort") if isinstance(config, dict) else None
    if kind == "disabled" and can.always_thinks:
        del body["thinking"]
    elif kind == "enabled" and not can.budgets:
        _by_itself(body, can)
    elif not can.adaptive and (kind == "adaptive" or effort is not None):
        _by_budget(body, can, kind, effort)
    if not can.adaptive and body.get("temperature") not in (None, 1) and _thinks(body):
        del body["temperature"]


def _by_itself(body: dict[str, Any], can: Traits) -> None:
    """Converts a budget to an effort. The newest models do not accept budgets."""
    thinking, config = body["thinking"], body.get("output_config")
    budget = thinking.get("budget_tokens")
    rest = {name: value for name, value in thinking.items() if name in ("display", "block_binding")}
    body["thinking"] = {**rest, "type": "adaptive"}
    effort = effort_of(budget if isinstance(budget, int) else 0, can)
    body["output_config"] = {"effort": effort, **(config if isinstance(config, dict) else {})}


def _by_budget(body: dict[str, Any], can: Traits, kind: str | None, effort: Any) -> None:
    """Converts an effort to a budget, if the output limit has room for one. Older models do not accept efforts.

    A model that accepts efforts without reasoning adaptively keeps its effort and loses an adaptive `thinking`.
    """
    if can.efforts and (kind != "adaptive" or effort in can.efforts):
        if kind == "adaptive":
            del body["thinking"]
        return
    budget = BUDGETS.get(effort or "medium") if isinstance(effort, str | None) else None
    fitting = capped(budget, body.get("max_tokens")) if can.thinks and budget else None
    if fitting is not None:
        body["thinking"] = fitting
    else:
        body.pop("thinking", None)
    if effort is not None:
        rest = {name: value for name, value in body["output_config"].items() if name != "effort"}
        body["output_config"] = rest
        if not rest:
            del body["output_config"]


def _thinks(body: dict[str, Any]) -> bool:
    thinking, config = body.get("thinking"), body.get("output_config")
    enabled = isinstance(thinking, dict) and thinking.get("type") == "enabled"
    return enabled or (isinstance(config, dict) and config.get("effort") is not None)


# Token counts.

# Budgets are reserved with an upper bound, which is 1.5 times the tokens of usual text (tests/ledger/test_estimate.py).
_OVER = 1.5
# What a picture costs Claude at most: https://platform.claude.com/docs/en/build-with-claude/vision#image-costs
_PICTURE = 1_600


def counts_by_estimate(d: Deployment) -> bool:
    return not (d.kind == "direct" and d.format == "anthropic")


def estimated_count(d: Deployment, model: str, request: Completion) -> Plain:
    measured = prompt(request.body)
    tokens = round(measured.tokens(tokenizer(d, model)) / _OVER) + measured.images * _PICTURE
    return Plain(orjson.dumps({"input_tokens": tokens}), None)
