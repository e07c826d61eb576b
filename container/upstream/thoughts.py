"""A model's thoughts in one shape, `reasoning_content`, whatever a server calls them.

`reasoning` (vLLM, Groq, OpenRouter, Ollama), `reasoning_details` (OpenRouter), a `content` of parts (Mistral), and in a
whole answer `<think>…</think>` before the text: as LiteLLM reads them.
"""

import re
from typing import Any

_THINK = re.compile(r"\s*<(think|thinking|budget:thinking)>(.*?)</(?:think|thinking|budget:thinking)>(.*)", re.DOTALL)
BEFORE_A_TAG = frozenset("< \t\r\n")
_HOLDING = ("text", "thinking", "reasoning", "content", "summary")
_MOST_DEPTH = 6
_TAG = re.compile(r"\s*<(?:think|thinking|budget:thinking)>")


def mend_thoughts(said: dict[str, Any]) -> bool:
    """`said`: a message or a delta, changed in place. Whether it was changed."""
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
    """Takes tagged thoughts out of the text of a whole answer. Whether there were any."""
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
    """Of content that is a list: its text, and what was thought."""
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
    """The text of a thought: itself, an object that holds it, or a list of such."""
    if depth > _MOST_DEPTH:
        return ""
    if isinstance(thinking, list):
        return "".join(_text_of(part, depth + 1) for part in thinking)
    if isinstance(thinking, dict):
        return next((found for name in _HOLDING if (found := _text_of(thinking.get(name), depth + 1))), "")
    return thinking if isinstance(thinking, str) else ""


def _of_details(details: Any) -> str:
    """https://openrouter.ai/docs/use-cases/reasoning-tokens: texts and summaries; what is encrypted says nothing."""
    listed = details if isinstance(details, list) else []
    found = (d.get("text") or d.get("summary") for d in listed if isinstance(d, dict))
    return "".join(text for text in found if isinstance(text, str))
