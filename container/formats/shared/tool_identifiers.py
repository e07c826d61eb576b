"""Tool call ids and tool names: rewritten to the form that the provider accepts, and given back.

A conversation may have been served by other providers, and their ids differ. Gemini's contain a thought signature
(`call_…__thought__<base64>`, the format LiteLLM uses, hundreds of characters). OpenAI allows 40 characters, Mistral
exactly nine, and Claude letters, digits, `_` and `-`. An id that does not fit is replaced in the call and in its
result. The client keeps its own ids, so signatures still reach Gemini.

MCP servers create tool names longer than 64 characters, or with dots and slashes, which OpenAI and most others refuse.
As in LiteLLM, the beginning is kept and a hash of the full name is appended, so that the result is stable. The response
contains the client's names again. https://platform.openai.com/docs/api-reference/chat/create#chat_create-tools
"""

import hashlib
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from ...routing.health import Outcome
from .wire import Events

SIGNATURE_MARK = "__thought__"
# The characters assumed by `Conversation.longest_id`.
USUAL = "[a-zA-Z0-9_-]+"
_LETTERS = string.digits + string.ascii_letters
_RESULTS = ("tool", "function")

Message = Mapping[str, Any]


class CallIds:
    """The ids of one conversation, in order.

    `length` and `pattern` are as in `Capabilities`. `signed` means that the provider is Gemini, which reads the
    signatures. A conversation always gets the same ids, even after it has grown, so that the provider's prompt cache
    remains valid.
    """

    def __init__(self, length: int | None, pattern: str, *, signed: bool = False) -> None:
        self._length = length
        self._pattern = _compiled(pattern) if pattern else None
        self._signed = signed
        self._used: set[str] = set()
        self._open: list[tuple[Any, str]] = []  # calls without a result: the client's id and the id sent

    def calls(self, given: Sequence[Any], results: Sequence[Any]) -> list[str]:
        """The ids for the calls of one message. `results` are the ids in the results that follow it."""
        sent: list[str] = []
        for place, id in enumerate(given):
            repeated = place > 0 and id in given[:place]
            if repeated and id and results.count(id) < given.count(id):
                sent.append(sent[given.index(id)])  # the same call, written twice
                continue
            sent.append(self._unique(id if isinstance(id, str) else ""))
        self._open = list(zip(given, sent, strict=True))
        return sent

    def result(self, given: Any) -> str:
        """The id for a result, taken from the first open call that it can belong to."""
        known = isinstance(given, str) and bool(given)
        for at, (id, sent) in enumerate(self._open):
            if id == given or not known:
                del self._open[at]
                return sent
        return self._fitting(given) if known else ""

    def _unique(self, given: str) -> str:
        if given and self._signed:
            return given
        wanted = self._fitting(given) if given else self._made(f"missing {len(self._used)}")
        number = 1
        while wanted in self._used:
            number += 1
            wanted = self._made(f"{given} {number}")
        self._used.add(wanted)
        return wanted

    def _fitting(self, given: str) -> str:
        if self._signed:
            return given
        bare = given.partition(SIGNATURE_MARK)[0]
        return bare if self._takes(bare) else self._made(given)

    def _takes(self, id: str) -> bool:
        if not id or (self._length is not None and len(id) > self._length):
            return False
        return self._pattern is None or self._pattern.fullmatch(id) is not None

    def _made(self, given: str) -> str:
        return _hashed(given, self._length)


def fitted_ids(messages: list[Any], length: int | None, pattern: str, *, signed: bool = False) -> list[Any]:
    """Rewrites the messages of a chat completion. Returns the same list if nothing changes."""
    ids = CallIds(length, pattern, signed=signed)
    made: list[Any] | None = None
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        changed = message
        calls = message.get("tool_calls")
        if calls and isinstance(calls, list) and all(isinstance(call, dict) for call in calls):
            given = [call.get("id") for call in calls]
            sent = ids.calls(given, list(_results_of(messages, at + 1)))
            if sent != given:
                renamed = [{**call, "id": id} for call, id in zip(calls, sent, strict=True)]
                changed = {**message, "tool_calls": renamed}
        elif message.get("role") == "tool":
            given = message.get("tool_call_id")
            sent_id = ids.result(given)
            if sent_id and sent_id != given:
                changed = {**message, "tool_call_id": sent_id}
        if changed is not message:
            made = list(messages) if made is None else made
            made[at] = changed
    return messages if made is None else made


