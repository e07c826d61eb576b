"""A request of OpenAI's Responses API here, where no response is stored: what is stored would be readable by every key
that learns its id.

https://platform.openai.com/docs/guides/conversation-state
"""

from collections.abc import Mapping
from typing import Any

from worker.api.errors import invalid_request

_NOT_STORED = ("previous_response_id", "conversation", "background", "prompt")
ENCRYPTED_REASONING = "reasoning.encrypted_content"


def refuse_stored(fields: Mapping[str, Any]) -> None:
    """Raises ApiError 400 for a request that builds on something stored, naming the field."""
    for name in _NOT_STORED:
        if fields.get(name) not in (None, False):
            raise invalid_request(f"'{name}' is not served here: responses are not stored.", param=name)
    items = fields.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and _is_reference(item):
            raise invalid_request(
                f"'input[{index}]' refers to a stored item, and responses are not stored here: send the item itself, "
                "as it came in the response (with AI SDK: `store: false`).",
                param="input",
                code="item_reference_not_supported",
            )


def _is_reference(item: Mapping[str, Any]) -> bool:
    """Its `type` may be missing: then it has an `id` and nothing to say."""
    kind = item.get("type")
    if kind == "item_reference":
        return True
    return kind is None and "id" in item and not item.keys() - {"id", "type"}


def without_storage(fields: dict[str, Any]) -> dict[str, Any]:
    """The request as a provider that keeps nothing can answer it: with the reasoning in the answer, unless the client
    has asked for nothing to be stored itself, and without reasoning that is only the name of a stored item."""
    made = {**fields, "store": False}
    include = fields.get("include")
    if fields.get("store") is not False and (include is None or isinstance(include, list)):
        made["include"] = list(dict.fromkeys([*(include or ()), ENCRYPTED_REASONING]))
    items = fields.get("input")
    if isinstance(items, list) and any(map(_is_empty_reasoning, items)):
        made["input"] = [item for item in items if not _is_empty_reasoning(item)]
    return made


def _is_empty_reasoning(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("type") == "reasoning"
        and not item.get("encrypted_content")
        and str(item.get("id", "")).startswith("rs_")
    )
