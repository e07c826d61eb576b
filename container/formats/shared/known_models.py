"""What LiteLLM knows of models, as far as requests are fitted by it; and which models only the Responses API serves."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import orjson

from ...config.deployment import Deployment
from ...config.parameters import split_route
from ...config.price_map import price_map

_FIELDS_FILE = Path(__file__).with_name("litellm_fields.json")
_ANSWERS_IN_TEXT = ("chat", "completion", "responses", None)
_EFFORTS = ("none", "minimal", "low", "xhigh", "max")


class Known(NamedTuple):
    """Of one model. `max_output`: tokens, None where nobody says; `reasons`: it can think; `efforts`: the levels that
    it is said to take (True) or to refuse (False), `levels`: all that it takes, where they are listed;
    `default_effort`: the level of a request that names none."""

    max_output: int | None = None
    reasons: bool = False
    efforts: Mapping[str, bool] = {}
    levels: frozenset[str] | None = None
    default_effort: str | None = None


def known(*names: Any) -> Known | None:
    """The first of the names that the map has."""
    models = _models()
    return next((models[name] for name in names if isinstance(name, str) and name in models), None)


def read(entry: Mapping[str, Any]) -> Known:
    """An entry of the map, or a deployment's `model_info`, which has the same names."""
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
    """Tokens of an answer by `model_info.max_tokens`, where nobody says more exactly: many mean the output by it, and
    those who mean the context as well name no limit that is too small."""
    return _count(info.get("max_tokens"))


def fields(provider: str, model: str) -> frozenset[str] | None:
    """The fields of OpenAI's chat API that LiteLLM sends to the model; None for a provider of the engine's."""
    of_provider, sets = _fields()
    found = of_provider.get(provider)
    return None if found is None else sets[found.get(model, found[""])]


def load() -> None:
    """Reads both now, so that no request has to wait for it."""
    _models()
    _fields()


@cache
def _models() -> Mapping[str, Known]:
    same: dict[Any, Known] = {}  # many models have the same limits and levels

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

# Azure's deployments are often called by the model's name without its hyphen or its dot.
_GPT = r"(?<![a-z0-9])gpt-?([5-9])(?:[.-]?(\d{1,2})(?!\d))?"
_ALWAYS = re.compile(
    rf"(?<![a-z0-9])(?:codex-mini|computer-use|gpt-daybreak|o\d+-pro(?![a-z])|o\d+(?:-mini)?-deep-research)"
    rf"|{_GPT}-(?:codex|pro)(?![a-z])"
)
_XAI_ALWAYS = re.compile(r"grok-.*-multi-agent")
# From this version on, chat completions refuse function tools while the model reasons.
_VERSION = re.compile(rf"{_GPT}(?![a-z0-9])")
_FIRST_WITH_TOOLS = (5, 4)
# These cannot be told not to reason.
_CANNOT_REST = re.compile(r"(?<![a-z0-9])gpt-6(?:-astra|\.1-sol)")
# OpenAI answers these in one piece only.
_WHOLE = re.compile(r"(?<![a-z0-9])(?:o1-pro|gpt-5-pro)(?![a-z0-9.])")
_REASONS = re.compile(
    r"(?<![a-z0-9])(?:gpt-?[5-9](?!.*-(?:chat|search))|o[1-9]|codex|computer-use|gpt-daybreak)"
    r"|^grok-[4-9](?!.*non-reasoning)"
)
_OPENAI_HOST = "api.openai.com"


def served(d: Deployment, model: str) -> Served:
    """When chat at this deployment is served by the Responses API. `model_info.mode` decides where it says so."""
    mode = d.info.get("mode")
    if mode == "responses" or d.route == "responses" or split_route(d.provider, model)[0] == "responses":
        return "always"
    name = model_name(d, model)
    if d.provider == "perplexity":
        # Its own models have no slash; the Agent API's are `openai/gpt-5`, `preset/pro-search`.
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
    """Whether a `with_tools` model refuses this request at chat completions: function tools, and reasoning is on.

    Without a `reasoning_effort` OpenAI and Azure reason by default. Other servers that offer such a model by OpenAI's
    name may serve tools in chat and have no Responses API, so there only a request that names an effort counts, unless
    `by_default`: the server has refused one that did not.
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
    """Whether the model is known to take `include: ["reasoning.encrypted_content"]` at its Responses API."""
    if d.provider not in ("openai", "azure", "xai"):
        return False
    return bool(d.info.get("supports_reasoning")) or _REASONS.search(model_name(d, model)) is not None


def streams(d: Deployment, model: str) -> bool:
    """Whether the Responses API streams the model's answers."""
    declared = d.info.get("supports_native_streaming")
    if isinstance(declared, bool):
        return declared
    return d.provider != "openai" or _WHOLE.search(model_name(d, model)) is None


def model_name(d: Deployment, model: str) -> str:
    """The model behind an Azure deployment of any name, where `base_model` tells it; without LiteLLM's prefixes."""
    base = d.info.get("base_model")
    name = base.removeprefix(f"{d.provider}/") if isinstance(base, str) and base else model
    return split_route(d.provider, name)[1].lower()


def _is_openais(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    return host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")
