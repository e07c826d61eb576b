"""Adapts the labels, call ids and tool names of a Responses API request to the model's provider.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...config.deployment import Deployment
from . import call_ids, tool_names
from .capabilities import capabilities
from .known_models import gives_reasoning

# Higher than in chat completions.
_LONGEST_ID = 64
_SIGNED = ("gemini", "vertex_ai", "vertex_ai_beta")


# Providers with a native Responses API. For others LiteLLM translates to chat, and refuses OpenAI's labels.
_NATIVE = ("openai", "azure", "xai", "openrouter")
_OPENAIS = frozenset("prompt_cache_key prompt_cache_retention prompt_cache_options safety_identifier".split())


# For non-reasoning models, these refuse the reasoning of other models.
_OF_OPENAI = ("openai", "azure")


class Fitted(NamedTuple):
    """The result of adapting a request.

    `fields` are the changed fields. `names` maps the tool names sent to the client's names. `dropped` are fields that
    the provider does not know and that do not affect the response.
    """

    fields: Mapping[str, Any] = {}
    names: Mapping[str, str] = {}
    dropped: frozenset[str] = frozenset()


def fitted(d: Deployment, model: str, fields: Mapping[str, Any]) -> Fitted:
    """Adapts a Responses API request. Gemini's input stays as it is: LiteLLM reads the signatures in its ids."""
    dropped = frozenset() if d.provider in _NATIVE else _OPENAIS.intersection(fields)
    if d.provider not in _NATIVE and fields.get("top_logprobs") == 0:
        dropped |= {"top_logprobs"}
    if d.provider in _SIGNED:
        return Fitted(dropped=dropped)
    can = capabilities(d, model)
    length = None if can.call_id_length is None else max(can.call_id_length, _LONGEST_ID)
    made: dict[str, Any] = {}
    items = fields.get("input")
    if isinstance(items, list) and d.provider in _OF_OPENAI and not gives_reasoning(d, model):
        items = _without_reasoning(items)
        if items is not fields["input"]:
            made["input"] = items
    if isinstance(items, list):
        fit = call_ids.fitted_items(items, length, can.call_id_pattern)
        if fit is not items:
            made["input"] = fit
    changed, names = tool_names.fitted({**fields, **made}, can.tool_name_length)
    if names:
        made.update({name: changed[name] for name in ("tools", "tool_choice", "input") if name in changed})
    return Fitted(made, names, dropped)


def _without_reasoning(items: list[Any]) -> list[Any]:
    """Removes reasoning items. Returns the same list if there are none."""
    kept = [item for item in items if not (isinstance(item, dict) and item.get("type") == "reasoning")]
    return items if len(kept) == len(items) else kept
