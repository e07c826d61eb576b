"""LiteLLM's data about models that is needed to adapt requests, and which models require the Responses API."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import orjson

from ...config.deployment import Deployment
from ...config.model_routes import split_route
from ...config.price_map import price_map

_FIELDS_FILE = Path(__file__).with_name("litellm_fields.json")
_ANSWERS_IN_TEXT = ("chat", "completion", "responses", None)
_EFFORTS = ("none", "minimal", "low", "xhigh", "max")


class Known(NamedTuple):
    """What is known of one model.

    `max_output` is in tokens, and None if unknown. `reasons` says whether the model can reason. `efforts` maps effort
    levels to whether the model accepts them. `levels` lists all accepted levels, if known. `default_effort` is the
    level of a request that sets none.
    """

    max_output: int | None = None
    reasons: bool = False
    efforts: Mapping[str, bool] = {}
    levels: frozenset[str] | None = None
    default_effort: str | None = None


def known(*names: Any) -> Known | None:
    """The entry for the first of the names that the map contains."""
    models = _models()
    return next((models[name] for name in names if isinstance(name, str) and name in models), None)


def read(entry: Mapping[str, Any]) -> Known:
    """Reads an entry of the price map, or a deployment's `model_info`, which has the same fields."""
    efforts = {level: entry[name] for level in _EFFORTS if isinstance(entry.get(name := _flag(level)), bool)}
    levels, default = entry.get("reasoning_effort_levels"), entry.get("default_reasoning_effort")
    return Known(
        max_output=_count(entry.get("max_output_tokens")),
        reasons=entry.get("supports_reasoning") is True,
        efforts=efforts or {},
        levels=frozenset(map(str, levels)) if isinstance(levels, list) and levels else None,
        default_effort=default if isinstance(default, str) else None,
    )


def usual_output(info: Mapping[str, Any]) -> int | None:
    """The output limit from `model_info.max_tokens`, as a fallback.

    Many people use this field for the output limit. Others mean the whole context, and then the limit is merely too
    high.
    """
    return _count(info.get("max_tokens"))


def fields(provider: str, model: str) -> frozenset[str] | None:
    """The fields of OpenAI's chat API that LiteLLM sends to the model. None if only the engine knows the provider."""
    of_provider, sets = _fields()
    found = of_provider.get(provider)
    return None if found is None else sets[found.get(model, found[""])]


def load() -> None:
    """Loads the data in advance, so that no request has to wait for it."""
    _models()
    _fields()


@cache
def _models() -> Mapping[str, Known]:
    same: dict[Any, Known] = {}  # many models share the same limits and levels

    def shared(found: Known) -> Known:
        key = (*found[:2], tuple(found.efforts.items()), *found[3:])
        return same.setdefault(key, found)

    return {name: shared(read(e)) for name, e in price_map().items() if e.get("mode") in _ANSWERS_IN_TEXT}


@cache
def _fields() -> tuple[Mapping[str, Mapping[str, int]], tuple[frozenset[str], ...]]:
    data = orjson.loads(_FIELDS_FILE.read_bytes())
    return data["providers"], tuple(frozenset(names.split()) for names in data["sets"])


def _flag(level: str) -> str:
    return f"supports_{level}_reasoning_effort"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


Served = Literal["never", "with_tools", "always"]

# Azure deployments are often named after the model without its hyphen or dot.
_GPT = r"(?<![a-z0-9])gpt-?([5-9])(?:[.-]?(\d{1,2})(?!\d))?"
_ALWAYS = re.compile(
    rf"(?<![a-z0-9])(?:codex-mini|computer-use|gpt-daybreak|o\d+-pro(?![a-z])|o\d+(?:-mini)?-deep-research)"
    rf"|{_GPT}-(?:codex|pro)(?![a-z])"
)
_XAI_ALWAYS = re.compile(r"grok-.*-multi-agent")
# From this version on, chat completions refuse function tools while the model reasons.
_VERSION = re.compile(rf"{_GPT}(?![a-z0-9])")
_FIRST_WITH_TOOLS = (5, 4)
# Models whose reasoning cannot be turned off.
_CANNOT_REST = re.compile(r"(?<![a-z0-9])gpt-6(?:-astra|\.1-sol)")
# Models that OpenAI does not stream.
_WHOLE = re.compile(r"(?<![a-z0-9])(?:o1-pro|gpt-5-pro)(?![a-z0-9.])")
_REASONS = re.compile(
    r"(?<![a-z0-9])(?:gpt-?[5-9](?!.*-(?:chat|search))|o[1-9]|codex|computer-use|gpt-daybreak)"
    r"|^grok-[4-9](?!.*non-reasoning)"
)
_OPENAI_HOST = "api.openai.com"


def served(d: Deployment, model: str) -> Served:
    """Whether chat uses the Responses API at this deployment. `model_info.mode` takes precedence."""
    mode = d.info.get("mode")
    if mode == "responses" or d.route == "responses" or split_route(d.provider, model)[0] == "responses":
        return "always"
    name = model_name(d, model)
    if d.provider == "perplexity":
        # Perplexity's own models have no slash. Those of its Agent API do: `openai/gpt-5`, `preset/pro-search`.
        return "always" if "/" in name and mode is None else "never"
    if d.provider == "xai":
        return "always" if _XAI_ALWAYS.match(name) and mode is None else "never"
    if d.provider not in ("openai", "azure"):
        return "never"
    if mode is None and _ALWAYS.search(name):
        return "always"
    found = _VERSION.search(name)
    if not found or "search" in name or (int(found[1]), int(found[2] or 0)) < _FIRST_WITH_TOOLS:
        return "never"
    return "with_tools"


def refuses_tools(d: Deployment, model: str, fields: Mapping[str, Any], *, by_default: bool = False) -> bool:
    """Whether chat completions refuse this request to a `with_tools` model, because it has function tools and reasoning
    is on.

    Without `reasoning_effort`, OpenAI and Azure reason by default. Other servers with the same model names may accept
    tools in chat and may lack a Responses API, so for them only an explicit effort counts. `by_default` overrides this
    after a server has refused a request without an effort.
    """
    tools = fields.get("tools")
    if not isinstance(tools, list) or not any(isinstance(t, dict) and t.get("type") == "function" for t in tools):
        return False
    effort = fields.get("reasoning_effort")
    if isinstance(effort, dict):
        effort = "high" if effort.get("summary") is not None else effort.get("effort")
    if effort is None:
        return by_default or d.provider == "azure" or _is_openais(d.base)
    return effort != "none" or _CANNOT_REST.search(model_name(d, model)) is not None


def gives_reasoning(d: Deployment, model: str) -> bool:
    """Whether the model is known to accept `include: ["reasoning.encrypted_content"]` in the Responses API."""
    if d.provider not in ("openai", "azure", "xai"):
        return False
    return bool(d.info.get("supports_reasoning")) or _REASONS.search(model_name(d, model)) is not None


def streams(d: Deployment, model: str) -> bool:
    """Whether the model's responses can be streamed with the Responses API."""
    declared = d.info.get("supports_native_streaming")
    if isinstance(declared, bool):
        return declared
    return d.provider != "openai" or _WHOLE.search(model_name(d, model)) is None


def model_name(d: Deployment, model: str) -> str:
    """The name of the model, without LiteLLM's prefixes. `base_model` gives the model of an Azure deployment with a
    custom name.
    """
    base = d.info.get("base_model")
    name = base.removeprefix(f"{d.provider}/") if isinstance(base, str) and base else model
    return split_route(d.provider, name)[1].lower()


def _is_openais(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    return host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")
