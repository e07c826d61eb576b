"""Rewrites tool call ids to the form that the provider accepts.

A conversation may have been served by other providers, and their ids differ. Gemini's contain a thought signature
(`call_…__thought__<base64>`, the format LiteLLM uses, hundreds of characters). OpenAI allows 40 characters, Mistral
exactly nine, and Claude letters, digits, `_` and `-`. An id that does not fit is replaced in the call and in its
result. The client keeps its own ids, so signatures still reach Gemini.
"""

import hashlib
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

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
        self._pattern = _compiled(pattern)
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


def fitted(messages: list[Any], length: int | None, pattern: str, *, signed: bool = False) -> list[Any]:
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


def fitted_blocks(messages: list[Any], length: int | None, pattern: str) -> list[Any]:
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


def fitted_items(items: list[Any], length: int | None, pattern: str) -> list[Any]:
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


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    return re.compile(pattern) if pattern else None


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
