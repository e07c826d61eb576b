"""Shortens tool names to what the provider accepts, and restores them in the response.

MCP servers create names longer than 64 characters, or with dots and slashes, which OpenAI and most others refuse. As in
LiteLLM, the beginning is kept and a hash of the full name is appended, so that the result is stable.
https://platform.openai.com/docs/api-reference/chat/create#chat_create-tools
"""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from ...routing.outcome import Outcome
from .answer import Events

# OpenAI's pattern, which most others share.
USUAL = "[a-zA-Z0-9_-]+"
# https://ai.google.dev/api/caching#FunctionDeclaration
GOOGLES = "[a-zA-Z_][a-zA-Z0-9_.:-]*"
_ODD = re.compile(r"[^a-zA-Z0-9_-]")
_HASH = 8


class _Names:
    """Renames the tools of one request. `sent` maps the new names to the original ones."""

    def __init__(self, longest: int, pattern: str) -> None:
        self._longest = longest
        self._pattern = pattern
        self.sent: dict[str, str] = {}

    def fit(self, holder: Any) -> Any:
        """Renames an object with a `name`. Returns the same object if nothing changes."""
        name = holder.get("name") if isinstance(holder, dict) else None
        if not isinstance(name, str):
            return holder
        sent = fitting(name, self._longest, self._pattern)
        if sent == name:
            return holder
        self.sent[sent] = name
        return {**holder, "name": sent}

    def inside(self, holder: Any) -> Any:
        """Renames a tool, a call or a choice, whose name is in the object itself or in its `function` or `custom`."""
        if not isinstance(holder, dict):
            return holder
        made = self.fit(holder)
        for field in ("function", "custom"):
            inner = holder.get(field)
            fit = self.fit(inner)
            if fit is not inner:
                made = {**made, field: fit}
        return made

    def each(self, holders: Any) -> Any:
        if not isinstance(holders, list):
            return holders
        made = [self.inside(holder) for holder in holders]
        return made if any(a is not b for a, b in zip(made, holders, strict=True)) else holders

    def choice(self, given: Any) -> Any:
        """Renames `tool_choice`. The kind that lists allowed tools nests them in chat, but not in the Responses API."""
        allowed = given.get("allowed_tools") if isinstance(given, dict) else None
        if isinstance(allowed, dict):
            return {**given, "allowed_tools": {**allowed, "tools": self.each(allowed.get("tools"))}}
        if isinstance(given, dict) and isinstance(given.get("tools"), list):
            return {**given, "tools": self.each(given["tools"])}
        return self.inside(given)

    def message(self, message: Any) -> Any:
        if not isinstance(message, dict):
            return message
        made = message
        calls = message.get("tool_calls")
        if calls:
            fit = self.each(calls)
            made = message if fit is calls else {**message, "tool_calls": fit}
        elif message.get("function_call"):
            made = {**message, "function_call": self.fit(message["function_call"])}
        return self.fit(made) if message.get("role") in ("tool", "function") else made


def fitted(
    fields: Mapping[str, Any], longest: int | None, pattern: str = USUAL
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Renames the tools in a chat or Responses API request. Returns the same fields if nothing changes, and the
    client's names by the names sent.

    `longest` is in characters, and None if all names are accepted.
    """
    if longest is None:
        return fields, {}
    names = _Names(longest, pattern)
    made: dict[str, Any] = {}
    for field in ("tools", "functions"):
        if fields.get(field):
            made[field] = names.each(fields[field])
    for field, fit in (("tool_choice", names.choice), ("function_call", names.fit)):
        if isinstance(fields.get(field), dict):
            made[field] = fit(fields[field])
    messages, items = fields.get("messages"), fields.get("input")
    if isinstance(messages, list):
        made["messages"] = [names.message(message) for message in messages]
    if isinstance(items, list):
        made["input"] = [names.fit(item) if _is_call(item) else item for item in items]
    return ({**fields, **made}, names.sent) if names.sent else (fields, {})


def _is_call(item: Any) -> bool:
    """Whether a Responses API item contains a tool name."""
    return isinstance(item, dict) and item.get("type") in ("function_call", "custom_tool_call")


@lru_cache(maxsize=8192)
def fitting(name: str, longest: int, pattern: str = USUAL) -> str:
    """The name, or its replacement if the provider does not accept it."""
    if len(name) <= longest and _compiled(pattern).fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    beginning = _ODD.sub("_", name)[: longest - _HASH - 1]
    made = f"{beginning}_{digest}"
    return made if _compiled(pattern).fullmatch(made) else f"_{made[1:]}"


def given_back(data: bytes, names: Mapping[str, str]) -> bytes:
    """Restores the client's names in a response or in events.

    Replaced names end in a hash, so no other text matches.
    """
    for sent, own in names.items():
        quoted = orjson.dumps(sent)
        if quoted in data:
            data = data.replace(quoted, orjson.dumps(own))
    return data


class RestoredEvents:
    """A stream with the client's tool names restored. `inner` returns complete events."""

    def __init__(self, inner: Events, names: Mapping[str, str]) -> None:
        self._inner = inner
        self._names = names

    def feed(self, data: bytes) -> bytes:
        return given_back(self._inner.feed(data), self._names)

    def end(self) -> bytes:
        return given_back(self._inner.end(), self._names)

    def begins(self, new: bytes) -> bool | Outcome:
        return self._inner.begins(new)

    @property
    def usage(self) -> dict[str, Any] | None:
        return self._inner.usage

    @property
    def failed(self) -> Outcome | None:
        return self._inner.failed

    @property
    def cut_off(self) -> bool:
        return self._inner.cut_off


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
