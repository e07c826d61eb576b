"""What each model of each provider accepts: fields, roles, output limits, content, reasoning, ids, the Responses API.

The formats use this table to adapt a request before it is sent, so that nothing has to be learned from refusals. A
deployment's `model_info` overrides LiteLLM's data about a model, and the rest is maintained here.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import orjson

from worker.core.pricing.prices import LEAST_OF_RESPONSES

from ...config.deployment import Deployment, price_map, split_route
from ...request.completion import LABELS

MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"
EITHER = (MAX_TOKENS, MAX_COMPLETION_TOKENS)
Texts = Literal["parts", "joined", "only"]


class Capabilities(NamedTuple):
    """What one model of one provider accepts. Token and character limits are None if they are unknown or unlimited.

    fields            accepted fields of OpenAI's chat API. None: all
    own_fields        accepted fields beyond OpenAI's. None: all
    developer_role    whether the role exists; otherwise `system` replaces it
    limit_name        the field for the output limit
    limit_names       all accepted fields for the output limit
    max_output        the largest accepted output limit, in tokens
    min_output        the smallest accepted output limit, in tokens
    cache_markers     whether messages and tools may contain `cache_control`
    thoughts          what to do with the reasoning of earlier responses. `strip`: remove it; `keep`:
                      `reasoning_content` may stay; `require`: tool calls need `reasoning_content` beside them
    efforts           accepted levels of `reasoning_effort`. None: all; empty: the field is not accepted
    tool_name_length  the longest tool name, in characters
    call_id_length    the longest tool call id, in characters
    call_id_pattern   a regular expression that tool call ids must match in full. '': any id
    responses         when to use the provider's Responses API for chat. `with_tools`: only for requests with function
                      tools and reasoning
    accepted          all fields that may be sent, derived from `fields` and `own_fields`. None: all but `refused`
    refused           fields that must not be sent, where `accepted` is None
    renamed           the provider's names for fields of OpenAI's
    default_effort    the effort of a request that sets none
    effort_as         the field that controls reasoning. `toggle`: `reasoning` turns it off; `itself`: no field, the
                      model decides
    samples           whether `temperature` and related fields are accepted
    named_roles       roles whose messages may have a `name`. None: all
    empty_turns       whether an assistant message may be empty
    most_stops        the maximum number of `stop` strings
    texts             the form of message text. `parts`: a string or a list of parts; `joined`: a list with only
                      text parts is joined to a string; `only`: text only
    """

    fields: frozenset[str] | None = None
    own_fields: frozenset[str] | None = None
    developer_role: bool = False
    limit_name: str = MAX_TOKENS
    limit_names: tuple[str, ...] = (MAX_TOKENS,)
    max_output: int | None = None
    min_output: int = 1
    cache_markers: bool = False
    thoughts: Literal["strip", "keep", "require"] = "strip"
    efforts: frozenset[str] | None = None
    tool_name_length: int | None = 64
    call_id_length: int | None = None
    call_id_pattern: str = ""
    responses: Literal["never", "with_tools", "always"] = "never"
    accepted: frozenset[str] | None = None
    refused: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = {}
    default_effort: str | None = None
    effort_as: Literal["reasoning_effort", "thinking", "toggle", "itself"] = "reasoning_effort"
    samples: Literal["always", "unless_reasoning", "never"] = "always"
    named_roles: frozenset[str] | None = None
    empty_turns: bool = True
    most_stops: int | None = None
    texts: Texts = "parts"


# The fields that LiteLLM checks against a provider's supported parameters. Other non-OpenAI fields belong to the
# client.
VALIDATED = frozenset(
    "functions function_call temperature top_p n stop modalities prediction audio presence_penalty frequency_penalty "
    "logit_bias response_format seed tools tool_choice logprobs top_logprobs parallel_tool_calls reasoning_effort "
    "verbosity thinking web_search_options service_tier".split()
)
# Accepted by every provider.
_ALWAYS = frozenset(("messages", "model", "stream", *EITHER))
# Providers that ignore unknown fields.
_LENIENT = frozenset(
    "openrouter deepseek together_ai hosted_vllm ollama ollama_chat lm_studio custom_openai openai_like".split()
)

_MOST_REMEMBERED = 4096
_remembered: dict[tuple[str, str], tuple[Deployment, Capabilities]] = {}

# Names of OpenAI models, with or without the hyphen, as Azure deployments often drop it.
_GPT = re.compile(r"(?<![a-z0-9])gpt-?[5-9]")
_O_SERIES = re.compile(r"(?<![a-z0-9])o[1-9](?![a-z0-9])|o_series/")
# Other OpenAI model names. `gpt-oss` is excluded because many providers serve it.
_OPENAIS = re.compile(
    r"(?:ft:)?(?:(?:chat)?gpt-[34](?![0-9])|gpt-(?:audio|daybreak|rosalind)|(?:davinci|babbage)-002|codex-|computer-use)"
)
# Stand-ins for the fields of OpenAI models that LiteLLM does not list.
_TEMPLATES = {"gpt": "gpt-5", "chat": "gpt-4o", "o": "o3"}
_THREE = frozenset(("low", "medium", "high"))
_ROUTED = frozenset(("none", "minimal", "low", "medium", "high", "xhigh"))
_STRICT: frozenset[str] = frozenset()

# By the names in `DIRECT`. Sources: each provider's API reference, and LiteLLM's `llms/<provider>/chat`.
_PROVIDERS: dict[str, Capabilities] = {
    # https://platform.claude.com/docs/en/api/messages for the ids of `tool_use`
    "anthropic": Capabilities(
        developer_role=True,
        limit_names=EITHER,
        cache_markers=True,
        thoughts="keep",
        tool_name_length=128,
        call_id_pattern="[a-zA-Z0-9_-]+",
    ),
    "gemini": Capabilities(developer_role=True, limit_names=EITHER, cache_markers=True, thoughts="keep"),
    "vertex_ai": Capabilities(developer_role=True, limit_names=EITHER, cache_markers=True, thoughts="keep"),
    # https://openrouter.ai/docs/api-reference/parameters
    "openrouter": Capabilities(
        limit_names=EITHER,
        thoughts="keep",
        efforts=_ROUTED,
        # The strictest of the providers behind OpenRouter.
        call_id_length=40,
        call_id_pattern="[a-zA-Z0-9_-]+",
    ),
    # https://console.groq.com/docs/api-reference#chat-create
    "groq": Capabilities(
        texts="joined",
        limit_name=MAX_COMPLETION_TOKENS,
        limit_names=EITHER,
        efforts=_THREE,
        own_fields=frozenset(
            "user reasoning_format include_reasoning search_settings exclude_domains include_domains documents "
            "citation_options compound_custom disable_tool_validation".split()
        ),
        refused=frozenset(
            "audio modalities prediction prompt_cache_key prompt_cache_retention safety_identifier logit_bias logprobs "
            "top_logprobs verbosity".split()
        ),
        named_roles=frozenset(),
        most_stops=4,
    ),
    # https://docs.mistral.ai/api/endpoint/chat
    "mistral": Capabilities(
        texts="joined",
        call_id_length=9,
        call_id_pattern="[a-zA-Z0-9]{9}",
        renamed={"seed": "random_seed"},
        named_roles=frozenset(("tool",)),
        empty_turns=False,
        own_fields=frozenset("safe_prompt random_seed prompt_mode guardrails".split()),
    ),
    # https://api-docs.deepseek.com/guides/thinking_mode
    "deepseek": Capabilities(thoughts="require", effort_as="thinking", efforts=_THREE | {"none"}, texts="only"),
    # https://docs.together.ai/docs/reasoning
    "together_ai": Capabilities(
        thoughts="keep", tool_name_length=None, effort_as="toggle", efforts=_THREE | {"none"}, texts="joined"
    ),
    # https://docs.fireworks.ai/api-reference/post-chatcompletions
    "fireworks_ai": Capabilities(thoughts="keep", texts="joined"),
    # https://docs.x.ai/docs/api-reference#chat-completions
    "xai": Capabilities(thoughts="keep", named_roles=frozenset(("user",)), texts="joined"),
    "perplexity": Capabilities(texts="joined"),
    # https://inference-docs.cerebras.ai/api-reference/chat-completions
    "cerebras": Capabilities(
        texts="joined",
        limit_name=MAX_COMPLETION_TOKENS,
        limit_names=EITHER,
        own_fields=frozenset(
            "clear_thinking disable_reasoning reasoning_format min_tokens min_completion_tokens queue_threshold "
            "top_k".split()
        ),
    ),
    "nvidia_nim": Capabilities(thoughts="keep", tool_name_length=None, texts="joined"),
    "deepinfra": Capabilities(thoughts="keep", efforts=_THREE | {"none"}, texts="joined"),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    "hosted_vllm": Capabilities(thoughts="keep", efforts=_THREE | {"none"}, tool_name_length=None, texts="joined"),
    "ollama": Capabilities(thoughts="keep", efforts=_THREE | {"none"}, tool_name_length=None, texts="joined"),
    "ollama_chat": Capabilities(thoughts="keep", efforts=_THREE | {"none"}, tool_name_length=None, texts="joined"),
    "lm_studio": Capabilities(thoughts="keep", tool_name_length=None, texts="joined"),
    "custom_openai": Capabilities(thoughts="keep", tool_name_length=None),
    "openai_like": Capabilities(thoughts="keep", tool_name_length=None),
}
# OpenAI itself. https://platform.openai.com/docs/api-reference/chat/create
_OPENAI = Capabilities(
    own_fields=_STRICT,
    developer_role=True,
    limit_names=EITHER,
    call_id_length=40,
    call_id_pattern="[a-zA-Z0-9_-]+",
    most_stops=4,
)
_OPENAIS_LABELS = frozenset("user metadata store moderation prompt_cache_options".split())
# An unknown OpenAI-compatible server. Hardly any of them rejects what this allows.
_COMPATIBLE = Capabilities(cache_markers=True, thoughts="keep", tool_name_length=None)
# The engine. LiteLLM translates for the provider, so it receives everything.
_ENGINE = Capabilities(
    developer_role=True, limit_names=EITHER, cache_markers=True, thoughts="keep", tool_name_length=None
)


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


def capabilities(d: Deployment, model: str) -> Capabilities:
    """The capabilities of `model` at the deployment. `model` is the provider's name, with wildcards filled in."""
    key = (d.id, model)
    found = _remembered.get(key)
    if found is not None and found[0] is d:  # a different configuration may reuse the id
        return found[1]
    if len(_remembered) >= _MOST_REMEMBERED:  # with wildcards, clients choose the model names
        _remembered.clear()
    made = _sending(d, _of(d, split_route(d.provider, model)[1]))
    responses = served(d, model)
    if responses != "never":
        made = made._replace(responses=responses, min_output=LEAST_OF_RESPONSES)
    _remembered[key] = (d, made)
    return made


