"""Translates chat completion requests that have the Responses API's `input` instead of `messages`, as Cursor's do."""

from collections.abc import Iterable, Mapping
from typing import Any

from worker.core.api.errors import ApiError, invalid_request

Item = Mapping[str, Any]

TEXTS = frozenset(("input_text", "output_text", "text", "summary_text", "reasoning_text"))
_LIMIT, _CHAT_LIMIT = "max_output_tokens", "max_completion_tokens"
# Fields of the Responses API that chat completions lack and that clients do not miss. Nothing is stored.
_LEFT_OUT = (
    "input", "messages", "instructions", "text", "reasoning", "include", "truncation", "store", "background",
    "max_tool_calls", _LIMIT,
)  # fmt: skip


def chat_from_input(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a chat completion. If `messages` are given, only drops `input`. Raises ApiError 400."""
    if body.get("messages"):
        return {name: value for name, value in body.items() if name != "input"}
    for name in ("previous_response_id", "conversation", "prompt"):
        if body.get(name):
            raise invalid_request(f"'{name}' is not supported: responses are not stored.", param=name)
    made = {name: value for name, value in body.items() if name not in _LEFT_OUT}
    made["messages"] = _messages(body.get("instructions"), body["input"])
    if isinstance(body.get("tools"), list):
        made["tools"] = [_tool(tool) for tool in body["tools"]]
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("function", "custom") and "name" in choice:
        made["tool_choice"] = {"type": choice["type"], choice["type"]: {"name": choice["name"]}}
    text, reasoning = body.get("text"), body.get("reasoning")
    if isinstance(text, dict):
        made.update(_text(text))
    if isinstance(reasoning, dict) and reasoning.get("effort"):
        made.setdefault("reasoning_effort", reasoning["effort"])
    if body.get(_LIMIT) is not None:
        made.setdefault(_CHAT_LIMIT, body[_LIMIT])
    return made


def _messages(instructions: Any, given: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if isinstance(instructions, str) and instructions:
        made.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*made, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        raise _unreadable()
    for item in given:
        _add(made, item)
    return made


def _add(made: list[dict[str, Any]], item: Item) -> None:
    """Append a message or a result, or add a call to the preceding assistant message."""
    kind = item.get("type") or "message"
    if kind == "message":
        if not isinstance(item.get("role"), str):
            raise _unreadable()
        made.append({"role": item["role"], "content": _content(item.get("content"))})
    elif kind in ("function_call", "custom_tool_call"):
        call = _call(kind, item)
        if made and made[-1]["role"] == "assistant":
            made[-1] = {**made[-1], "tool_calls": [*made[-1].get("tool_calls", ()), call]}
        else:
            made.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind in ("function_call_output", "custom_tool_call_output"):
        made.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _content(item.get("output"))})
    elif kind == "item_reference":
        raise invalid_request("An 'item_reference' refers to a stored item, but nothing is stored here.", param="input")
    # Reasoning and the results of a provider's own tools are useless to another model.


def _call(kind: str, item: Item) -> dict[str, Any]:
    if kind == "custom_tool_call":
        custom = {"name": item.get("name"), "input": item.get("input") or ""}
        return {"id": item.get("call_id"), "type": "custom", "custom": custom}
    function = {"name": item.get("name"), "arguments": item.get("arguments") or ""}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _content(given: Any) -> Any:
    """Return text or content parts. Text parts are joined."""
    if not isinstance(given, list):
        return given
    parts = [_part(part) for part in given if isinstance(part, dict)]
    if all(part.get("type") == "text" for part in parts):
        return "".join(str(part["text"]) for part in parts)
    return parts


def text_or_image(part: Item) -> dict[str, Any] | None:
    """Translate a text, a refusal or an image; return None for any other part."""
    kind = part.get("type")
    if kind in TEXTS:
        return {"type": "text", "text": str(part.get("text") or "")}
    if kind == "refusal":
        return {"type": "text", "text": str(part.get("refusal") or "")}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        picture, detail = {"url": part["image_url"]}, part.get("detail")
        return {"type": "image_url", "image_url": {**picture, "detail": detail} if detail else picture}
    return None


def _part(part: Item) -> dict[str, Any]:
    found = text_or_image(part)
    if found is not None:
        return found
    if part.get("type") == "input_file":
        return {
            "type": "file",
            "file": {name: part[name] for name in _present(part, "filename", "file_data", "file_id")},
        }
    return dict(part)


def _present(part: Item, *names: str) -> Iterable[str]:
    return (name for name in names if part.get(name))


def _tool(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") == "custom" and "custom" not in tool:
        return {"type": "custom", "custom": {name: value for name, value in tool.items() if name != "type"}}
    return tool  # every provider accepts flat functions


def _text(text: Item) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if text.get("verbosity"):
        made["verbosity"] = text["verbosity"]
    wanted = text.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        schema = {name: value for name, value in wanted.items() if name != "type"}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif isinstance(wanted, dict) and wanted.get("type") == "json_object":
        made["response_format"] = {"type": "json_object"}
    return made


def _unreadable() -> ApiError:
    return invalid_request("'input' has to be a string or an array of messages and other items.", param="input")
