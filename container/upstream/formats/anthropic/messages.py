"""A conversation in Anthropic's words: the system prompt apart, turns of user and assistant one after the other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..format import Malformed
from . import content
from .content import Block, cached

Message = Mapping[str, Any]

# Before a system message that a model takes for the user's words. LiteLLM's wording.
OPERATOR_NOTE = (
    "Operator note (not from the user): the following was originally a mid-conversation system-role reminder."
)
_SYSTEM = ("system", "developer")
_USER = ("user", "tool")


def conversation(
    messages: Sequence[Message], names: Mapping[str, str], *, system_turns: bool
) -> tuple[list[Block], list[Block]]:
    """The system prompt's blocks and the turns. `names`: of tools, where Anthropic's differ; `system_turns`: whether
    the model takes system messages within the conversation. Raises Unsupported and Malformed.

    Only the system messages at the beginning become the system prompt: others stay where they are, so that what the
    provider has cached of the conversation stays valid.
    """
    start = next((i for i, m in enumerate(messages) if m["role"] not in _SYSTEM), len(messages))
    system = [block for m in messages[:start] for block in _texts(m)]
    placed = _within(messages[start:]) if system_turns else _as_user(messages[start:])
    return system, _turns(placed, names)


def _texts(message: Message) -> list[Block]:
    """The texts of a system message that are not empty."""
    said = message.get("content")
    if isinstance(said, str):
        return [cached({"type": "text", "text": said}, message)] if said else []
    return [
        cached({"type": "text", "text": p["text"]}, p)
        for p in said or ()
        if p.get("type") == "text" and isinstance(p.get("text"), str) and p["text"]
    ]


def _as_user(messages: Sequence[Message]) -> Iterator[Message]:
    """System messages as the user's, with a note. Between a call and its result none may stand: it comes after that."""
    late: list[Message] = []
    for i, message in enumerate(messages):
        role = message["role"]
        if role in _SYSTEM:
            follower = next((m["role"] for m in messages[i + 1 :] if m["role"] not in _SYSTEM), None)
            note = _noted(message)
            if follower == "tool":
                late += note
            else:
                yield from note
            continue
        if late and role != "tool":
            yield from late
            late = []
        yield message
    yield from late


def _noted(message: Message) -> list[Message]:
    said = _texts(message)
    return [{"role": "user", "content": [{"type": "text", "text": OPERATOR_NOTE}, *said]}] if said else []


def _within(messages: Sequence[Message]) -> Iterator[Message]:
    """System messages where Anthropic takes them: behind a turn of the user's that the assistant's or nothing follows.
    One behind an assistant's turn goes behind the user's turn that follows; without one it becomes the user's."""
    waiting: list[Message] = []
    previous = ""
    for i, message in enumerate(messages):
        role = message["role"]
        if role in _SYSTEM:
            following = next((m["role"] for m in messages[i + 1 :] if m["role"] not in _SYSTEM), None)
            if previous in _USER or following in _USER:
                waiting.append(message)
            else:
                yield from _noted(message)
            continue
        if waiting and role not in _USER and previous in _USER:
            yield from _one_system(waiting)
            waiting = []
        yield message
        previous = role
    yield from _one_system(waiting)


def _one_system(messages: Sequence[Message]) -> Iterator[Message]:
    said = [block for m in messages for block in _texts(m)]
    if said:
        yield {"role": "system", "content": said}


def _turns(messages: Iterable[Message], names: Mapping[str, str]) -> list[Block]:
    """Messages of the same side, one after the other, are one turn."""
    turns: list[Block] = []
    side, blocks, seen = "", [], set()
    for message in messages:
        role = message["role"]
        now = "user" if role in _USER else role
        if now != side or now == "system":
            side, blocks, seen = now, [], set()
            turns.append({"role": side, "content": blocks})
        if role == "user":
            blocks += _user(message)
        elif role == "tool":
            blocks.append(content.result(message))
        elif role == "assistant":
            blocks += _assistant(message, names, seen)
        elif role == "system":
            blocks += message["content"]
        else:
            raise Malformed("messages", f"There is no role '{role}' for Claude's messages.")
    turns = [turn for turn in turns if turn["content"]]
    if not turns:
        raise Malformed("messages", "Claude needs at least one message that is not the system's.")
    if turns[-1]["role"] == "assistant":
        # Anthropic refuses an answer to go on with that ends in white space.
        for block in turns[-1]["content"]:
            if block["type"] == "text":
                block["text"] = block["text"].rstrip()
    return turns


def _user(message: Message) -> list[Block]:
    said = message.get("content")
    if isinstance(said, str):
        return [cached(content.text(said), message)]
    return [content.part(p) for p in said or ()]


def _assistant(message: Message, names: Mapping[str, str], seen: set[str]) -> list[Block]:
    """`seen`: the ids of the turn's calls so far; a call that is repeated is left out."""
    said = message.get("content")
    called = [c for c in content.calls(message, names) if c["id"] not in seen and not seen.add(c["id"])]
    blocks: list[Block] = []
    parts = said if isinstance(said, list) else ()
    if not any(p.get("type") in ("thinking", "redacted_thinking") for p in parts):
        blocks += _signed(message.get("thinking_blocks") or ())
    if isinstance(said, str) and (said.strip() or not called):
        # Beside a call an empty text says nothing, and is no text of the model's.
        blocks.append(cached(content.text(said), message))
    for p in parts:
        kind = p.get("type") or ""
        if kind == "text":
            if p.get("text") or not called:
                blocks.append(cached(content.text(p.get("text")), p))
        elif kind in ("thinking", "redacted_thinking"):
            blocks += _signed((p,))
        elif kind == "refusal":
            blocks.append(content.text(p.get("refusal")))
        elif kind == "server_tool_use" or kind.endswith("_tool_result"):
            blocks.append(dict(p))
    return blocks + called


def _signed(blocks: Iterable[Any]) -> list[Block]:
    """What the model thought. Anthropic verifies the signatures, so a thought without one cannot be shown to it."""
    return [
        dict(b)
        for b in blocks
        if isinstance(b, dict)
        and (b.get("type") == "redacted_thinking" or (b.get("type") == "thinking" and b.get("signature")))
    ]