def _sending(d: Deployment, can: Capabilities) -> Capabilities:
    """Adds the fields that may be sent, derived from `fields` and `own_fields`."""
    if can.fields is None:
        return can
    if can.own_fields is not None:
        usage = {"stream_options"}
        known = can.fields.union(can.own_fields, _ALWAYS, can.renamed) - can.refused
        return can._replace(accepted=known | usage if d.asks_usage else known - usage)
    refused = VALIDATED - can.fields
    if not d.asks_usage:
        refused |= {"stream_options"}
    return can._replace(refused=refused | {"client_metadata"} | (LABELS - can.fields if not _lenient(d) else set()))


def _lenient(d: Deployment) -> bool:
    return d.provider in _LENIENT or d.provider == "openai"


def _of(d: Deployment, model: str) -> Capabilities:
    base = d.info.get("base_model")
    names = (f"{d.provider}/{model}", model, base) if d.wildcard else (base, f"{d.provider}/{model}", model)
    if d.provider == "openrouter":
        names = (*names, model.rpartition("/")[2])
    known = known_model(*names) or Known()
    own = read_entry(d.info)
    known = known._replace(
        max_output=own.max_output or known.max_output or usual_output(d.info),
        reasons=own.reasons or known.reasons,
        efforts={**known.efforts, **own.efforts},
        levels=own.levels or known.levels,
        default_effort=own.default_effort or known.default_effort,
    )
    if d.kind != "direct":
        return _ENGINE._replace(max_output=known.max_output)
    if d.provider in ("openai", "azure"):
        return _of_openai(d, model, known)
    can = _PROVIDERS.get(d.provider, _COMPATIBLE)._replace(max_output=known.max_output)
    claude = d.provider == "vertex_ai" and model.startswith("claude-")
    listed = "anthropic" if claude else _LISTED_AS.get(d.provider, d.provider)
    fields = listed_fields(listed, model) or frozenset()
    if own.reasons:
        fields |= {"reasoning_effort"}
    if d.provider == "xai" and any(name in model for name in _WITHOUT_PENALTIES):
        fields -= {"frequency_penalty", "presence_penalty"}
        if any(name in model for name in _WITHOUT_STOP):
            fields -= {"stop"}
    if d.provider == "mistral" and "magistral" in model:
        fields -= {"thinking", "reasoning_effort"}
        can = can._replace(effort_as="itself")
    if d.provider in ("ollama", "ollama_chat"):  # their OpenAI-compatible API, which LiteLLM does not use
        fields |= {"presence_penalty", "tool_choice"}
    can = can._replace(fields=fields, efforts=_efforts(d.provider, model, known, can.efforts, fields))
    if d.provider == "openrouter":
        can = can._replace(cache_markers=any(name in model.lower() for name in _MARKED_AT_OPENROUTER))
        if model.startswith("openai/"):  # OpenRouter calls OpenAI's Responses API
            can = can._replace(min_output=LEAST_OF_RESPONSES)
    elif claude:
        can = can._replace(call_id_pattern="[a-zA-Z0-9_-]+", tool_name_length=128)
    return _wanting_thoughts(can, model)


