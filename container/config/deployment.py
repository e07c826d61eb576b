"""Parses one entry of `model_list` into a `Deployment`, and finds the price and the tokenizer of its model."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from worker.core.api.health import missing
from worker.core.ledger.accounts import Limits
from worker.core.pricing.estimate import CL100K, LARGEST, O200K

from . import option_values, providers
from .document import REFERENCE, Document, KeyPath, did_you_mean, references, resolved, slip
from .providers import (
    AZURE_DEFAULT_VERSION,
    AZURE_VERSION_VARIABLE,
    DIRECT,
    ENGINE_PROVIDERS,
    Parameters,
    Vertex,
    origin,
    provider_at,
    split_model,
)

# Output limits have many names. A reservation covers one limit, so exactly one limit is sent: the client's, or else the
# deployment's. If both were sent, a server could obey the wrong one (llama.cpp prefers `n_predict` to `max_tokens`).

# Output limit names of OpenAI, Gemini, Hugging Face, llama.cpp, Ollama, Cohere and Bedrock.
OUTPUT_LIMITS = frozenset(
    "max_tokens max_completion_tokens max_output_tokens max_new_tokens max_tokens_to_sample max_gen_len max_gen_toks "
    "max_generated_tokens n_predict num_predict maxTokens maxOutputTokens maxTokenCount".split()
)


def lowest_limit(fields: Mapping[str, Any], names: frozenset[str] = OUTPUT_LIMITS) -> int | None:
    """The lowest output limit among the fields, in tokens, or None. Values other than positive integers are ignored."""
    found = None
    for name in names.intersection(fields):
        limit = _limit(fields[name])
        if limit and (found is None or limit < found):
            found = limit
    return found


def lower_limits(fields: dict[str, Any], most: int) -> None:
    """Lowers every limit among the fields to `most`."""
    for name in OUTPUT_LIMITS.intersection(fields):
        if _limit(fields[name]) > most:
            fields[name] = most


def over_presets(presets: Mapping[str, Any], fields: Mapping[str, Any], name: str = "max_tokens") -> dict[str, Any]:
    """Merges a client's fields over a deployment's presets.

    A limit from the client replaces every preset limit. Otherwise the preset limit is sent as `name`.
    """
    merged = {**presets, **fields}
    preset = OUTPUT_LIMITS.intersection(presets)
    if preset:
        for other in preset - fields.keys():
            del merged[other]
        if lowest_limit(fields) is None:
            limit = lowest_limit(presets)
            if limit is not None:
                merged[name] = limit
    return merged


def _limit(value: Any) -> int:
    """The limit, or 0 if the value is not a positive integer."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


# LiteLLM prefixes some models with the way they are called: `azure/o_series/my-deployment`, `openai/responses/gpt-5`.
# The prefix is never part of the provider's name for the model. https://docs.litellm.ai/docs/providers/azure
_ROUTES = {
    "azure": frozenset(("responses", "o_series", "gpt5_series")),
    "openai": frozenset(("responses", "o_series", "gpt5_series", "chat_completions")),
}
_NO_ROUTES: frozenset[str] = frozenset()


def split_route(provider: str | None, model: str) -> tuple[str, str]:
    """Splits off the route prefix: `("o_series", "my-deployment")`. The route is '' if there is none."""
    head, slash, tail = model.partition("/")
    if not slash or not tail or head not in _ROUTES.get(provider or "", _NO_ROUTES):
        return "", model
    return head, tail


Kind = Literal["direct", "engine", "mock"]

# For these, an empty value counts as absent.
_MAY_BE_BLANK = frozenset(
    "api_key api_base base_url api_version organization custom_llm_provider extra_headers weight rpm tpm timeout "
    "stream_timeout max_parallel_requests max_retries num_retries order".split()
)

