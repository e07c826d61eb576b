"""Deterministic responses: an echo of the prompt, token counts, and tool calls and embeddings derived from it."""

import hashlib
import itertools
import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from . import script
from .behaviour import Behaviour

TOKENS_PER_MESSAGE = 4
EMPTY_PROMPT_ANSWER = "Hello!"
BEFORE_CALL = "I will call a tool."
AFTER_CALL = "The tool said: "


class Tool(NamedTuple):
    name: str
    schema: dict[str, Any]


class Turn(NamedTuple):
    """The parts of a request that determine the response, in any wire format. `choice` is "auto", "none", "any" or a
    tool's name. `schema` is the JSON schema that the response must fit."""

    texts: Sequence[str]  # of every message, including the system's
    last: str  # the text that is echoed
    from_user: bool  # False if `last` is the result of a tool
    tools: Sequence[Tool]
    choice: str
    max_tokens: int | None
    schema: Mapping[str, Any] | None = None


class ToolCall(NamedTuple):
    name: str
    arguments: dict[str, Any]


class Reply(NamedTuple):
    text: str
    call: ToolCall | None
    finish: Literal["stop", "length", "tool"]
    prompt_tokens: int
    completion_tokens: int
    usage_details: tuple[int, int] | None = None


def count_tokens(text: str) -> int:
    """One token per four bytes of UTF-8, rounded up."""
    return -(-len(text.encode()) // 4)


def reply_to(turn: Turn, behaviour: Behaviour) -> Reply:
    prompt_tokens = sum(map(count_tokens, turn.texts)) + TOKENS_PER_MESSAGE * len(turn.texts)
    call = _scripted_call(turn) if behaviour.scripted else _tool_call(turn)
    if call is not None:
        text, finish = BEFORE_CALL if behaviour.scripted else "", "tool"
        completion_tokens = count_tokens(call.name) + count_tokens(json.dumps(call.arguments))
    else:
        text, finish = behaviour.text if behaviour.text is not None else turn.last or EMPTY_PROMPT_ANSWER, "stop"
        if behaviour.scripted and turn.schema is not None:
            text = json.dumps(script.example(turn.schema))
        elif behaviour.scripted:
            text = script.spoken(text) if turn.from_user else AFTER_CALL + text
        completion_tokens = count_tokens(text)
        if turn.max_tokens is not None and completion_tokens > turn.max_tokens:
            text, finish = text.encode()[: 4 * turn.max_tokens].decode(errors="ignore"), "length"
            completion_tokens = turn.max_tokens
    if behaviour.usage is not None:
        prompt_tokens, completion_tokens = behaviour.usage
    return Reply(text, call, finish, prompt_tokens, completion_tokens, behaviour.usage_details)


def _tool_call(turn: Turn) -> ToolCall | None:
    if not turn.tools or turn.choice == "none":
        return None
    if turn.choice == "auto" and not (turn.from_user and turn.last.lower().startswith("call")):
        return None
    tool = next((t for t in turn.tools if t.name == turn.choice), turn.tools[0])
    return ToolCall(tool.name, _arguments(tool.schema, turn.last))


def _scripted_call(turn: Turn) -> ToolCall | None:
    if not turn.tools or turn.choice == "none":
        return None
    told = script.called(turn.last, (tool.name for tool in turn.tools)) if turn.from_user else None
    if told is not None:
        return ToolCall(*told)
    if turn.choice == "auto":
        return None
    tool = next((t for t in turn.tools if t.name == turn.choice), turn.tools[0])
    return ToolCall(tool.name, script.example(tool.schema))


def _arguments(schema: dict[str, Any], text: str) -> dict[str, Any]:
    by_type = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}, "null": None}
    properties = schema.get("properties") or {}
    # Gemini writes its types in capitals.
    return {
        name: (spec.get("enum") or [by_type.get(str(spec.get("type", "")).lower(), text)])[0]
        for name, spec in properties.items()
    }


def pieces(text: str, count: int) -> list[str]:
    """Splits `text` into `count` parts of about equal length, or fewer if it has fewer characters."""
    count = max(1, min(count, len(text)))
    edges = [len(text) * i // count for i in range(count + 1)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def embedding(text: str, dimensions: int) -> list[float]:
    """A unit vector that is the same for the same text and representable in 32 bits."""
    stream = hashlib.shake_128(text.encode()).digest(2 * dimensions)
    raw = [value - 32767.5 for (value,) in struct.iter_unpack("<H", stream)]
    norm = math.sqrt(sum(x * x for x in raw))
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(x / norm for x in raw))))


def text_of(content: Any) -> str:
    """The text of a message's `content`: a string, or parts, of which those with `text` count."""
    if isinstance(content, str):
        return content
    if isinstance(content, Iterable):
        return "".join(p.get("text") or "" for p in content if isinstance(p, dict))
    return ""
