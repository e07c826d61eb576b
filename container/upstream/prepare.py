"""The request that a deployment gets: address, headers, body. Pure; what can be worked out at start is."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from ..config import Deployment
from ..config.model_routes import split_route
from ..request.completion import encode

PATHS = {
    "chat_completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
}

# Azure's API without dated versions, which takes OpenAI's paths and the deployment's name in the body.
_AZURE_V1 = frozenset(("v1", "preview", "latest"))
# The first dated version that has the Responses API.
_AZURE_RESPONSES = "2025-03-01"

# To LiteLLM these are authority: guardrails, log destinations, sessions, routing.
AUTHORITY = frozenset(("metadata", "tags"))

OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")

# The headers of every call.
JSON = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "litellm-router"}


class Address(NamedTuple):
    """Where the proxy finds a server that speaks OpenAI's wire format, and the headers that open it."""

    base: str
    headers: Mapping[str, str]


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


def engine_address(port: int, key: str) -> Address:
    """The engine on loopback."""
    return Address(f"http://127.0.0.1:{port}/v1", {**JSON, "authorization": f"Bearer {key}"})


def url(d: Deployment, base: str, model: str, endpoint: str) -> str:
    """The full URL of an endpoint (a key of `PATHS`) at a deployment.

    Azure: https://learn.microsoft.com/azure/ai-services/openai/reference
    """
    path = PATHS[endpoint]
    if d.provider == "azure" and not base.endswith("/v1"):
        _, deployed = split_route(d.provider, model)
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


def limit_name(d: Deployment, endpoint: str) -> str:
    """The field that takes an output limit: OpenAI's newer models refuse the name that everybody else knows."""
    own = d.provider == "azure" or (d.provider == "openai" and d.base.startswith("https://api.openai.com/"))
    return "max_completion_tokens" if own and endpoint == "chat_completions" else "max_tokens"


def body(
    d: Deployment,
    model: str,
    fields: Mapping[str, Any],
    *,
    ask_usage: bool,
    leave_out: frozenset[str],
    limit: tuple[str, int] | None = None,
) -> bytes:
    """The body for the deployment: the client's fields over its presets, `model`, usage asked for. `limit`: a field and
    its value, for a request without an output limit."""
    merged = merge(d, fields, limit)
    merged["model"] = model
    if ask_usage and "stream_options" not in leave_out:
        merged["stream_options"] = {**(merged.get("stream_options") or {}), "include_usage": True}
    for name in leave_out:
        merged.pop(name, None)
    return encode(merged)


def merge(d: Deployment, fields: Mapping[str, Any], limit: tuple[str, int] | None = None) -> dict[str, Any]:
    """The client's fields over the deployment's presets; `limit` for a request without an output limit."""
    merged = {**d.presets, **fields} if d.presets else dict(fields)
    if limit is not None and all(merged.get(name) is None for name in OUTPUT_LIMITS):
        for name in OUTPUT_LIMITS:
            merged.pop(name, None)
        merged[limit[0]] = limit[1]
    return merged
