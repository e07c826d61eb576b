"""The parts of a message in Anthropic's words: texts, pictures, documents, tool calls and their results."""

import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ..format import Malformed, Unsupported

Block = dict[str, Any]

# Anthropic refuses empty texts, which OpenAI's clients send without a thought. The words are LiteLLM's.
EMPTY = "[System: Empty message content sanitised to satisfy protocol]"

_DATA = re.compile(r"data:([^;,]+)(?:;[^;,]*)*?;base64,(.*)", re.DOTALL)
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_PARTS = "messages"


def text(value: Any) -> Block:
    """Never empty."""
    if not isinstance(value, str):
        raise Malformed(_PARTS, "A text part of a message holds no text.")
    return {"type": "text", "text": value if value.strip() else EMPTY}


def part(value: Mapping[str, Any]) -> Block:
    """A part of a user's message. Raises Unsupported for what Claude cannot read."""
    kind = value.get("type")
    if kind == "text":
        block = text(value.get("text"))
    elif kind == "image_url":
        block = _picture(value.get("image_url"))
    elif kind == "file":
        block = _file(value.get("file"))
    elif kind == "document":  # Anthropic's own
        return dict(value)
    else:
        raise Unsupported(_PARTS, f"Claude takes no message parts of the type '{kind}'.")
    return cached(block, value)


def cached(block: Block, source: Mapping[str, Any]) -> Block:
    """The block with the cache marker of what it was made from."""
    marker = source.get("cache_control")
    if isinstance(marker, dict):
        block["cache_control"] = marker
    return block


def _picture(value: Any) -> Block:
    given = value if isinstance(value, dict) else {"url": value}
    url = given.get("url")
    if not isinstance(url, str):
        raise Malformed(_PARTS, "An 'image_url' holds no URL.")
    if url.startswith("https://"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, data = _data(url, "A picture")
    if kind == "application/pdf" or kind.startswith("text/"):
        return _document(kind, data)
    return {"type": "image", "source": {"type": "base64", "media_type": given.get("format") or kind, "data": data}}


def _file(value: Any) -> Block:
    given = value if isinstance(value, dict) else {}
    data, identity = given.get("file_data"), given.get("file_id")
    if isinstance(data, str) and data:
        kind, encoded = _data(data, "A file")
        return _document(given.get("format") or kind, encoded)
    if isinstance(identity, str) and identity.startswith("https://"):
        return {"type": "document", "source": {"type": "url", "url": identity}}
    # What is stored with the provider belongs to the gateway's account, not to the client.
    raise Unsupported(_PARTS, "A file has to come as 'file_data', or as an https URL in 'file_id'.")


def _document(kind: str, data: str) -> Block:
    if not kind.startswith("text/"):
        return {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}
    try:
        plain = b64decode(data, validate=True).decode()
    except (BinasciiError, ValueError):
        raise Malformed(_PARTS, "A text file is not base64 of UTF-8.") from None
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": plain}}


def _data(url: str, what: str) -> tuple[str, str]:
    found = _DATA.fullmatch(url)
    if found is None:
        raise Unsupported(_PARTS, f"{what} has to be an https URL or a 'data:' URL in base64.")
    return found[1], found[2]


def result(message: Mapping[str, Any]) -> Block:
    """The result of a call, from a message with the role `tool`."""
    content = message.get("content")
    answer: Any = "" if content is None else content
    if isinstance(content, list):
        # An empty text is fit to be a result.
        answer = [
            cached({"type": "text", "text": str(p.get("text") or "")}, p) if p.get("type") == "text" else part(p)
            for p in content
        ]
    call = message.get("tool_call_id")
    if not isinstance(call, str):
        raise Malformed(_PARTS, "A message with the role 'tool' has no 'tool_call_id'.")
    return cached({"type": "tool_result", "tool_use_id": identifier(call), "content": answer}, message)


def calls(message: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Block]:
    """The calls of an assistant's message. `names`: what tools are called at Anthropic, where that differs."""
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str):
            raise Malformed(_PARTS, "A tool call needs an 'id' and a 'function'.")
        name = function.get("name")
        block = {"type": "tool_use", "id": identifier(call["id"]), "name": names.get(str(name), name)}
        yield cached({**block, "input": arguments(function.get("arguments"))}, call)


def identifier(given: str) -> str:
    """An id of a call as Anthropic takes them."""
    return _NOT_IN_IDS.sub("_", given) or "tool_use_id"


def arguments(given: Any) -> Any:
    """The arguments of a call; those of an answer that was cut off are completed as far as can be."""
    if not given or not isinstance(given, str) or not given.strip():
        return {}
    try:
        return orjson.loads(given)
    except orjson.JSONDecodeError:
        try:
            return orjson.loads(given + _missing(given))
        except orjson.JSONDecodeError:
            raise Malformed(_PARTS, "The 'arguments' of a tool call are not valid JSON.") from None


def _missing(given: str) -> str:
    """The quotes and brackets that close what is open."""
    waiting: list[str] = []
    quoted = escaped = False
    for c in given:
        if escaped:
            escaped = False
        elif quoted and c == "\\":
            escaped = True
        elif c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c in "{[":
            waiting.append("}" if c == "{" else "]")
        elif c in "}]" and waiting:
            waiting.pop()
    return '"' * quoted + "".join(reversed(waiting))
