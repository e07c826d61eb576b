"""Corrects responses of OpenAI-compatible servers that deviate from OpenAI's format.

`ChunkMender` corrects a stream chunk by chunk and keeps state for it. Complete responses need no state. Failures are
detected here as well, because some servers report them with status 200 next to `choices`.
"""

from typing import Any

from ...routing.outcome import Outcome
from .error_body import says_error
from .failure import from_error_event
from .reasoning import BEFORE_A_TAG, mend_thoughts, split_tagged
from .tool_calls import CallMender, mend_calls, mend_function

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
_WHOLE = ("stop", "length")
_ODD_FIELDS = frozenset(("tool_calls", "function_call", "reasoning", "reasoning_details"))
ORDINARY_FINISH = frozenset(("stop", "length", "content_filter", "tool_calls", "function_call"))

Body = dict[str, Any]


def is_ordinary(body: Body) -> bool:
    """Whether a complete response is plain text in OpenAI's format. Nearly all are, and they need no further checks."""
    choices = body.get("choices")
    if type(choices) is not list or len(choices) != 1 or body.get("error") or "base_resp" in body:
        return False
    choice = choices[0]
    message = choice.get("message") if type(choice) is dict else None
    if type(message) is not dict or choice.get("finish_reason") not in _WHOLE or "error" in choice:
        return False
    content = message.get("content")
    if type(content) is not str or content[:1] in BEFORE_A_TAG or not _ODD_FIELDS.isdisjoint(message):
        return False
    return type(message.get("reasoning_content", "")) is str


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