# litellm_params that the proxy itself handles, besides prices (`is_price`).
_OWN = frozenset(
    "model api_key api_base base_url api_version custom_llm_provider organization extra_headers weight rpm tpm timeout "
    "stream_timeout max_parallel_requests max_retries num_retries mock_response order use_chat_completions_api "
    "max_budget budget_duration".split()
)
# LiteLLM merges reasoning into the text of a stream as `<think>…</think>`. If true, the model goes through the engine.
_MERGED = "merge_reasoning_content_in_choices"
# litellm_params without effect, with the reason.
_IDLE = {
    "tags": "there is no tag-based routing",
    "tag_regex": "there is no tag-based routing",
    "use_in_pass_through": "there are no pass-through endpoints",
    _MERGED: "reasoning is returned as `reasoning_content`",
    "litellm_trace_id": "each request has its own ID",
    "keepalive_seconds": "use STREAM_KEEPALIVE",
    "allow_client_keepalive_override": "use STREAM_KEEPALIVE",
    "configurable_clientside_auth_params": "clients never choose where keys are sent",
    "model_info": "it belongs beside litellm_params",
    "default_api_key_tpm_limit": "set `tpm_limit` on keys",
    "default_api_key_rpm_limit": "set `rpm_limit` on keys",
    "max_file_size_mb": "MAX_BODY_MB limits the size of a request",
    "supports_system_message": "the wire format determines it",
    "cooldown_time": "use router_settings.cooldown_time",
}
# LiteLLM parameters that look like typos of ours.
_LITELLMS = frozenset({"itpm", "otpm"})
# A typo in one of these would send keys or prompts to the wrong place, or drop a limit.
_PROTECTIVE = (
    "api_key", "api_base", "base_url", "api_version", "organization", "custom_llm_provider", "max_tokens",
    "max_completion_tokens", "max_parallel_requests", "extra_headers", "mock_response", "input_cost_per_token",
    "output_cost_per_token", "vertex_project", "vertex_location", "vertex_credentials",
)  # fmt: skip
# Request fields that the config may preset for a deployment. The client's values take precedence.
_PRESETS = frozenset(
    "temperature top_p n stop max_tokens max_completion_tokens presence_penalty frequency_penalty logit_bias "
    "logprobs top_logprobs seed user response_format tools tool_choice parallel_tool_calls reasoning_effort "
    "service_tier extra_body dimensions encoding_format store verbosity modalities top_k min_p repetition_penalty "
    "keep_alive provider transforms thinking output_config cache_control context_management".split()
).union(OUTPUT_LIMITS)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A provider's model and how to call it.

    `id` is unique and stable across restarts. `group` is the public model name, and `model` is the provider's name for
    the model. `needs` lists the environment variables that the deployment requires (see `core.api.health`), and `off`
    the missing ones; with any missing, the deployment is off. Times are in seconds; None means that the setting of the
    group or the router applies.

    `format` is the wire format of direct calls. `route` is LiteLLM's prefix of the model name, or ''. Deployments with
    the lowest `order` are tried first. `budget` is what may be spent at it. `vertex` contains the settings for Vertex
    AI. `params` are the litellm_params as written, with secrets still as references. `presets` are request fields set
    unless the client sets them.
    """

    id: str
    group: str
    provider: str
    model: str
    kind: Kind
    needs: tuple[str, ...]
    off: tuple[str, ...]
    base: str = ""
    api_key: str | None = field(default=None, repr=False)
    api_version: str = ""
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    asks_usage: bool = True
    format: str = "openai"
    vertex: Vertex | None = None
    route: str = ""
    weight: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    timeout: float | None = None
    stream_timeout: float | None = None
    max_parallel_requests: int | None = None
    num_retries: int | None = None
    order: int | None = None
    budget: Limits | None = None
    mock_response: str | None = None
    presets: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wildcard(self) -> bool:
        return "*" in self.group


def parse(
    document: Document,
    path: KeyPath,
    entry: Any,
    environment: Mapping[str, str],
    engine_reason: str | None,
    written: Mapping[str, str] | None = None,
) -> Deployment | None:
    """Parses the entry at `path`, or reports problems and returns None.

    `engine_reason` is the setting that sends all groups through the engine. `written` are the variables that the file
    sets, as in `variables.Variables`.
    """
    named = _named(document, path, entry)
    if named is None:
        return None
    group, params, info = named
    at = (*path, "litellm_params")
    custom = params.get("custom_llm_provider")
    if custom is not None and custom not in (*DIRECT, *ENGINE_PROVIDERS):
        message = f"{custom!r} does not name a known provider; the model is left out."
        document.report("warning", (*at, "custom_llm_provider"), message, "For example: `openai`.")
        return None
    params = read_prices(document, at, params, environment)
    info = None if params is None else read_prices(document, (*path, "model_info"), info, environment)
    if params is None or info is None:
        return None
    read = Parameters(document, at, params, environment)
    name = read.text("model")
    mock = params.get("mock_response")
    provider, model = split_model(name, ENGINE_PROVIDERS, custom) if name else ("*", params["model"])
    if provider is None and mock is None and name:
        home = read.text("api_base") or read.text("base_url")
        provider = "*" if name == "*" else provider_at(home) or provider_of(name)
        if provider is None:
            message = f"'{name}' does not name a known provider; the model is left out."
            document.report("warning", (*at, "model"), message, "Write `provider/model`, for example `openai/gpt-4o`.")
            return None
    route, model = split_route(provider, model)
    direct = DIRECT.get(provider or "")
    own = _OWN if provider != "vertex_ai" else (_OWN | providers.VERTEX_PARAMETERS) - {"api_key"}
    foreign = sorted(n for n in params.keys() - own - _PRESETS - _IDLE.keys() if not is_price(n))
    if str(read.value(_MERGED)).lower() == "true":
        foreign.append(_MERGED)
    if direct and mock is None and not _explain(document, at, foreign, own | _PRESETS):
        return None
    for idle in sorted((params.keys() & _IDLE.keys()) - set(foreign)) if direct else ():
        document.report("note", (*at, idle), f"does nothing here: {_IDLE[idle]}.")
    read.refuse_odd_references()
    ours = direct and not foreign and not engine_reason and ("*" in model or direct.takes(model))
    kind: Kind = "mock" if mock is not None else "direct" if ours else "engine"
    base, key, needs = "", None, references(params)
    at_vertex: Vertex | None = None
    if kind == "direct" and provider == "vertex_ai":
        at_vertex, base, more = providers.parse_vertex(read)
        needs += more
    elif kind == "direct" and direct:
        base, key, more = providers.called_directly(read, provider or "", direct)
        needs += more
        if direct.model_prefix and "/" not in model and "*" not in model:
            model = direct.model_prefix + model
    elif kind == "engine":
        needs += providers.engine_needs(provider or "", params, direct)
        if direct and direct.embeds(model) and not foreign and not engine_reason:
            base, key, _ = providers.called_directly(read, provider or "", direct)
    needs = _outside(needs, written or {})
    found = Deployment(
        id=str(info.get("id") or _identity(group, params, path)),
        group=group,
        provider=provider or "mock",
        model=model,
        kind=kind,
        needs=tuple(needs),
        off=tuple(missing(needs, lambda name: bool(environment.get(name)))),
        base=base,
        api_key=key,
        api_version=read.text("api_version") or environment.get(AZURE_VERSION_VARIABLE) or AZURE_DEFAULT_VERSION,
        extra_headers=_headers(read, params),
        asks_usage=direct.asks_usage if direct else True,
        format=direct.format if direct else "openai",
        vertex=at_vertex,
        route=route,
        weight=read.number("weight"),
        rpm=read.whole("rpm"),
        tpm=read.whole("tpm"),
        timeout=read.number("timeout"),
        stream_timeout=read.number("stream_timeout"),
        max_parallel_requests=read.whole("max_parallel_requests"),
        num_retries=read.whole("max_retries" if "max_retries" in params else "num_retries"),
        order=read.whole("order"),
        budget=_budget(document, at, params, environment),
        mock_response=None if mock is None else str(mock),
        presets={**{k: read.value(k) for k in params if k in _PRESETS and k != "extra_body"}, **_extra_body(read)},
        params=params,
        info=info,
    )
    return None if read.left_out else found


def _named(document: Document, path: KeyPath, entry: Any) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    """The group, the litellm_params and the model_info, without empty values."""
    if not isinstance(entry, dict):
        document.error(path, "has to be a mapping.", "Give it `model_name` and `litellm_params`.")
        return None
    group, written, info = entry.get("model_name"), entry.get("litellm_params"), entry.get("model_info") or {}
    known = {"model_name", "litellm_params", "model_info"}
    for name in sorted(entry.keys() - known):
        mend = did_you_mean(name, known)
        if name in _OWN | _PRESETS or is_price(name):
            mend = "It belongs in litellm_params."
        document.report("warning", (*path, name), "is not a setting of a model, and does nothing.", mend)
    # YAML parses `off`, `no`, `yes` and numeric names as booleans and numbers
    if isinstance(group, bool | int | float):
        document.error((*path, "model_name"), f"is no text: YAML reads it as {group}.", "Put the name in quotes.")
        return None
    if not isinstance(group, str) or not group.strip():
        document.error((*path, "model_name"), "is missing.", "Set it to the model name that clients use.")
        return None
    if group.startswith(REFERENCE):
        message = f"{group[len(REFERENCE) :]} is not set; the model is left out."
        document.report("warning", (*path, "model_name"), message, "Set it, or write the name in the file.")
        return None
    if not isinstance(written, dict) or not isinstance(written.get("model"), str) or not written["model"]:
        document.error((*path, "litellm_params", "model"), "is missing.", "For example: `model: openai/gpt-4o`.")
        return None
    if not isinstance(info, dict):
        document.error((*path, "model_info"), "has to be a mapping.")
        return None
    params = {
        name: value
        for name, value in written.items()
        if value is not None and (value != "" or name not in _MAY_BE_BLANK)
    }
    return group, params, info


def _outside(needs: list[str], written: Mapping[str, str]) -> list[str]:
    """The variables that must come from outside the file.

    Drops variables that the file sets to a literal value, and replaces variables that the file sets to a reference with
    the variable referred to.
    """
    found: dict[str, None] = {}
    for need in needs:
        names = need.split("|")
        if any(written.get(name) == "" for name in names):
            continue
        found["|".join(dict.fromkeys(written.get(name, name) for name in names))] = None
    return list(found)


def _explain(document: Document, at: KeyPath, foreign: list[str], known: frozenset[str]) -> bool:
    """Reports why unknown parameters send the model through the engine.

    Returns False for a typo in a protective setting, which LiteLLM would ignore and then call the wrong server.
    """
    for name in foreign:
        meant = slip(name, _PROTECTIVE, 0.85)
        if meant and name not in _LITELLMS:
            document.error((*at, name), "is not known.", f"Did you mean `{meant}`?")
            return False
        hint = None if name in _LITELLMS else slip(name, known, 0.85)
        mend = f"Did you mean `{hint}`?" if hint else ""
        message = "is LiteLLM's to know, so the model goes through the engine."
        document.report("warning" if hint else "note", (*at, name), message, mend)
    return True


def _headers(read: Parameters, params: dict) -> dict[str, str]:
    headers = params.get("extra_headers") or {}
    if not isinstance(headers, dict):
        read.leave_out("extra_headers", "has to be a mapping of names to values")
        return {}
    resolved: dict[str, str] = {}
    for name, value in headers.items():
        text = str(value)
        if value is None:
            continue
        if text.startswith(REFERENCE):
            text = read.environment.get(text[len(REFERENCE) :], "")
        if any(c in text + name for c in "\r\n\0"):
            read.leave_out(("extra_headers", name), "contains a line break")
            continue
        resolved[name.lower()] = text
    organization = read.text("organization")
    if organization:
        resolved["openai-organization"] = organization
    return resolved


def _budget(document: Document, at: KeyPath, params: dict, environment: Mapping[str, str]) -> Limits | None:
    """https://docs.litellm.ai/docs/proxy/provider_budget_routing"""
    values = {name: resolved(params.get(name), environment) for name in ("max_budget", "budget_duration")}
    most = option_values.budget(document, (*at, "max_budget"), values["max_budget"])
    duration = option_values.duration(document, (*at, "budget_duration"), values["budget_duration"])
    if most is None and duration is not None:
        document.report("warning", (*at, "budget_duration"), "has no effect without max_budget.")
    return None if most is None else Limits(max_budget=most, duration=duration)


