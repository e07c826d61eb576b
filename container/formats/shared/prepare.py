"""The request that a deployment gets: address, headers, body. Pure; what can be worked out at start is."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from worker.core.pricing.quote import LEAST_OF_RESPONSES

from ...config import parameters
from ...config.address import JSON, Address
from ...config.deployment import Deployment
from ...config.parameters import split_route
from ...request.completion import encode
from ...routing.outcome import UNHEALTHY, Outcome
from . import known_models
from . import refusals as words
from .capabilities import MAX_TOKENS, Capabilities, capabilities

# Where models that answer in text are asked.
_OF_TEXT = frozenset(("chat_completions", "messages", "count_tokens", "responses", "completions"))
# Where whoever cannot be asked cannot be asked at all: its address or its model is wrong.
_USUAL = frozenset(("chat_completions", "messages"))
_MISSING = frozenset((404, 405, 501))


def excused(outcome: Outcome, d: Deployment, model: str, endpoint: str) -> Outcome:
    """The outcome, `blameless` where the endpoint is at fault. `endpoint`: its name in worker/core/api/endpoints.py."""
    if outcome.kind not in UNHEALTHY or outcome.blameless or endpoint in _USUAL:
        return outcome
    if outcome.status in _MISSING and words.says_path_missing(outcome.message.lower()):
        return outcome._replace(blameless=True)
    if endpoint in _OF_TEXT or not outcome.status:
        return outcome
    name = split_route(d.provider, model)[1]
    answers_in_text = known_models.known(d.info.get("base_model"), f"{d.provider}/{name}", name) is not None
    return outcome._replace(blameless=True) if answers_in_text else outcome


PATHS = {
    "chat_completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
    "transcription": "/audio/transcriptions",
    "translation": "/audio/translations",
}

# Azure's API without dated versions, which takes OpenAI's paths and the deployment's name in the body.
_AZURE_V1 = frozenset(("v1", "preview", "latest"))
_AZURE_DEPLOYMENTS = "/openai/deployments/"
# The first dated version that has the Responses API.
_AZURE_RESPONSES = "2025-03-01"

_OF_RESPONSES = frozenset(("max_output_tokens",))

# To LiteLLM these are authority: guardrails, log destinations, sessions, routing.
AUTHORITY = frozenset(("metadata", "tags"))


def address(d: Deployment) -> Address:
    """The address of a deployment that is called directly."""
    headers = dict(JSON)
    if d.api_key:
        if d.provider == "azure":
            headers["api-key"] = d.api_key
        else:
            headers["authorization"] = f"Bearer {d.api_key}"
    headers.update(d.extra_headers)
    return Address(d.base, headers)


class Addresses:
    """Of deployments that are called directly, each worked out once by `made`."""

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
        base, _, named = base.partition(_AZURE_DEPLOYMENTS)  # an address may name the deployment, too
        deployed = named.partition("/")[0] or deployed
        return _azure_url(d, base.removesuffix("/openai") + "/openai", deployed, path)
    if d.provider == "perplexity" and endpoint == "responses":
        return f"{base}/v1{path}"
    return base + path


def _azure_url(d: Deployment, base: str, model: str, path: str) -> str:
    """https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle"""
    if d.api_version in _AZURE_V1:
        return f"{base}/v1{path}"
    if path != PATHS["responses"]:
        return f"{base}/deployments/{quote(model, safe='')}{path}?api-version={quote(d.api_version)}"
    if d.api_version < _AZURE_RESPONSES:
        return f"{base}/v1{path}"
    return f"{base}{path}?api-version={quote(d.api_version)}"


def engine_model(d: Deployment, model: str) -> str:
    """The engine's name for the deployment: its id, and for a wildcard what the `*` stands for.

    `model` is the provider's name with the wildcard filled in, `d.model` the pattern.
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
    added: int | None = None,
    limit_name: str = MAX_TOKENS,
    called: str | None = None,
    fit: Callable[[dict[str, Any], Capabilities, Mapping[str, Any]], None] | None = None,
) -> bytes:
    """The body for the deployment: the client's fields over its presets, `model`, usage asked for.

    `added`: an output limit for a request without one; `limit_name`: what its limit is called; `called`: what goes out
    as the model's name, where that is not `model`; `fit`: fits the merged fields to the model, in place.
    """
    can = capabilities(d, model)
    merged = merge(d, can, fields, added, limit_name)
    if fit is not None:
        fit(merged, can, d.presets)
    merged["model"] = called or model
    if ask_usage and "stream_options" not in leave_out:
        merged["stream_options"] = {**(merged.get("stream_options") or {}), "include_usage": True}
    for name in leave_out:
        merged.pop(name, None)
    return encode(merged)


def merge(
    d: Deployment, can: Capabilities, fields: Mapping[str, Any], added: int | None = None, name: str = MAX_TOKENS
) -> dict[str, Any]:
    """The client's fields over the deployment's presets, with one output limit at most.

    That is the lowest of the client's, else of the deployment's, else `added`, between the least and the most that the
    model takes. `name`: what it is called.
    """
    merged = {**d.presets, **fields} if d.presets else dict(fields)
    limits = parameters.NAMES.intersection(merged)
    if added is None and not limits:
        return merged
    limit = parameters.lowest(fields)
    if limit is None:
        limit = (parameters.lowest(d.presets) if d.presets else None) or added
    elif added is not None:  # the client's is one that no reservation knows
        limit = min(limit, added)
    for other in limits:
        del merged[other]
    if limit is not None:
        merged[name] = fitting(limit, can)
    return merged


def limit_name(can: Capabilities, fields: Mapping[str, Any]) -> str:
    """What an output limit is called: as the client calls it, if the model knows it so."""
    for name in can.limit_names:
        if name in fields:
            return name
    return can.limit_name


def responses_limit(d: Deployment, model: str, fields: Mapping[str, Any]) -> int | None:
    """Of a request to the Responses API: the client's output limit, else the deployment's, as the model takes it."""
    limit = parameters.lowest(fields, _OF_RESPONSES) or parameters.lowest(d.presets)
    return None if limit is None else max(fitting(limit, capabilities(d, model)), LEAST_OF_RESPONSES)


def fitting(limit: int, can: Capabilities) -> int:
    """The limit as the model takes it. What is set aside for a request covers it: `worker.core.pricing.quote.quote`."""
    return max(limit if can.max_output is None else min(limit, can.max_output), can.min_output)