def fitted_block_ids(messages: list[Any], length: int | None, pattern: str) -> list[Any]:
    """Rewrites the messages of Anthropic's Messages API, where calls and results are content blocks."""
    ids = CallIds(length, pattern)
    made: list[Any] | None = None
    for at, message in enumerate(messages):
        blocks = _blocks(message)
        given = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
        names = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
        if given:
            following = _blocks(messages[at + 1]) if at + 1 < len(messages) else []
            sent = ids.calls(given, [b.get("tool_use_id") for b in following if b.get("type") == "tool_result"])
        else:
            sent = [ids.result(name) for name in names]
        if sent == (given or names):
            continue
        made = list(messages) if made is None else made
        made[at] = {**message, "content": _renamed(message["content"], iter(sent), calls=bool(given))}
    return messages if made is None else made


def fitted_item_ids(items: list[Any], length: int | None, pattern: str) -> list[Any]:
    """Rewrites the input items of OpenAI's Responses API."""
    ids = CallIds(length, pattern)
    made: list[Any] | None = None
    for at, item in enumerate(items):
        kind = str(item.get("type")) if isinstance(item, dict) else ""
        if not kind.endswith(("_call", "_call_output")) or not isinstance(item.get("call_id"), str):
            continue
        sent = ids._fitting(item["call_id"])
        if sent != item["call_id"]:
            made = list(items) if made is None else made
            made[at] = {**item, "call_id": sent}
    return items if made is None else made


def _results_of(messages: Sequence[Any], start: int) -> Iterable[Any]:
    """The ids in the consecutive results from `start` on."""
    for at in range(start, len(messages)):
        message = messages[at]
        if not isinstance(message, dict) or message.get("role") not in _RESULTS:
            return
        yield message.get("tool_call_id")


def _blocks(message: Any) -> list[dict[str, Any]]:
    content = message.get("content") if isinstance(message, dict) else None
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _renamed(content: list[Any], sent: Iterable[str], *, calls: bool) -> list[Any]:
    kind, field = ("tool_use", "id") if calls else ("tool_result", "tool_use_id")
    ids = iter(sent)
    return [
        {**block, field: next(ids) or block.get(field)}
        if isinstance(block, dict) and block.get("type") == kind
        else block
        for block in content
    ]


@lru_cache(maxsize=4096)
def _hashed(given: str, length: int | None) -> str:
    """An id derived from the given one: letters, digits and, if it is long enough, one `_`."""
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass"))
    if length is None or length >= 37:
        return f"call_{digest.hexdigest()[:32]}"
    number, digits = int.from_bytes(digest.digest()), ""
    while len(digits) < length and number:
        number, digit = divmod(number, len(_LETTERS))
        digits += _LETTERS[digit]
    return digits


# Tool names.

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
        sent = fitting_name(name, self._longest, self._pattern)
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


def fitted_names(
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
def fitting_name(name: str, longest: int, pattern: str = USUAL) -> str:
    """The name, or its replacement if the provider does not accept it."""
    if len(name) <= longest and _compiled(pattern).fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    beginning = _ODD.sub("_", name)[: longest - _HASH - 1]
    made = f"{beginning}_{digest}"
    return made if _compiled(pattern).fullmatch(made) else f"_{made[1:]}"


def names_given_back(data: bytes, names: Mapping[str, str]) -> bytes:
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
        return names_given_back(self._inner.feed(data), self._names)

    def end(self) -> bytes:
        return names_given_back(self._inner.end(), self._names)

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


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
