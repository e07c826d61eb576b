"""Reasoning: effort levels, the formats that responses use for it, and how it is returned to the provider."""

import re
from collections.abc import Collection, Mapping
from typing import Any

ORDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_BUDGETS = ((4096, "high"), (2048, "medium"), (1024, "low"))


def nearest(asked: str, known: Collection[str] | None) -> str | None:
    """The lowest level the model accepts that is at least `asked`, else its highest.

    `none` becomes the lowest level if reasoning cannot be turned off. Returns None if the model accepts no level. If
    `known` is None, the model accepts any.
    """
    if known is None or asked in known or asked not in ORDER:
        return asked
    ladder = [level for level in ORDER[1:] if level in known]
    if not ladder:
        return "default" if "default" in known else None
    if asked == "none":
        return ladder[0]
    rank = ORDER.index(asked)
    return next((level for level in ladder if ORDER.index(level) >= rank), ladder[-1])


def of_budget(tokens: Any) -> str:
    """The effort level that corresponds to a reasoning budget in tokens."""
    size = tokens if isinstance(tokens, int) else 0
    return next((level for least, level in _BUDGETS if size >= least), "minimal")


def of_thinking(thinking: Any, output_config: Any = None) -> str | None:
    """The effort level requested by Anthropic's `thinking` and `output_config.effort`, or None."""
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind == "disabled":
        return "none"
    effort = output_config.get("effort") if isinstance(output_config, Mapping) else None
    if effort in ORDER:
        return effort
    if kind == "enabled":
        return of_budget(thinking.get("budget_tokens"))
    return "medium" if kind == "adaptive" else None


_THINK = re.compile(r"\s*<(think|thinking|budget:thinking)>(.*?)</(?:think|thinking|budget:thinking)>(.*)", re.DOTALL)
BEFORE_A_TAG = frozenset("< \t\r\n")
_HOLDING = ("text", "thinking", "reasoning", "content", "summary")
_MOST_DEPTH = 6
_TAG = re.compile(r"\s*<(?:think|thinking|budget:thinking)>")


def mend_thoughts(said: dict[str, Any]) -> bool:
    """Moves reasoning to `reasoning_content`, in a message or delta, in place. Returns whether it changed."""
    changed = isinstance(said.get("content"), list | dict) and _take_parts(said)
    thought = said.get("reasoning_content")
    if isinstance(thought, list | dict):
        said["reasoning_content"] = _text_of(thought)
        changed = True
    if said.get("reasoning") is not None:
        thought = _text_of(said.pop("reasoning"))
        changed = True
        if thought and not said.get("reasoning_content"):
            said["reasoning_content"] = thought
    if said.get("reasoning_details") and not said.get("reasoning_content"):
        thought = _of_details(said["reasoning_details"])
        if thought:
            said["reasoning_content"] = thought
            changed = True
    return changed


def split_tagged(message: dict[str, Any]) -> bool:
    """Moves tagged reasoning out of the text of a complete response. Returns whether there was any."""
    content = message.get("content")
    if not isinstance(content, str) or content[:1] not in BEFORE_A_TAG or message.get("reasoning_content"):
        return False
    if not _TAG.match(content):
        return False
    found = _THINK.match(content)
    if found is None:
        return False
    message["reasoning_content"], message["content"] = found[2], found[3]
    return True


def _take_parts(said: dict[str, Any]) -> bool:
    """Splits a list of content parts into text and reasoning."""
    texts: list[str] = []
    thoughts: list[str] = []
    content = said["content"]
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"):
            thoughts.append(_text_of(part))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    said["content"] = "".join(texts) if texts else None
    if any(thoughts) and not said.get("reasoning_content"):
        said["reasoning_content"] = "".join(thoughts)
    return True


def _text_of(thinking: Any, depth: int = 0) -> str:
    """The text of reasoning given as a string, an object that contains it, or a list of these."""
    if depth > _MOST_DEPTH:
        return ""
    if isinstance(thinking, list):
        return "".join(_text_of(part, depth + 1) for part in thinking)
    if isinstance(thinking, dict):
        return next((found for name in _HOLDING if (found := _text_of(thinking.get(name), depth + 1))), "")
    return thinking if isinstance(thinking, str) else ""


def _of_details(details: Any) -> str:
    """The texts and summaries in OpenRouter's details, without encrypted ones.

    https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    listed = details if isinstance(details, list) else []
    found = (d.get("text") or d.get("summary") for d in listed if isinstance(d, dict))
    return "".join(text for text in found if isinstance(text, str))


_LEAST = " "


def fitted(messages: list[Any], *, required: bool) -> list[Any]:
    """Converts the reasoning in earlier messages to `reasoning_content`. If `required`, every message with tool calls
    gets one.

    Returns the same list if nothing changes. Not for Claude, whose reasoning is signed.
    """
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
    """The reasoning in an assistant message, in whichever field it is."""
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
