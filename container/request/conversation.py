"""What a chat holds, told by one look at each of its messages.

An agent's prompt has hundreds of messages, and before it goes out much may have to be fitted in them: ids of calls,
names of tools, thoughts, parts, markers. Nearly all messages are ordinary, so that nothing has to be, and one look
tells so. Only the others are gone through by everyone who has something to fit.
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
    """`messages`: those that were looked at; `ordinary`: each has a text, or parts that are texts, and no more fields
    than a role, calls of functions, or the call that it is a result of. Only then the rest says something.

    `plain`: nothing but texts of a system, a user and an assistant, to which no provider objects. `developer`: one has
    this role; `listed`: a content is a list; `unsaid`: a message with calls has null for a content. `longest_id`: of
    the calls, in characters, 0 without any, None where an id is missing, used twice, or of other characters than
    letters, digits, `_` and `-`. `names`: of the functions called, and of `tools`, the request's, None where one is
    more than a function and its type.
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
    """Of the fields of a chat completion; None without a list of messages."""
    messages = body.get("messages")
    if type(messages) is not list or not messages:
        return None
    try:
        found = _look(messages)
        if found.ordinary and body.get("tools"):
            _look_at_tools(found, body["tools"])
    except (AttributeError, KeyError, TypeError):  # something is missing, or of another type
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
    """Raises TypeError where one is no text."""
    "".join(names)
    return set(names)
