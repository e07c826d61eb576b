"""Translates a request of Gemini's API to a chat completion, for other models.

Hints for Google (safety settings, labels, media resolution) are dropped, and so are sampling fields that the model does
not take. Other fields that change the result are refused.
https://ai.google.dev/api/generate-content#request-body
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ....config.deployment import Deployment
from ...anthropic.models import traits
from ...shared import reasoning
from ...shared.capabilities import capabilities
from ...shared.format import Malformed, Unsupported
from .contents import messages
from .schema import json_schema

Fields = Mapping[str, Any]

# Fields of `generationConfig` with the same meaning in a chat.
_SAME = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
}
_READ = frozenset(
    "stopSequences maxOutputTokens candidateCount logprobs responseMimeType responseSchema responseJsonSchema "
    "responseModalities thinkingConfig".split()
)
SAMPLING = ("temperature", "top_p", "top_k")
# Fields that matter to Google's models only.
_HINTS = frozenset(
    "mediaResolution speechConfig audioTimestamp enableEnhancedCivicAnswers routingConfig modelSelectionConfig "
    "enableAffectiveDialog".split()
)
_TIERS = {"standard": "default", "SERVICE_TIER_STANDARD": "default", "flex": "flex", "priority": "priority"}
_JSON = "application/json"
_TEXT = "text/plain"
_MODES = {"AUTO": "auto", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}
_LEVELS = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}


def chat(body: Fields, d: Deployment, model: str, *, drop_params: bool) -> dict[str, Any]:
    """Translates the fields. Raises Unsupported and Malformed."""
    generation: Fields = body.get("generationConfig") or {}
    made: dict[str, Any] = {"messages": messages(body["contents"], body.get("systemInstruction"), lenient=drop_params)}
    for name, value in generation.items():
        if name in _SAME:
            made[_SAME[name]] = value
        elif name not in _READ and name not in _HINTS and not drop_params:
            raise Unsupported(name, f"'{name}' needs a Gemini model.")
    if generation.get("stopSequences"):
        made["stop"] = generation["stopSequences"]
    if generation.get("maxOutputTokens"):
        made["max_tokens"] = generation["maxOutputTokens"]
    if (generation.get("candidateCount") or 1) > 1:
        made["n"] = generation["candidateCount"]
    if generation.get("logprobs") and made.get("logprobs"):
        made["top_logprobs"] = generation["logprobs"]
    if not drop_params and any(str(m).upper() != "TEXT" for m in generation.get("responseModalities") or ()):
        raise Unsupported("responseModalities", "This model answers with text only.")
    made.update(_format(generation, drop_params))
    made.update(_tools(body, drop_params))
    made.update(_thinking(generation.get("thinkingConfig"), d, model))
    for name in _refused(made, d, model):
        made.pop(name, None)
    tier = body.get("serviceTier")
    if tier is not None:
        made["service_tier"] = _TIERS.get(tier, tier)
    return made


def _refused(made: Fields, d: Deployment, model: str) -> Iterable[str]:
    """The sampling fields that the model does not take. Gemini's clients send Google's usual values to every model, so
    they are hints.
    """
    if d.format == "anthropic" or "claude" in model:
        if not traits(model).sampling:
            return SAMPLING
        return ("top_p",) if "temperature" in made else ()  # newer models refuse both together
    can = capabilities(d, model)
    refused = [name for name in SAMPLING if name in can.refused or name not in (can.accepted or SAMPLING)]
    if can.samples == "never" or (can.samples == "unless_reasoning" and made.get("reasoning_effort") != "none"):
        refused += ["temperature", "top_p"]
    return [*refused, "top_k"] if d.provider in ("openai", "azure") else refused


def _format(generation: Fields, drop_params: bool) -> dict[str, Any]:
    kind = generation.get("responseMimeType") or ""
    schema = generation.get("responseJsonSchema")
    if schema is None and generation.get("responseSchema"):
        schema = json_schema(generation["responseSchema"], "generationConfig.responseSchema")
    if kind == _JSON or (not kind and schema):
        if not schema:
            return {"response_format": {"type": "json_object"}}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}
    if kind not in ("", _TEXT) and not drop_params:
        raise Unsupported("responseMimeType", f"This model cannot answer with '{kind[:100]}'.")
    return {}


def _tools(body: Fields, drop_params: bool) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in body.get("tools") or ():
        for name in tool:
            if name != "functionDeclarations" and not drop_params:
                raise Unsupported("tools", f"The tool '{name[:100]}' needs a Gemini model.")
        tools += [_function(function) for function in tool.get("functionDeclarations") or ()]
    config: Fields = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode, allowed = (config.get("mode") or "").upper(), config.get("allowedFunctionNames")
    if mode == "ANY" and allowed:
        tools = [tool for tool in tools if tool["function"]["name"] in allowed]
        if not tools:
            raise Malformed("toolConfig", "None of the 'allowedFunctionNames' is the name of a function.")
    if not tools:
        return {}
    if not mode:
        return {"tools": tools}
    if mode in _MODES:
        return {"tools": tools, "tool_choice": _MODES[mode]}
    if mode != "ANY":
        raise Malformed("toolConfig.functionCallingConfig.mode", "The 'mode' has to be AUTO, ANY, NONE or VALIDATED.")
    if allowed and len(tools) == 1:
        return {"tools": tools, "tool_choice": {"type": "function", "function": {"name": tools[0]["function"]["name"]}}}
    return {"tools": tools, "tool_choice": "required"}


def _function(declared: Fields) -> dict[str, Any]:
    if not declared.get("name"):
        raise Malformed("tools", "A function declaration has no 'name'.")
    parameters = declared.get("parametersJsonSchema")
    if parameters is None:
        parameters = json_schema(declared.get("parameters") or {}, "tools")
    function = {"name": declared["name"], "parameters": parameters or {"type": "object", "properties": {}}}
    if declared.get("description"):
        function["description"] = declared["description"]
    return {"type": "function", "function": function}


def _thinking(config: Fields | None, d: Deployment, model: str) -> dict[str, Any]:
    """An effort, if the model can reason. Gemini's clients send the configuration to every model."""
    level = _level(config or {})
    known = capabilities(d, model).efforts
    if level is None or known == frozenset():
        return {}
    if known is None and d.format == "openai":
        # An unknown server may not accept other levels.
        return {} if level == "none" else {"reasoning_effort": reasoning.nearest(level, ("low", "medium", "high"))}
    return {"reasoning_effort": level}


def _level(config: Fields) -> str | None:
    """The effort that corresponds to a level or a budget of tokens. A budget of -1 leaves it to the model."""
    level = _LEVELS.get((config.get("thinkingLevel") or "").upper())
    if level is not None:
        return level
    budget = config.get("thinkingBudget")
    if budget is not None and budget >= 0:
        return reasoning.of_budget(budget) if budget else "none"
    return "medium" if budget is not None or config.get("includeThoughts") else None
