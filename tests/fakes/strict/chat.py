"""Request validation of OpenAI's chat format, from a table of what a provider accepts."""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.strict import refusal as shapes
from tests.fakes.strict.refusal import Refusal, Wrong

MESSAGE_FIELDS: Mapping[str, frozenset[str]] = {
    "developer": frozenset({"role", "content", "name"}),
    "system": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset(
        {"role", "content", "name", "refusal", "audio", "annotations", "tool_calls", "function_call"}
    ),
    "tool": frozenset({"role", "content", "tool_call_id"}),
    "function": frozenset({"role", "content", "name"}),
}
PART_FIELDS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "image_url": frozenset({"type", "image_url"}),
    "input_audio": frozenset({"type", "input_audio"}),
    "file": frozenset({"type", "file"}),
    "refusal": frozenset({"type", "refusal"}),
}
_TOOL_FIELDS = frozenset({"type", "function"})
_FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "strict"})


@dataclass(frozen=True)
class Chat:
    """What a provider accepts. None means that it does not check.

    `refused` maps name patterns of models to fields that they reject with any value but null. `limits` maps name
    patterns to the name of the output limit, `most` is the maximum number of output tokens, and `least` the smallest
    limit. `call_id` and `tool_name` are full-match patterns. With `texts_only`, content must be text, not a list.
    `reasoning` are models that require `reasoning_content` with an earlier turn's calls. With `alternates`, user and
    assistant messages must alternate after the system messages. `check` is any further validation.
    """

    fields: frozenset[str] | None = None
    message_fields: Mapping[str, frozenset[str]] | None = None
    roles: frozenset[str] = frozenset({"system", "user", "assistant", "tool"})
    parts: Mapping[str, frozenset[str]] | None = None
    tool_fields: bool = False
    refused: Mapping[str, frozenset[str]] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    call_id: str = ".{1,400}"
    tool_name: str = "[a-zA-Z0-9_-]{1,64}"
    texts_only: bool = False
    reasoning: str | None = None
    alternates: bool = False
    efforts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    check: Callable[[str, Mapping[str, Any]], None] | None = None
    error: Callable[[Wrong], Refusal] = shapes.openai


def refusal(takes: Chat, model: str, body: Mapping[str, Any]) -> Refusal | None:
    try:
        _fields(takes, model, body)
        _tools(takes, body)
        _messages(takes, model, body["messages"])
        if takes.check is not None:
            takes.check(model, body)
    except Wrong as error:
        return takes.error(error)
    return None


def _fields(takes: Chat, model: str, body: Mapping[str, Any]) -> None:
    if takes.fields is not None:
        _only(takes.fields, body, "")
    for pattern, names in takes.refused.items():
        if re.search(pattern, model):
            for name in names:
                if body.get(name) is not None:
                    raise Wrong(name, f"Unsupported parameter: '{name}' is not supported with this model.")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    for pattern, most in takes.most.items():
        if limit is not None and re.search(pattern, model) and limit > most:
            raise Wrong("max_tokens", f"max_tokens is too large: {limit}. This model supports at most {most}.")
    for pattern, least in takes.least.items():
        if limit is not None and re.search(pattern, model) and limit < least:
            raise Wrong("max_tokens", f"Expected a value >= {least}, but got {limit} instead.")
    for pattern, levels in takes.efforts.items():
        effort = body.get("reasoning_effort")
        if effort is not None and re.search(pattern, model) and effort not in levels:
            raise Wrong("reasoning_effort", f"Unsupported value: 'reasoning_effort' does not support '{effort}'.")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Wrong("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    if body.get("tool_choice") not in (None, "none") and not body.get("tools"):
        raise Wrong("tool_choice", "'tool_choice' is only allowed when 'tools' are specified.")


def _tools(takes: Chat, body: Mapping[str, Any]) -> None:
    for index, tool in enumerate(body.get("tools") or ()):
        at = f"tools[{index}]"
        if tool.get("type") != "function":
            raise Wrong(f"{at}.type", f"Invalid value: '{tool.get('type')}'. Supported values are: 'function'.")
        if takes.tool_fields:
            _only(_TOOL_FIELDS, tool, at + ".")
            _only(_FUNCTION_FIELDS, tool["function"], f"{at}.function.")
        if not re.fullmatch(takes.tool_name, tool["function"].get("name") or ""):
            raise Wrong(f"{at}.function.name", f"Expected a name that matches '{takes.tool_name}'.")


def _messages(takes: Chat, model: str, messages: list[dict[str, Any]]) -> None:
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        at, role = f"messages[{index}]", message.get("role")
        if role not in takes.roles:
            raise Wrong(f"{at}.role", f"unknown variant `{role}`, expected one of {sorted(takes.roles)}")
        if takes.message_fields is not None:
            _only(takes.message_fields[role], message, at + ".")
        _content(takes, at, message)
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                raise Wrong(f"{at}.role", "A message with role 'tool' must follow a message with 'tool_calls'.")
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            raise Wrong(f"{at}.role", f"Messages for these 'tool_call_id's are missing: {sorted(waiting)}.")
        calls = message.get("tool_calls") or ()
        for call in calls:
            if not re.fullmatch(takes.call_id, str(call.get("id"))):
                raise Wrong(f"{at}.tool_calls", f"The id {call.get('id')} does not match '{takes.call_id}'.")
            if not isinstance(call["function"]["arguments"], str):
                raise Wrong(f"{at}.tool_calls", "Arguments have to be a string.")
            if not re.fullmatch(takes.tool_name, call["function"]["name"]):
                raise Wrong(f"{at}.tool_calls", f"Expected a name that matches '{takes.tool_name}'.")
        waiting = {call["id"] for call in calls}
        wants = takes.reasoning is not None and re.search(takes.reasoning, model)
        if calls and wants and not isinstance(message.get("reasoning_content"), str):
            raise Wrong(at, f"Missing `reasoning_content` field in the assistant message at message index {index}.")
    if waiting:
        raise Wrong("messages", f"Messages for these 'tool_call_id's are missing: {sorted(waiting)}.")
    if takes.alternates:
        _turns(messages)


def _content(takes: Chat, at: str, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    if content is None:
        if message["role"] != "assistant" or not (message.get("tool_calls") or message.get("function_call")):
            raise Wrong(f"{at}.content", "Invalid value for 'content': expected a string, got null.")
    elif isinstance(content, list):
        if takes.texts_only:
            raise Wrong(f"{at}.content", "invalid type: sequence, expected a string")
        if not content:
            raise Wrong(f"{at}.content", "Invalid value for 'content': expected at least one part.")
        for number, part in enumerate(content):
            if takes.parts is not None:
                known = takes.parts.get(part.get("type"))
                if known is None:
                    raise Wrong(f"{at}.content[{number}].type", f"unknown variant `{part.get('type')}`")
                _only(known, part, f"{at}.content[{number}].")
    elif not isinstance(content, str):
        raise Wrong(f"{at}.content", "Invalid value for 'content': expected a string.")


def _turns(messages: list[dict[str, Any]]) -> None:
    said = [message["role"] for message in messages if message["role"] != "system"]
    sides = ["assistant" if role == "assistant" else "user" for role in said]
    if any(a == b for a, b in itertools.pairwise(sides)) or (sides and sides[-1] != "user"):
        raise Wrong(
            "messages",
            "After the (optional) system message(s), user or tool message(s) should alternate with the assistant's.",
        )


def _only(known: frozenset[str], value: Mapping[str, Any], at: str) -> None:
    for name in value:
        if name not in known:
            raise Wrong(f"{at}{name}", f"property '{at}{name}' is unsupported. Extra inputs are not permitted.")