def _wanting_thoughts(can: Capabilities, model: str) -> Capabilities:
    """Requires reasoning for Kimi on any provider, and for DeepSeek on servers that keep it."""
    wants = can.thoughts == "keep" and any(name in model.lower() for name in _WANT_THOUGHTS)
    return can._replace(thoughts="require") if wants else can


# LiteLLM lists the fields of these providers under a different name.
_LISTED_AS = {"ollama": "ollama_chat", "vertex_ai": "gemini"}
# https://docs.x.ai/docs/models
_WITHOUT_STOP = ("grok-3-mini", "grok-4", "grok-code-fast")
_WITHOUT_PENALTIES = (*_WITHOUT_STOP, "grok-3")
# https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model, https://api-docs.deepseek.com/guides/thinking_mode
_WANT_THOUGHTS = ("kimi", "deepseek")
# https://openrouter.ai/docs/features/prompt-caching
_MARKED_AT_OPENROUTER = ("claude", "gemini", "minimax", "glm", "z-ai", "qwen")


def _efforts(
    provider: str, model: str, known: Known, usual: frozenset[str] | None, fields: frozenset[str] | None
) -> frozenset[str] | None:
    """The accepted levels of `reasoning_effort`."""
    if fields is not None and "reasoning_effort" not in fields:
        return frozenset()
    if known.levels is not None:
        return known.levels
    if provider == "groq" and "qwen" in model:
        return frozenset(("none", "default"))
    if provider == "together_ai" and "gpt-oss" in model:
        return _THREE
    if provider == "together_ai" and model.startswith("deepseek-ai/DeepSeek-V4-Pro"):
        return frozenset(("none", "high", "max"))
    if provider == "cerebras":
        return _THREE if "gpt-oss" in model else frozenset(("none",))
    return usual


