"""Translates a chat request to Gemini's format. https://ai.google.dev/api/generate-content#request-body"""

from collections.abc import Callable, Mapping
from typing import Any

from ..shared.fit import missed
from ..shared.format import Unsupported
from . import models
from .messages import turns
from .models import Traits
from .tools import choice, tools

# Fields that move to `generationConfig` unchanged, under OpenAI's and Google's names.
_GENERATION = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
    "thinkingConfig": "thinkingConfig",
    "mediaResolution": "mediaResolution",
}
_PENALTIES = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}
# Top-level fields, under LiteLLM's and Google's names.
_BESIDE = {
    "safety_settings": "safetySettings",
    "safetySettings": "safetySettings",
    "cached_content": "cachedContent",
    "cachedContent": "cachedContent",
}
# Labels, and features that every provider has by default. The response does not depend on these.
_IGNORED = frozenset(
    "model messages max_tokens stream stream_options user metadata store safety_identifier "
    "prompt_cache_key prompt_cache_retention parallel_tool_calls tools functions web_search_options".split()
)


def body(fields: Mapping[str, Any], traits: Traits, *, drop_params: bool) -> dict[str, Any]:
    """Builds the request body.

    `fields` contain at most one output limit, `max_tokens`. Raises Unsupported for fields that Gemini does not have,
    unless `drop_params` permits dropping them.
    """
    said = turns(fields["messages"], traits)
    result: dict[str, Any] = {"contents": said.contents}
    if said.system:
        result["systemInstruction"] = {"parts": said.system}
    generation: dict[str, Any] = {}
    if said.resolution and traits.name.startswith("gemini-2"):
        generation["mediaResolution"] = f"MEDIA_RESOLUTION_{said.resolution}"
    for name, value in fields.items():
        if name in _IGNORED or value is None:
            continue
        if name in _GENERATION:
            generation[_GENERATION[name]] = value
        elif name in _BESIDE:
            result[_BESIDE[name]] = value
        else:
            mapping = _MAPPED.get(name)
            if mapping and mapping(value, traits, generation, result):
                continue
            if not drop_params and (mapping or missed(name, value)):
                raise Unsupported(name, f"This model does not support '{name}'.")
    if fields.get("max_tokens") is not None:
        generation["maxOutputTokens"] = fields["max_tokens"]
    declared = _declared(fields)
    if declared:
        result["tools"] = declared
    else:
        result.pop("toolConfig", None)
    if generation:
        result["generationConfig"] = generation
    return result


def _declared(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    # The legacy field contains only functions, never Google's own tools.
    functions = [{"type": "function", "function": function} for function in fields.get("functions") or ()]
    listed = fields.get("tools") or functions
    return tools(listed, web_search=isinstance(fields.get("web_search_options"), dict))


_Result = dict[str, Any]
# Writes the value of a field to the result. Returns whether that was possible.
_Mapping = Callable[[Any, Traits, _Result, _Result], bool]


def _stop(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    generation["stopSequences"] = [value] if isinstance(value, str) else value
    return True


def _format(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    """Translates `response_format`. Gemini accepts JSON Schema unchanged, including references.

    https://ai.google.dev/gemini-api/docs/structured-output
    """
    kind = value.get("type")
    if kind == "text":
        generation["responseMimeType"] = "text/plain"
        return True
    if kind not in ("json_object", "json_schema"):
        return False
    generation["responseMimeType"] = "application/json"
    described = value.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else value.get("response_schema")
    if isinstance(schema, dict) and schema:
        generation["responseJsonSchema"] = schema
    return True


def _penalty(name: str) -> _Mapping:
    def put(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
        if traits.penalties:
            generation[_PENALTIES[name]] = value
        return traits.penalties or value == 0

    return put


def _effort(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    found = models.from_effort(value.get("effort") if isinstance(value, dict) else value, traits)
    if found:
        generation["thinkingConfig"] = found
    return found is not None


def _thinking(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    if not isinstance(value, dict):
        return False
    generation["thinkingConfig"] = models.from_anthropic(value, traits)
    return True


def _choice(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    result["toolConfig"] = choice(value)
    return True


def _tier(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    """Omits `auto`, the SDKs' default. `priority` costs more and is only sent if requested."""
    if value != "auto":
        result["serviceTier"] = "standard" if value == "default" else value
    return True


def _labels(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    if traits.vertex:
        result["labels"] = value
    return traits.vertex


def _modalities(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    return value == ["text"]


_MAPPED: dict[str, _Mapping] = {
    "stop": _stop,
    "response_format": _format,
    **{name: _penalty(name) for name in _PENALTIES},
    "reasoning_effort": _effort,
    "thinking": _thinking,
    "tool_choice": _choice,
    "service_tier": _tier,
    "labels": _labels,
    "modalities": _modalities,
}
