"""What an earlier answer thought, given back to the providers that want it.

DeepSeek's and Kimi's thinking models refuse a call without the thought that led to it ("Missing `reasoning_content`
field in the assistant message"). Clients keep thoughts in other shapes, or lose them; then a space stands in, as with
LiteLLM, which is the least that is taken.
https://api-docs.deepseek.com/guides/thinking_mode#tool-calls
"""

from collections.abc import Mapping
from typing import Any

_LEAST = " "


def fitted(messages: list[Any], *, required: bool) -> list[Any]:
    """The messages of a chat, with `reasoning_content` for every shape of a thought, and beside every call where it is
    `required`. The list itself where nothing has to change. Not for Claude, whose thoughts are signed."""
    made: list[Any] | None = None
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") != "assistant":
            continue
        lacks = not message.get("reasoning_content")
        blocks = message.get("thinking_blocks")
        if not blocks and not (lacks and (required or message.get("reasoning"))):
            continue
        thought = message.get("reasoning_content") or told(message)
        if not thought and required and message.get("tool_calls"):
            thought = _LEAST
        if not thought and not blocks:
            continue
        changed = {name: value for name, value in message.items() if name != "thinking_blocks"}
        if thought:
            changed["reasoning_content"] = thought
        made = list(messages) if made is None else made
        made[at] = changed
    return messages if made is None else made


def told(message: Mapping[str, Any]) -> str:
    """The thought of an assistant's message, whatever it is called there."""
    if isinstance(message.get("reasoning"), str) and message["reasoning"]:
        return message["reasoning"]
    of_provider = message.get("provider_specific_fields")
    stored = of_provider.get("reasoning_content") if isinstance(of_provider, dict) else None
    if isinstance(stored, str) and stored:
        return stored
    return of_blocks(message.get("thinking_blocks"))


def of_blocks(blocks: Any) -> str:
    """The text of Anthropic's `thinking` blocks."""
    found = blocks if isinstance(blocks, list | tuple) else ()
    return "".join(
        block["thinking"]
        for block in found
        if isinstance(block, dict) and block.get("type") == "thinking" and isinstance(block.get("thinking"), str)
    )
