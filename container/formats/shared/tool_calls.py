"""Converts the tool calls of OpenAI-compatible servers to OpenAI's form.

Such servers reuse or omit `index`, omit or repeat ids, repeat names, write arguments as an object, or finish with
`stop` despite calls. Clients join the pieces by `index`, so each call needs its own index, one id, one name, and
arguments as a string.
"""

import uuid
from typing import Any

import orjson

Entry = dict[str, Any]

_NONE = "{}"  # the arguments of a call without any
_MOST_TRIES = 100


def new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def arguments_text(given: Any) -> str:
    """The arguments as a JSON string, or '' if there are none yet."""
    if isinstance(given, str):
        return given
    return orjson.dumps(given).decode() if given else ""


def mend_calls(calls: list[Any]) -> list[Any]:
    """Corrects the calls of a complete response. Returns the same list if nothing changes."""
    seen: set[str] = set()
    mended = [_mended(call, seen) if isinstance(call, dict) else call for call in calls]
    return calls if mended == calls else mended


def mend_function(function: dict[str, Any]) -> dict[str, Any]:
    """The function with its arguments as a string."""
    text = arguments_text(function.get("arguments"))
    return {**function, "arguments": text if text.strip() else _NONE}


def _mended(call: Entry, seen: set[str]) -> Entry:
    function = call.get("function")
    if not isinstance(function, dict):
        return call  # a custom tool
    id = call.get("id")
    id = id if isinstance(id, str) and id and id not in seen else new_id()
    seen.add(id)
    return {**call, "id": id, "type": call.get("type") or "function", "function": mend_function(function)}


def _whole(index: Any) -> int | None:
    """Converts an index to int, since some servers write a string or a float. None if it is not an integer."""
    if isinstance(index, str) and index.isascii() and index.isdigit():
        return int(index[:9])
    if isinstance(index, float) and index.is_integer():
        return int(index)
    return index if type(index) is int else None


def _has_float(entry: Any) -> bool:
    """Whether the index is a float that equals an integer."""
    return isinstance(entry, dict) and isinstance(entry.get("index"), float)


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


class _Call:
    """One call of a stream.

    `given` is the id from the provider. `tracked` means that the arguments are recorded, because only they reveal where
    the next call begins. `first` are the arguments that arrived with the name. `held` is the beginning of the call,
    held back until its name is complete.
    """

    __slots__ = ("_parts", "_tries", "first", "given", "has_arguments", "held", "index", "name", "tracked")

    def __init__(self, index: int, given: str, name: str, *, tracked: bool) -> None:
        self.index = index
        self.given = given
        self.name = name
        self.tracked = tracked
        self.has_arguments = False
        self.first = ""
        self.held: Entry | None = None
        self._parts: list[str] = []
        self._tries = 0

    def add(self, text: str) -> None:
        if text.strip():
            self.has_arguments = True
        if self.tracked:
            self._parts.append(text)

    def text(self) -> str:
        return "".join(self._parts)

    def _ends(self) -> bool:
        return any(self._parts) and next(p for p in reversed(self._parts) if p).rstrip().endswith("}")

    def complete(self) -> bool:
        """Whether the arguments are known to be a complete JSON object."""
        if not self.tracked or self._tries >= _MOST_TRIES or not self._ends():
            return False
        self._tries += 1
        return _is_object(self.text())


