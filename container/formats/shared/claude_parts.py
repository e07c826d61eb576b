"""Removes the parts of a conversation that only Claude understands, for any other model.

Anthropic's own tools create them, and clients send them for the rest of the conversation. Parts that a model would
miss, such as images and documents, are kept.
"""

from collections.abc import Iterable, Mapping
from typing import Any

_ONLY_CLAUDES = frozenset(
    "tool_reference server_tool_use container_upload compaction redacted_thinking mcp_tool_use "
    "search_result_location web_search_tool_result web_fetch_tool_result".split()
)
_OF_RESULTS = "_tool_result"
LEFT_OUT = "[left out: {kind}]"


def is_foreign(kind: Any) -> bool:
    """Whether only Claude understands a part or block of this type."""
    return isinstance(kind, str) and (kind in _ONLY_CLAUDES or kind.endswith(_OF_RESULTS))


def without(messages: list[Any]) -> list[Any]:
    """Removes the parts that only Claude understands. Returns the same list if there are none.

    A message with no other parts is replaced with a summary, because a conversation must not lose a turn.
    """
    made: list[Any] | None = None
    for at, message in enumerate(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(content, list):
            continue
        kept = [part for part in content if not (isinstance(part, dict) and is_foreign(part.get("type")))]
        if len(kept) == len(content):
            continue
        if not kept and not message.get("tool_calls"):
            kept = [{"type": "text", "text": summary(content)}]
        made = list(messages) if made is None else made
        made[at] = {**message, "content": kept or None}
    return messages if made is None else made


def summary(blocks: Iterable[Any]) -> str:
    """One line about the removed blocks: the tools found, a summary of the conversation, or the block types."""
    found = [block for block in blocks if isinstance(block, dict)]
    summaries = [b["content"] for b in found if b.get("type") == "compaction" and isinstance(b.get("content"), str)]
    if summaries:
        return "\n".join(summaries)
    tools = [str(b["tool_name"]) for b in found if b.get("type") == "tool_reference" and b.get("tool_name")]
    if tools:
        return f"Tools found: {', '.join(tools)}"
    return LEFT_OUT.format(kind=", ".join(dict.fromkeys(str(b.get("type")) for b in found)))