def _of_openai(d: Deployment, model: str, known: Known) -> Capabilities:
    """Capabilities of OpenAI's models on any provider, and of OpenAI-compatible servers."""
    base = d.info.get("base_model")
    name = base if isinstance(base, str) and not d.wildcard else model
    family = _family(f"{d.route}/{name}")
    theirs = d.provider == "azure" or bool(family or _OPENAIS.match(name.lower())) or _is_openai(d.base)
    fields = listed_fields(d.provider, name.removeprefix(f"{d.provider}/"))
    if family and fields == listed_fields(d.provider, ""):
        fields = listed_fields(d.provider, _TEMPLATES[family])
    if theirs:
        fields = (fields or frozenset()) | _OPENAIS_LABELS
        if not family and known == Known():  # an Azure deployment may serve any model
            fields |= {"reasoning_effort", "verbosity"}
    can = (_OPENAI if theirs else _COMPATIBLE)._replace(fields=fields, max_output=known.max_output)
    if family:
        can = can._replace(limit_name=MAX_COMPLETION_TOKENS, limit_names=(MAX_COMPLETION_TOKENS,))
    if family == "o" and fields is not None:
        # https://learn.microsoft.com/azure/ai-foundry/openai/how-to/reasoning#not-supported
        can = can._replace(fields=fields - {"logit_bias", "stop"})
    if family in ("gpt", "o"):
        levels = _gpt_efforts(known) if family == "gpt" else _THREE
        can = can._replace(efforts=levels, min_output=LEAST_OF_RESPONSES, default_effort=known.default_effort)
        can = can._replace(samples="unless_reasoning" if "none" in levels else "never")
    elif theirs and known != Known():
        can = can._replace(efforts=frozenset())
    return can if theirs else _wanting_thoughts(can, model)


def _family(name: str) -> Literal["gpt", "o", "chat", ""]:
    """The family of a model name.

    `gpt` is GPT-5 or later with reasoning, `chat` is GPT-5 or later without, and `o` is the o series. '' means older or
    not OpenAI's.
    """
    name = name.lower()
    if _GPT.search(name):
        return "chat" if re.search(r"gpt-?[5-9][\d.]*-chat(?!-latest$)|gpt-?5-chat", name) else "gpt"
    return "o" if _O_SERIES.search(name) else ""


