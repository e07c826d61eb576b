"""Ids of tool calls as the provider at hand takes them.

A conversation may have been through other providers, and each has its own idea of an id: Gemini's carry a thought
signature (`call_…__thought__<base64>`, as LiteLLM writes them, hundreds of characters), OpenAI takes 40 characters,
Mistral exactly nine, Claude letters, digits, `_` and `-`. What does not fit is replaced in the call and in its result
alike. The client keeps the ids that it has, so that a signature finds its way back to Gemini.
"""

import hashlib
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

SIGNATURE_MARK = "__thought__"
# What `Conversation.longest_id` goes by.
USUAL = "[a-zA-Z0-9_-]+"
_LETTERS = string.digits + string.ascii_letters
_RESULTS = ("tool", "function")

Message = Mapping[str, Any]


class CallIds:
    """The ids of one conversation, in its order.

    `length` and `pattern`: what the provider takes, as in `Capabilities`; `signed`: it is Gemini, which reads the
    signatures. The same conversation always gets the same ids, also when it has grown, so that what a provider has
    cached of it stays valid.
    """

    def __init__(self, length: int | None, pattern: str, *, signed: bool = False) -> None:
        self._length = length
        self._pattern = _compiled(pattern)
        self._signed = signed
        self._used: set[str] = set()
        self._open: list[tuple[Any, str]] = []  # calls without a result: the id given, and the one sent

    def calls(self, given: Sequence[Any], results: Sequence[Any]) -> list[str]:
        """The ids of one message's calls. `results`: the ids that the results behind it name."""
        sent: list[str] = []
        for place, id in enumerate(given):
            repeated = place > 0 and id in given[:place]
            if repeated and id and results.count(id) < given.count(id):
                sent.append(sent[given.index(id)])  # one call, written twice
                continue
            sent.append(self._unique(id if isinstance(id, str) else ""))
        self._open = list(zip(given, sent, strict=True))
        return sent

    def result(self, given: Any) -> str:
        """The id of a result: that of the first call that it can belong to."""
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


def fitted(messages: list[Any], length: int | None, pattern: str, *, signed: bool = False) -> list[Any]:
    """The messages of a chat completion; the list itself where nothing has to change."""
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


def fitted_blocks(messages: list[Any], length: int | None, pattern: str) -> list[Any]:
    """The messages of Anthropic's Messages API, whose calls and results are blocks."""
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


def fitted_items(items: list[Any], length: int | None, pattern: str) -> list[Any]:
    """The input items of OpenAI's Responses API."""
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
    """The ids that the results name which stand together from `start` on."""
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


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    return re.compile(pattern) if pattern else None


@lru_cache(maxsize=4096)
def _hashed(given: str, length: int | None) -> str:
    """An id of letters, digits and one `_` where there is room, made of nothing but the id that was given."""
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass"))
    if length is None or length >= 37:
        return f"call_{digest.hexdigest()[:32]}"
    number, digits = int.from_bytes(digest.digest()), ""
    while len(digits) < length and number:
        number, digit = divmod(number, len(_LETTERS))
        digits += _LETTERS[digit]
    return digits
