"""What a Responses request refers to instead of containing it: the previous response, and stored items.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from collections.abc import Mapping
from typing import Any

# Items of other types may have content that only the provider has, such as the results of its own tools.
_SELF_CONTAINED = frozenset(
    "message function_call function_call_output custom_tool_call custom_tool_call_output local_shell_call "
    "local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output "
    "computer_call_output mcp_approval_response compaction compaction_summary".split()
)


def is_reference(item: Mapping[str, Any]) -> bool:
    """Whether an item is only a reference. Without a `type`, that is an item with an `id` and no content."""
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "id" in item and not item.keys() - {"id", "type"})


def is_complete(item: Mapping[str, Any]) -> bool:
    """Whether everything that the model reads is in the item itself, so that its id does not matter."""
    kind = item.get("type")
    if kind == "reasoning":
        return bool(item.get("encrypted_content"))
    return (kind is None or kind in _SELF_CONTAINED) and not is_reference(item)


def refers(body: Mapping[str, Any]) -> bool:
    """Whether only the proxy can tell how large the prompt is."""
    if body.get("previous_response_id") is not None:
        return True
    items = body.get("input")
    return isinstance(items, list) and any(
        isinstance(item, dict) and "id" in item and not is_complete(item) for item in items
    )
