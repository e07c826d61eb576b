"""A request of OpenAI's Responses API with the ids of calls and the names of tools as the model's provider takes them.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..config import Deployment
from . import call_ids, tool_names
from .capabilities import capabilities

# Longer than in chat completions.
_LONGEST_ID = 64
_SIGNED = ("gemini", "vertex_ai", "vertex_ai_beta")


class Fitted(NamedTuple):
    """`fields`: those that had to change; `names`: the client's names of tools, by those that go out."""

    fields: Mapping[str, Any] = {}
    names: Mapping[str, str] = {}


def fitted(d: Deployment, model: str, fields: Mapping[str, Any]) -> Fitted:
    """Gemini gets everything as it is: LiteLLM reads the signatures in its ids."""
    if d.provider in _SIGNED:
        return Fitted()
    can = capabilities(d, model)
    length = None if can.call_id_length is None else max(can.call_id_length, _LONGEST_ID)
    made: dict[str, Any] = {}
    items = fields.get("input")
    if isinstance(items, list):
        fit = call_ids.fitted_items(items, length, can.call_id_pattern)
        if fit is not items:
            made["input"] = fit
    changed, names = tool_names.fitted({**fields, **made}, can.tool_name_length)
    if names:
        made.update({name: changed[name] for name in ("tools", "tool_choice", "input") if name in changed})
    return Fitted(made, names)