def _gpt_efforts(known: Known) -> frozenset[str]:
    """The levels from LiteLLM's map. Medium and high always exist, minimal and low unless denied, xhigh and none only
    if listed.
    """
    if known.levels is not None:
        return known.levels
    said = known.efforts
    levels = {"medium", "high"}
    levels |= {level for level in ("minimal", "low") if said.get(level, True)}
    return frozenset(levels | {level for level in ("none", "xhigh") if said.get(level)})


def _is_openai(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    return host == "openai.com" or host.endswith(".openai.com")


# LiteLLM's data about models.

_FIELDS_FILE = Path(__file__).with_name("litellm_fields.json")
_ANSWERS_IN_TEXT = ("chat", "completion", "responses", None)
_EFFORTS = ("none", "minimal", "low", "xhigh", "max")


def known_model(*names: Any) -> Known | None:
    """The entry for the first of the names that the map contains."""
    models = _known_models()
    return next((models[name] for name in names if isinstance(name, str) and name in models), None)


def read_entry(entry: Mapping[str, Any]) -> Known:
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


def listed_fields(provider: str, model: str) -> frozenset[str] | None:
    """The fields of OpenAI's chat API that LiteLLM sends to the model. None if only the engine knows the provider."""
    of_provider, sets = _listed_fields()
    found = of_provider.get(provider)
    return None if found is None else sets[found.get(model, found[""])]


@cache
def _known_models() -> Mapping[str, Known]:
    same: dict[Any, Known] = {}  # many models share the same limits and levels

    def shared(found: Known) -> Known:
        key = (*found[:2], tuple(found.efforts.items()), *found[3:])
        return same.setdefault(key, found)

    return {name: shared(read_entry(e)) for name, e in price_map().items() if e.get("mode") in _ANSWERS_IN_TEXT}


@cache
def _listed_fields() -> tuple[Mapping[str, Mapping[str, int]], tuple[frozenset[str], ...]]:
    data = orjson.loads(_FIELDS_FILE.read_bytes())
    return data["providers"], tuple(frozenset(names.split()) for names in data["sets"])


def _flag(level: str) -> str:
    return f"supports_{level}_reasoning_effort"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


# The Responses API.

Served = Literal["never", "with_tools", "always"]

# Azure deployments are often named after the model without its hyphen or dot.
_GPT_NAME = r"(?<![a-z0-9])gpt-?([5-9])(?:[.-]?(\d{1,2})(?!\d))?"
_ONLY_RESPONSES = re.compile(
    rf"(?<![a-z0-9])(?:codex-mini|computer-use|gpt-daybreak|o\d+-pro(?![a-z])|o\d+(?:-mini)?-deep-research)"
    rf"|{_GPT_NAME}-(?:codex|pro)(?![a-z])"
)
_XAI_ALWAYS = re.compile(r"grok-.*-multi-agent")
# From this version on, chat completions refuse function tools while the model reasons.
_GPT_VERSION = re.compile(rf"{_GPT_NAME}(?![a-z0-9])")
_FIRST_WITH_TOOLS = (5, 4)
# Models whose reasoning cannot be turned off.
_CANNOT_REST = re.compile(r"(?<![a-z0-9])gpt-6(?:-astra|\.1-sol)")
# Models that OpenAI does not stream.
_WHOLE = re.compile(r"(?<![a-z0-9])(?:o1-pro|gpt-5-pro)(?![a-z0-9.])")
_REASONS = re.compile(
    r"(?<![a-z0-9])(?:gpt-?[5-9](?!.*-(?:chat|search))|o[1-9]|codex|computer-use|gpt-daybreak)"
    r"|^grok-[4-9](?!.*non-reasoning)"
)


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
    if mode is None and _ONLY_RESPONSES.search(name):
        return "always"
    found = _GPT_VERSION.search(name)
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
        return by_default or d.provider == "azure" or _is_openai(d.base)
    return effort != "none" or _CANNOT_REST.search(model_name(d, model)) is not None


def gives_reasoning(d: Deployment, model: str) -> bool:
    """Whether the model is known to accept `include: ["reasoning.encrypted_content"]` in the Responses API."""
    if d.provider not in ("openai", "azure", "xai"):
        return False
    return bool(d.info.get("supports_reasoning")) or _REASONS.search(model_name(d, model)) is not None


def streams_responses(d: Deployment, model: str) -> bool:
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