def _extra_body(read: Parameters) -> dict[str, Any]:
    extra = read.params.get("extra_body") or {}
    if not isinstance(extra, dict):
        read.leave_out("extra_body", "has to be a mapping")
        return {}
    return extra


def _identity(group: str, params: dict, path: KeyPath) -> str:
    """A stable id for the deployment, which is the same after each restart and contains no secrets."""
    # Without its budget: with another id, a deployment whose budget is raised would begin anew.
    shown = {
        k: v
        for k, v in params.items()
        if k not in ("max_budget", "budget_duration") and (k != "api_key" or str(v).startswith(REFERENCE))
    }
    digest = hashlib.sha256(repr((group, sorted(shown.items(), key=str), path)).encode()).hexdigest()
    return digest[:16]


# The price and the tokenizer of a deployment's model, from `model_info` or else from LiteLLM's price map.


def price_entry(d: Deployment, prices: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """All data about the deployment's model: the price map entry, overridden by the config."""
    found: Mapping[str, Any] = {}
    for name in (d.info.get("base_model"), f"{d.provider}/{d.model}", d.model):
        if isinstance(name, str) and name in prices:
            found = prices[name]
            break
    own = {k: v for k, v in d.params.items() if is_price(k)}
    return {**found, **own, **d.info}


def blended(deployments: Iterable[Deployment]) -> dict[str, float]:
    """Input plus output price per token in USD, by deployment id. Deployments without a price are omitted."""
    prices, result = price_map(), {}
    for d in deployments:
        known = price_entry(d, prices)
        ins, outs = known.get("input_cost_per_token"), known.get("output_cost_per_token")
        if isinstance(ins, (int, float)) and isinstance(outs, (int, float)):
            result[d.id] = float(ins) + float(outs)
    return result


# Providers that use OpenAI's model names. Other providers are trusted if the model name starts with `openai/`.
_OPENAI = frozenset(("openai", "azure", "azure_ai", "azure_text", "text-completion-openai"))
# As in `tiktoken.model`. Models that tiktoken does not know yet (gpt-6) are unknown here too.
_NAMES = (
    (O200K, re.compile(r"(gpt-(4o|4\.1|4\.5|5(\.\d+)?)|chatgpt-4o|o1|o3|o4-mini)(?=[-:]|$)")),
    (CL100K, re.compile(r"gpt-(4|3\.5|35)(?=[-:]|$)|text-embedding-(ada-002|3-small|3-large)$")),
)
# Open weights, served under this name by many providers.
_OPEN = re.compile(r"gpt-oss\b")


def tokenizer(d: Deployment, model: str) -> str:
    """The tokenizer of a model, as a name in `core.pricing.estimate.WEIGHTS`. Unknown models get the largest.

    `model` is the provider's name for the model, with wildcards filled in. `base_model` in `model_info` takes
    precedence.
    """
    base = d.info.get("base_model")
    path, _, name = (base if isinstance(base, str) else f"{d.provider}/{model}").rpartition("/")
    vendors = frozenset(path.split("/"))
    name = name.removeprefix("openai.")
    if _OPEN.match(name):
        return O200K
    if not (vendors & _OPENAI or not path) or (not isinstance(base, str) and _has_other_address(d)):
        return LARGEST
    name = name.removeprefix("ft:")
    return next((known for known, names in _NAMES if names.match(name)), LARGEST)


def _has_other_address(d: Deployment) -> bool:
    """Whether the config sets an address other than OpenAI's, where `gpt-4` may be any model."""
    address = d.params.get("api_base") or d.params.get("base_url")
    return d.provider == "openai" and bool(address) and origin(str(address)) != origin(DIRECT["openai"].base)


# Prices and limits: as `litellm_params` and `model_info` have them, and in LiteLLM's price map.

# `input_cost_per_token`, `cache_read_input_token_cost_above_200k_tokens`, `cost_per_second`, …
# (`litellm.types.utils.CustomPricingLiteLLMParams`)
_PRICE = re.compile(r"(?:^|_)cost(?:_|$)|^output_vector_size$|^tiered_pricing$|^regional_.*_multiplier(?:_|$)")
_LIMIT = re.compile(r"max_(?:input_|output_|image_)?tokens|max_tokens_per_\w+")


def is_price(name: str) -> bool:
    """Whether the litellm_params name is a price."""
    return _PRICE.search(name) is not None


def read_prices(
    document: Document, path: KeyPath, values: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Any] | None:
    """Converts the prices and limits in `values` to numbers.

    Returns None and reports a problem if one is not a number. The model is then left out, as in LiteLLM, because its
    cost would be unknown.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, str) or not (is_price(name) or (path[-1] == "model_info" and _LIMIT.fullmatch(name))):
            found[name] = value
            continue
        text = environment.get(value[len(REFERENCE) :], "") if value.startswith(REFERENCE) else value
        if not text and value.startswith(REFERENCE):  # an unset variable turns the deployment off
            found[name] = value
            continue
        number = _number(text)
        if number is None:
            message = f"is no number: {value!r}; the model is left out."
            document.report("warning", (*path, name), message, "For example: 0.000003 or 3.0e-6.")
            return None
        found[name] = number
    return found


def _number(text: str) -> int | float | None:
    try:
        number = float(text.strip())
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and number > 1 else number


# A copy of LiteLLM's, written by dev/litellm_prices.py. LiteLLM itself may not be installed.
MAP_FILE = Path(__file__).with_name("litellm_prices.json")


def price_map() -> Mapping[str, Mapping[str, Any]]:
    """LiteLLM's map of model names to prices and limits. It takes several megabytes, so do not keep it."""
    return orjson.loads(MAP_FILE.read_bytes())


def provider_of(model: str) -> str | None:
    """The engine provider of a model name without a provider prefix, from the price map. `amazon.titan-embed-text-v1`
    belongs to Bedrock.
    """
    found = price_map().get(model, {}).get("litellm_provider")
    if not isinstance(found, str):
        return None
    named = (found, found.partition("-")[0], found.removesuffix("_converse"))
    return next((name for name in named if name in ENGINE_PROVIDERS), None)