class CallMender:
    """Corrects the `tool_calls` of the deltas of one choice."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_key: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __bool__(self) -> bool:
        """Whether there are any calls."""
        return bool(self._calls)

    @property
    def continuing(self) -> int | None:
        """The index of the latest call, if only its arguments can follow under that index, else None."""
        last = self._calls[-1] if self._calls else None
        sure = last is not None and not last.tracked and last.held is None and self._by_key.get(last.index) is last
        return last.index if sure and last is not None else None

    def continued(self) -> None:
        """Called when arguments of the latest call passed without inspection."""
        self._calls[-1].has_arguments = True

    def mend(self, entries: list[Any]) -> list[Any]:
        """Corrects the entries of a delta. Returns the same list if nothing changes."""
        mended: list[Any] = []
        for entry in entries:
            if isinstance(entry, dict) and (isinstance(entry.get("function"), dict) or "function" not in entry):
                mended += self._take(entry)
            elif entry:
                mended.append(entry)
        return entries if mended == entries and not any(map(_has_float, entries)) else mended

    def finish(self) -> list[Entry]:
        """Returns the held back entries when the calls have ended."""
        left: list[Entry] = []
        for call in self._calls:
            left += self._release(call)
            if not call.has_arguments:
                call.has_arguments = True
                left.append({"index": call.index, "function": {"arguments": _NONE}})
        return left

    def _take(self, entry: Entry) -> list[Entry]:
        if entry.get("type") == "custom" or "custom" in entry:
            return [entry]
        function = entry.get("function") or {}
        given = str(entry.get("id") or "")
        name, key = function.get("name"), entry.get("index")
        name = name if isinstance(name, str) else ""
        key = _whole(key)
        text = arguments_text(function.get("arguments"))
        call = self._find(key, given, name, text, pieces="arguments" not in function)
        if call is None:
            return self._begin(entry, function, key, given, name or ("" if given else self._last_name()), text)
        if text and given and given == call.given and self._is_repeated(call, name, text):
            return []  # the entire call repeated
        if not call.given and given and given not in self._by_id:
            call.given = given
            self._by_id[given] = call
        call.add(text)
        piece = name if name and name != call.name and not call.has_arguments else ""
        call.name += piece
        return self._continue(call, entry, function, piece, text)

    def _is_repeated(self, call: _Call, name: str, text: str) -> bool:
        if call.tracked:
            return call.complete() and text == call.text()
        return bool(name) and text == call.first and _is_object(text)

    def _find(self, key: int | None, given: str, name: str, text: str, *, pieces: bool) -> _Call | None:
        """The call that the entry continues, or None if it begins a new one."""
        last = self._calls[-1] if self._calls else None
        current = last if key is None else self._by_key.get(key)
        known = self._by_id.get(given) if given else None
        if known is not None and (not name or ((current is known or key is None) and name in (known.name, ""))):
            again = bool(name and text.strip()) and known.complete() and text != known.text()
            return None if again else known
        if current is None:
            return last if not name and not given else None
        if not name:
            return None if text.strip() and current.complete() else current
        if not current.name:
            return None if given and current.given else current
        if given and (current.given or current.has_arguments or name != current.name):
            return None
        if current.complete():
            return None if text.strip() or name != current.name else current
        if name == current.name:
            return current
        return current if pieces and not current.has_arguments else None

    def _begin(self, entry: Entry, function: Entry, key: int | None, given: str, name: str, text: str) -> list[Entry]:
        before = [said for call in self._calls for said in self._release(call)]
        fresh = given not in self._by_id
        sure = bool(given) and fresh and key == len(self._calls)
        call = _Call(len(self._calls), given, name, tracked=not sure)
        self._calls.append(call)
        if key is not None:
            self._by_key[key] = call
        if given and fresh:
            self._by_id[given] = call
        call.add(text)
        call.first = text
        begun = {
            **entry,
            "index": call.index,
            "id": given if given and fresh else new_id(),
            "type": "function",
            "function": {**function, "name": name, "arguments": text},
        }
        if not text and (not name or not isinstance(function.get("arguments"), str)):
            call.held = begun
            return before
        return [*before, begun]

    def _continue(self, call: _Call, entry: Entry, function: Entry, piece: str, text: str) -> list[Entry]:
        if call.held is not None:
            call.held["function"] |= {"name": call.name, "arguments": text}
            return self._release(call) if text else []
        said = {name: value for name, value in entry.items() if name not in ("id", "index", "function")}
        if said.get("type") is None:
            said.pop("type", None)
        more = {name: value for name, value in function.items() if name not in ("name", "arguments")}
        made = {
            "index": call.index,
            **said,
            "function": {**more, **({"name": piece} if piece else {}), "arguments": text},
        }
        return [made] if made == entry or text or piece or more or said.keys() - {"type"} else []

    def _release(self, call: _Call) -> list[Entry]:
        held, call.held = call.held, None
        return [] if held is None else [held]

    def _last_name(self) -> str:
        return self._calls[-1].name if self._calls else ""
