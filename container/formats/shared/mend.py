"""Corrects responses of OpenAI-compatible servers that deviate from OpenAI's format.

`ChunkMender` corrects a stream chunk by chunk and keeps state for it. Complete responses need no state. Failures are
detected here as well, because some servers report them with status 200 next to `choices`.
"""

import uuid
from typing import Any

import orjson

from ...routing.health import Outcome
from .failure import from_error_event, says_error
from .reasoning import mend_thoughts, split_tagged

# Finish reasons of other servers and of the providers behind them, mapped to OpenAI's.
_FINISH = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_length": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "error_toxic": "content_filter",
    "sensitive": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
# A response with one of these finish reasons failed. Used by OpenRouter, vLLM, SGLang, Zhipu and DeepSeek.
_FAILED = frozenset(
    "error abort aborted cancelled canceled failed failure network_error server_error internal_error timeout "
    "insufficient_system_resource".split()
)
# Google's OpenAI-compatible server reports `function_call_filter: MALFORMED_FUNCTION_CALL` when the model wrote an
# unparseable call. The tokens are billed, and the server is not at fault.
_MALFORMED = "malformed_function_call"
ORDINARY_FINISH = frozenset(("stop", "length", "content_filter", "tool_calls", "function_call"))

Body = dict[str, Any]


def has_answer(choices: Any) -> bool:
    """Whether the choices of a complete response contain a message, or a text of the completions endpoint."""
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and (isinstance(choice.get("message"), dict) or isinstance(choice.get("text"), str))
        for choice in choices
    )


def failure_in(body: Body) -> Outcome | None:
    """The failure that a body or chunk with status 200 reports, or None."""
    choices = body.get("choices")
    if says_error(body):
        return from_error_event(body)
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if choice.get("error"):
            return from_error_event({"error": choice["error"]})
        reason = _reason(choice)
        if reason in _FAILED or _MALFORMED in reason:
            failed = from_error_event({"message": f"The provider ended its response with '{choice['finish_reason']}'."})
            return failed._replace(unread=True, blameless=True) if _MALFORMED in reason else failed
    return None


def mend_answer(body: Body) -> bool:
    """Corrects a complete response in place. Returns whether it changed."""
    choices = body.get("choices")
    changed = False
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            continue
        changed |= mend_thoughts(message) or split_tagged(message)
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            mended = mend_calls(calls)
            changed |= mended is not calls
            message["tool_calls"] = mended
        function = message.get("function_call")
        if isinstance(function, dict) and mend_function(function) != function:
            message["function_call"] = mend_function(function)
            changed = True
        if not _reason(choice):
            choice["finish_reason"] = "stop"
            changed = True
        changed |= _mend_reason(choice, calls=bool(calls), function=bool(function))
    return changed


def _reason(choice: Body) -> str:
    reason = choice.get("finish_reason")
    return reason.lower() if isinstance(reason, str) else ""


def _mend_reason(choice: Body, *, calls: bool, function: bool) -> bool:
    """`calls` means that the choice has tool calls, `function` that it has a legacy function call."""
    reason = _reason(choice)
    right = reason if reason in ORDINARY_FINISH else _FINISH.get(reason, "stop")
    if calls and right in ("stop", "function_call"):
        right = "tool_calls"
    elif function and not calls and right in ("stop", "tool_calls"):
        right = "function_call"
    if not reason or right == choice["finish_reason"]:
        return False
    choice["finish_reason"] = right
    return True


# Tool calls. Such servers reuse or omit `index`, omit or repeat ids, repeat names, write arguments as an object, or
# finish with `stop` despite calls. Clients join the pieces by `index`, so each call needs its own index, one id, one
# name, and arguments as a string.

Entry = dict[str, Any]

_NONE = "{}"  # the arguments of a call without any
_MOST_TRIES = 100


def new_call_id() -> str:
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
    id = id if isinstance(id, str) and id and id not in seen else new_call_id()
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
            "id": given if given and fresh else new_call_id(),
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


# Streams.


class ChunkMender:
    """Corrects the chunks of one stream, for all of its choices."""

    def __init__(self) -> None:
        self._calls: dict[int, CallMender] = {}
        self._functions: set[int] = set()

    @property
    def only(self) -> CallMender | None:
        """The calls, if only one choice has any."""
        return self._calls.get(0) if len(self._calls) == 1 else None

    @property
    def calling(self) -> bool:
        """Whether any choice has calls."""
        return bool(self._calls or self._functions)

    def mend(self, chunk: Body) -> bool:
        """Corrects the chunk in place. Returns whether it changed."""
        choices = chunk.get("choices")
        # OpenAI's SDKs raise for any non-empty `error`. This one reports nothing.
        changed = bool(chunk.get("error"))
        if changed:
            del chunk["error"]
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                changed |= self._choice(choice)
        return changed

    def finish(self) -> list[Any]:
        """The held back tool calls of the first choice, at the end of the stream."""
        mender = self._calls.get(0)
        return mender.finish() if mender else []

    def _choice(self, choice: Body) -> bool:
        index = choice.get("index")
        index = index if type(index) is int else 0
        delta = choice.get("delta")
        changed = isinstance(delta, dict) and self._delta(delta, index)
        reason = _reason(choice)
        if not reason:
            if choice.get("finish_reason") == "":
                choice["finish_reason"], changed = None, True
            return changed
        mender = self._calls.get(index)
        left = mender.finish() if mender else []
        if left:
            held = delta if isinstance(delta, dict) else {}
            choice["delta"] = {**held, "tool_calls": [*(held.get("tool_calls") or ()), *left]}
        return _mend_reason(choice, calls=bool(mender), function=index in self._functions) or bool(left) or changed

    def _delta(self, delta: Body, index: int) -> bool:
        changed = mend_thoughts(delta)
        entries = delta.get("tool_calls")
        if isinstance(entries, dict):
            entries, changed = [entries], True
        if isinstance(entries, list) and entries:
            mender = self._calls.setdefault(index, CallMender())
            mended = mender.mend(entries)
            if mended:
                delta["tool_calls"] = mended
            else:
                del delta["tool_calls"]
            changed |= mended is not entries
        function = delta.get("function_call")
        if isinstance(function, dict) and function:
            self._functions.add(index)
            given = function.get("arguments")
            if given is not None and not isinstance(given, str):
                delta["function_call"] = mend_function(function)
                changed = True
        return changed
