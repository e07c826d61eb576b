"""Adapts the labels, call ids and tool names of a Responses API request to the model's provider.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ....config.deployment import Deployment
from ...shared.capabilities import capabilities, gives_reasoning
from ...shared.tool_identifiers import fitted_item_ids, fitted_names
from .sealed import is_ours

# Higher than in chat completions.
_LONGEST_ID = 64
# Providers that accept OpenAI's labels. Others may refuse them.
_LABELLED = ("openai", "azure", "xai", "openrouter")
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
    """Adapts a request that is passed through."""
    dropped = frozenset() if d.provider in _LABELLED else _OPENAIS.intersection(fields)
    if d.provider not in _LABELLED and fields.get("top_logprobs") == 0:
        dropped |= {"top_logprobs"}
    can = capabilities(d, model)
    length = None if can.call_id_length is None else max(can.call_id_length, _LONGEST_ID)
    made: dict[str, Any] = {}
    items = fields.get("input")
    if isinstance(items, list):
        items = _without_reasoning(items, all=d.provider in _OF_OPENAI and not gives_reasoning(d, model))
        if items is not fields["input"]:
            made["input"] = items
    if isinstance(items, list):
        fit = fitted_item_ids(items, length, can.call_id_pattern)
        if fit is not items:
            made["input"] = fit
    changed, names = fitted_names({**fields, **made}, can.tool_name_length)
    if names:
        made.update({name: changed[name] for name in ("tools", "tool_choice", "input") if name in changed})
    return Fitted(made, names, dropped)


def _without_reasoning(items: list[Any], *, all: bool) -> list[Any]:
    """Removes the reasoning of models that were reached through chat, or `all` reasoning. Returns the same list if
    there is none.
    """
    kept = [item for item in items if not (_is_reasoning(item) and (all or is_ours(item.get("encrypted_content"))))]
    return items if len(kept) == len(items) else kept


def _is_reasoning(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning"
