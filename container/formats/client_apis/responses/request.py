"""Translates a request of the Responses API to a chat completion.

What only OpenAI keeps or shows (`include`, `truncation`, `store`, `metadata`) has no effect. Fields that change the
result are refused. https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Mapping
from typing import Any

from ....config.deployment import Deployment
from ...shared import reasoning
from ...shared.capabilities import capabilities
from ...shared.format import Malformed
from . import sealed
from .items import messages
from .tools import Tools, choice

Fields = Mapping[str, Any]

# Fields with the same name in chat.
_SAME = (
    "temperature", "top_p", "stream", "parallel_tool_calls", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options", "user",
)  # fmt: skip
# Hints and labels, which are dropped if a server refuses them.
OPTIONAL = (
    "reasoning_effort", "verbosity", "parallel_tool_calls", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options", "user",
)  # fmt: skip
_LOGPROBS = "message.output_text.logprobs"
_RESULTS_WITH_PARTS = ("anthropic", "gemini", "vertex_ai")


def chat(fields: Fields, d: Deployment, model: str, *, drop_params: bool) -> tuple[dict[str, Any], Tools]:
    """Translates the fields, except for the output limit. Raises Unsupported and Malformed."""
    made: dict[str, Any] = {name: fields[name] for name in _SAME if name in fields}
    made["messages"] = messages(
        fields.get("input"),
        fields.get("instructions"),
        sealed.family(d, model),
        parts_in_results=d.format in _RESULTS_WITH_PARTS,
    )
    if not made["messages"]:
        raise Malformed("input", "'input' is missing.")
    tools = Tools(fields.get("tools") or (), drop_params=drop_params)
    made.update(_tools(fields, tools))
    if not made.get("tools"):
        made.pop("parallel_tool_calls", None)
    asked = fields.get("reasoning")
    effort = asked.get("effort") if isinstance(asked, dict) else None
    if isinstance(effort, str):
        made.update(_effort(effort, d, model))
    text = fields.get("text")
    if isinstance(text, dict):
        made.update(_text(text))
    if _LOGPROBS in (fields.get("include") or ()) or fields.get("top_logprobs"):
        made["logprobs"] = True
        if fields.get("top_logprobs"):
            made["top_logprobs"] = fields["top_logprobs"]
    return made, tools


def _tools(fields: Fields, tools: Tools) -> dict[str, Any]:
    made: dict[str, Any] = {}
    chosen, offered = choice(fields.get("tool_choice"), tools.functions)
    if offered:
        made["tools"] = offered
        if chosen is not None:
            made["tool_choice"] = chosen
    return made


def _effort(level: str, d: Deployment, model: str) -> dict[str, Any]:
    """The reasoning effort, if the model can reason. Agents send one to every model."""
    known = capabilities(d, model).efforts
    if known == frozenset():
        return {}
    if known is None and d.format == "openai":
        # An unknown server may not accept other levels.
        return {} if level == "none" else {"reasoning_effort": reasoning.nearest(level, ("low", "medium", "high"))}
    return {"reasoning_effort": level}


def _text(text: Fields) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if text.get("verbosity"):
        made["verbosity"] = text["verbosity"]
    wanted = text.get("format")
    if not isinstance(wanted, dict):
        return made
    if wanted.get("type") == "json_schema":
        schema = {name: value for name, value in wanted.items() if name != "type" and value is not None}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif wanted.get("type") == "json_object":
        made["response_format"] = {"type": "json_object"}
    return made
