"""The messages of a chat as the input items of OpenAI's Responses API.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ..format import Malformed, Unsupported

Item = dict[str, Any]

# Parts that are the Responses API's own; they go on as they are.
_ITS_OWN = frozenset(("input_text", "input_image", "input_file", "output_text", "refusal"))
_SAYS = frozenset(("user", "system", "developer"))


def items(messages: Iterable[Mapping[str, Any]]) -> tuple[str | None, list[Item]]:
    """The instructions and the input. Raises Malformed, Unsupported, and AttributeError, KeyError or TypeError for
    values that no message has."""
    messages = list(messages)
    instructions: list[str] = []
    for message in messages:
        text = _plain_text(message.get("content")) if message.get("role") == "system" else None
        if text is None:
            break
        instructions.append(text)
    made: list[Item] = []
    rest = messages[len(instructions) :]
    if not rest:  # the API refuses an empty input
        made = [_said("system", text) for text in instructions]
        instructions = []
    custom = _custom_calls(rest)
    for message in rest:
        made += _items(message, custom)
    return "\n\n".join(filter(None, instructions)) or None, made


def _items(message: Mapping[str, Any], custom: frozenset[str]) -> list[Item]:
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        id = message["tool_call_id"]
        kind = "custom_tool_call_output" if id in custom else "function_call_output"
        return [{"type": kind, "call_id": id, "output": _output(content)}]
    if role == "assistant":
        return _assistant(message)
    if role not in _SAYS:
        raise Unsupported("messages", f"Messages with the role '{role}' cannot be sent to this model.")
    return [] if content is None else [_said(str(role), content)]


def _assistant(message: Mapping[str, Any]) -> list[Item]:
    made = _reasoning(message)
    parts = _parts(message.get("content"), "output_text")
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    calls = message.get("tool_calls") or ()
    if parts and not (calls and message.get("content") == ""):
        made.append({"type": "message", "role": "assistant", "content": parts})
    return made + [_call(call) for call in calls]


def _reasoning(message: Mapping[str, Any]) -> list[Item]:
    """What an earlier answer thought, as this API gave it. Without its content an item would be looked for among
    stored ones, and nothing is stored."""
    return [
        {
            "type": "reasoning",
            **({"id": item["id"]} if item.get("id") else {}),
            "summary": item.get("summary") or [],
            "encrypted_content": item["encrypted_content"],
        }
        for item in message.get("reasoning_items") or ()
        if isinstance(item, dict) and item.get("encrypted_content")
    ]


def _call(call: Mapping[str, Any]) -> Item:
    custom = call.get("custom")
    if isinstance(custom, dict):
        return {"type": "custom_tool_call", "call_id": call["id"], "name": custom["name"], "input": custom["input"]}
    function = call["function"]
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments or {}).decode()
    return {"type": "function_call", "call_id": call["id"], "name": function["name"], "arguments": arguments}


def _custom_calls(messages: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The ids of calls of custom tools, whose results are items of another type."""
    calls = (call for message in messages for call in message.get("tool_calls") or ())
    return frozenset(str(call.get("id")) for call in calls if isinstance(call.get("custom"), dict))


def _said(role: str, content: Any) -> Item:
    return {"type": "message", "role": role, "content": _parts(content, "input_text")}


def _output(content: Any) -> str | list[Item]:
    """A tool's result: a text, or parts where it holds pictures or files."""
    if content is None or isinstance(content, str):
        return content or ""
    text = _plain_text(content)
    return _parts(content, "input_text") if text is None else text


def _plain_text(content: Any) -> str | None:
    """The text of content that is nothing else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or any(part.get("type") != "text" for part in content):
        return None
    return "\n".join(str(part.get("text") or "") for part in content)


def _parts(content: Any, text_type: str) -> list[Item]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": text_type, "text": content}]
    return [_part(part, text_type) for part in content]


def _part(part: Mapping[str, Any], text_type: str) -> Item:
    kind = part.get("type")
    if kind == "text":
        return {"type": text_type, "text": str(part.get("text") or "")}
    if kind == "image_url":
        return _image(part.get("image_url"))
    if kind == "file":
        file = part["file"]
        return {"type": "input_file", **{n: file[n] for n in ("file_id", "file_data", "filename") if file.get(n)}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    if kind in _ITS_OWN:
        return {name: value for name, value in part.items() if name != "cache_control"}
    raise Unsupported("messages", f"Parts of the type '{kind}' cannot be sent to this model.")


def _image(given: Any) -> Item:
    image = given if isinstance(given, dict) else {"url": given}
    if not isinstance(image.get("url"), str):
        raise Malformed("messages", "An 'image_url' has no 'url'.")
    return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail") or "auto"}
