"""Scans a chat's messages once to find out what adapting them for a provider involves.

An agent's prompt has hundreds of messages. Adapting one may mean changing call ids, tool names, thinking blocks,
content parts or cache markers. Nearly all messages need none of that, and one scan shows it. Only other conversations
go through the individual steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PLAIN_ROLES = frozenset(("system", "user", "assistant"))
_OF_A_CALL = {"id", "type", "function"}
_OF_A_FUNCTION = {"name", "arguments"}
_IN_IDS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"
_SIGNATURE = "__thought__"


@dataclass(slots=True)
class Conversation:
    """What a chat's messages contain.

    messages     the messages that were scanned
    ordinary     every message has a text or text parts, and besides its role only function calls or the id of the call
                 that it answers; the fields below are valid only if this is true
    plain        only texts of system, user and assistant, which every provider accepts
    developer    a message has the role `developer`
    listed       a content is a list
    unsaid       a message with calls has null content
    longest_id   length of the longest call id in characters, 0 without calls; None if an id is missing, empty, used
                 twice, contains `__thought__`, or has characters other than letters, digits, `_` and `-`
    names        names of the functions that are called and of those in `tools`; None if a tool has more than a function
                 and its type, or a cache marker
    tools        the request's tools; None in the same case
    """

    messages: list[Any]
    ordinary: bool = False
    plain: bool = False
    developer: bool = False
    listed: bool = False
    unsaid: bool = False
    longest_id: int | None = None
    names: set[str] | None = None
    tools: list[Any] | None = None


def look(body: Mapping[str, Any]) -> Conversation | None:
    """Scan the fields of a chat completion. Return None without a list of messages."""
    messages = body.get("messages")
    if type(messages) is not list or not messages:
        return None
    try:
        found = _look(messages)
        if found.ordinary and body.get("tools"):
            _look_at_tools(found, body["tools"])
    except (AttributeError, KeyError, TypeError):  # a field is missing or has another type
        return Conversation(messages)
    return found


def _look(messages: list[Any]) -> Conversation:
    found = Conversation(messages)
    calls: list[Any] = []
    results: list[Any] = []
    for message in messages:
        role, size = message["role"], len(message)
        if role == "tool":
            content = message["content"]
            results.append(message["tool_call_id"])
            if size != 3:
                return found
        elif size == 2 and "content" in message:
            content = message["content"]
            if role == "developer":
                found.developer = True
            elif role not in _PLAIN_ROLES:
                return found
            if not content:
                return found
        elif role == "assistant" and message["tool_calls"]:
            calls += message["tool_calls"]
            if size == 2:
                continue
            content = message["content"]
            if size != 3:
                return found
            if content is None:
                found.unsaid = True
                continue
        else:
            return found
        if type(content) is not str:
            if not _are_texts(content):
                return found
            found.listed = True
    if not (calls or results):
        found.ordinary, found.plain = True, not (found.developer or found.listed)
        found.longest_id, found.names = 0, set()
        return found
    functions = [call["function"] for call in calls]
    if calls and not (
        set().union(*functions) <= _OF_A_FUNCTION
        and set().union(*calls) == _OF_A_CALL
        and {call["type"] for call in calls} == {"function"}
    ):
        return found
    found.longest_id = _longest([call["id"] for call in calls], results)
    found.names = _texts([function["name"] for function in functions])
    found.ordinary = True
    return found


def _are_texts(parts: list[Any]) -> bool:
    if type(parts) is not list:
        return False
    return all(len(part) == 2 and part["type"] == "text" and type(part["text"]) is str for part in parts)


def _longest(ids: list[str], results: list[str]) -> int | None:
    found = set(ids)
    if len(found) != len(ids):
        return None
    found.update(results)
    joined = "".join(found)
    if "" in found or _SIGNATURE in joined or not joined.isascii() or joined.encode().translate(None, _IN_IDS):
        return None
    return max(map(len, found))


def _look_at_tools(found: Conversation, tools: Any) -> None:
    names: list[str] = []
    for tool in tools:
        function = tool["function"]
        if len(tool) != 2 or tool["type"] != "function" or "cache_control" in function:
            found.names = None
            return
        names.append(function["name"])
    found.tools = tools
    found.names = _texts(names) | (found.names or set())


def _texts(names: list[str]) -> set[str]:
    """Raises TypeError if a name is not a string."""
    "".join(names)
    return set(names)
