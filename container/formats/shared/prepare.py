"""Builds the request for a deployment: URL, headers and body. No I/O, and constant parts are computed once."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ...config.deployment import OUTPUT_LIMITS, Deployment, lowest_limit, split_route
from ...config.providers import JSON, Address
from ...request.completion import Completion, encode
from ...routing.health import UNHEALTHY, Outcome
from . import refusals
from .capabilities import MAX_TOKENS, Capabilities, capabilities, known_model

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
    if outcome.status in _MISSING and refusals.says_path_missing(outcome.message.lower()):
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
