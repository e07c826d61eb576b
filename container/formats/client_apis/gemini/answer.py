"""Translates chat completions to responses of Gemini's API, complete or streaming.

Gemini sends a function call in one piece, so the pieces of a call are kept until its candidate is complete. Every event
of a stream is a response object, and the last one of each candidate has its finish reason and the usage.
https://ai.google.dev/api/generate-content#generatecontentresponse
"""

from collections.abc import Mapping
from typing import Any

import orjson

from worker.core.api.errors import upstream_failed
from worker.core.pricing.usage import cached_elsewhere, count

from ....routing.health import Outcome
from ...shared.mend import arguments_text
from ...shared.tool_identifiers import SIGNATURE_MARK
from ...shared.wire import Events
from ..over_chat import EventsOfChat
from .request import sealed_signature

FINISH = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}
Part = dict[str, Any]


def response(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Translates a chat completion. `name` is the model's public name."""
    made: dict[str, Any] = {"candidates": [_candidate(choice) for choice in body.get("choices") or ()]}
    used = body.get("usage")
    if used:
        made["usageMetadata"] = usage_metadata(used)
    return {**made, "modelVersion": name, "responseId": str(body.get("id") or "")}


def usage_metadata(said: Any) -> dict[str, Any]:
    """Translates the usage. Google counts reasoning apart from the answer."""
    counts = said if isinstance(said, dict) else {}
    details, made = _details(counts, "prompt_tokens_details"), _details(counts, "completion_tokens_details")
    prompt, completion = count(counts, "prompt_tokens"), count(counts, "completion_tokens")
    thought = min(count(made, "reasoning_tokens"), completion)
    metadata = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": completion - thought,
        "totalTokenCount": prompt + completion,
    }
    if thought:
        metadata["thoughtsTokenCount"] = thought
    cached = count(details, "cached_tokens") or cached_elsewhere(counts)
    if cached:
        metadata["cachedContentTokenCount"] = cached
    return metadata


def _details(counts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = counts.get(name)
    return details if isinstance(details, dict) else {}


def _candidate(choice: Mapping[str, Any]) -> dict[str, Any]:
    said = choice.get("message") or {}
    blocks = said.get("thinking_blocks") or []
    parts: list[Part] = []
    if said.get("reasoning_content"):
        parts.append({"text": said["reasoning_content"], "thought": True})
    text = said.get("content") or said.get("refusal")
    if text:
        parts.append({"text": text})
    calls = [(call.get("id"), call.get("function") or {}) for call in said.get("tool_calls") or ()]
    if said.get("function_call"):
        calls.append((None, said["function_call"]))
    parts += _calls([(id, f.get("name"), f.get("arguments")) for id, f in calls], blocks)
    reason = "content_filter" if said.get("refusal") else choice.get("finish_reason")
    made = _ended(choice.get("index") or 0, parts, reason)
    probabilities = choice.get("logprobs")
    if isinstance(probabilities, dict) and probabilities.get("content"):
        made["logprobsResult"] = logprobs(probabilities["content"])
    return made


def _ended(index: int, parts: list[Part], reason: Any) -> dict[str, Any]:
    return {
        "content": {"parts": parts, "role": "model"},
        "finishReason": FINISH.get(str(reason), "STOP"),
        "index": index,
    }


def _calls(calls: list[tuple[Any, Any, Any]], blocks: list[Any]) -> list[Part]:
    """The parts of calls, each an id, a name and arguments. The first carries the signed reasoning before them."""
    parts: list[Part] = []
    for id, name, given in calls:
        bare, _, signature = str(id or "").partition(SIGNATURE_MARK)
        call = {"name": name or "", "args": arguments(given), **({"id": bare} if bare else {})}
        parts.append({"functionCall": call, **({"thoughtSignature": signature} if signature else {})})
    if parts and blocks and "thoughtSignature" not in parts[0]:
        parts[0]["thoughtSignature"] = sealed_signature(blocks)
    return parts


def arguments(given: Any) -> dict[str, Any]:
    """Parses call arguments. Models sometimes write invalid JSON."""
    try:
        found = orjson.loads(given) if isinstance(given, str | bytes) and given else given
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def logprobs(tokens: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "chosenCandidates": [_token(token) for token in tokens],
        "topCandidates": [{"candidates": [_token(one) for one in t.get("top_logprobs") or ()]} for t in tokens],
    }


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": token.get("token"), "logProbability": token.get("logprob")}


class _Candidate:
    """A candidate of a stream. `calls` has the pieces of each call: its id, name and arguments."""

    __slots__ = ("blocks", "calls", "reason")

    def __init__(self) -> None:
        self.calls: dict[int, list[Any]] = {}
        self.blocks: list[dict[str, Any]] = []
        self.reason: Any = None

    def call(self, key: int, id: Any, name: Any, pieces: str) -> None:
        call = self.calls.setdefault(key, [None, "", []])
        call[0] = call[0] or id
        call[1] += name or ""
        call[2].append(pieces)

    def think(self, blocks: list[Any]) -> None:
        """Joins the pieces of thinking blocks. A signature completes its block."""
        for block in blocks:
            last = self.blocks[-1] if self.blocks else None
            if last is None or block.get("type") != "thinking" or last.get("type") != "thinking" or "signature" in last:
                self.blocks.append(dict(block))
                continue
            last["thinking"] += block.get("thinking") or ""
            if block.get("signature"):
                last["signature"] = block["signature"]

    def parts(self) -> list[Part]:
        whole = [(id, name, "".join(pieces)) for id, name, pieces in self.calls.values()]
        return _calls(whole, [block for block in self.blocks if "signature" in block or block.get("data")])


class ContentEvents(EventsOfChat):
    """Translates a stream. `inner` turns the provider's stream into chat completion chunks.

    `unsent` counts as part of the response if the client leaves: the pieces of calls that are not complete.
    """

    def __init__(self, inner: Events, name: str) -> None:
        super().__init__(inner)
        self._name = name
        self._identity = ""
        self._candidates: dict[int, _Candidate] = {}

    @property
    def unsent(self) -> bytes:
        if self._ended:
            return b""
        pieces = "".join("".join(call[2]) for c in self._candidates.values() for call in c.calls.values())
        return self._event([{"content": {"parts": [{"text": pieces}]}}]) if pieces else b""

    def _last(self, said: Mapping[str, Any] | None) -> bytes:
        ended = [_ended(index, c.parts(), c.reason) for index, c in sorted(self._candidates.items())]
        return self._event(ended or [_ended(0, [], None)], {"usageMetadata": usage_metadata(said)})

    def _failure(self, outcome: Outcome) -> bytes:
        return error_event(outcome.message)

    def _chunk(self, chunk: Mapping[str, Any]) -> bytes:
        if chunk.get("error") and not chunk.get("choices"):
            said = chunk["error"]
            return error_event(str(said.get("message") if isinstance(said, dict) else said))
        told = [self._choice(choice) for choice in chunk.get("choices") or ()]
        self._started = True
        self._identity = self._identity or str(chunk.get("id") or "-")
        made = [one for one in told if one is not None]
        return self._event(made) if made else b""

    def _choice(self, choice: Mapping[str, Any]) -> dict[str, Any] | None:
        index = choice.get("index") or 0
        candidate = self._candidates.setdefault(index, _Candidate())
        delta = choice.get("delta") or {}
        parts: list[Part] = []
        if delta.get("reasoning_content"):
            parts.append({"text": delta["reasoning_content"], "thought": True})
        text = delta.get("content") or delta.get("refusal")
        if text:
            parts.append({"text": text})
        candidate.think(delta.get("thinking_blocks") or [])
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            pieces = arguments_text(function.get("arguments"))
            candidate.call(call.get("index") or 0, call.get("id"), function.get("name"), pieces)
        function = delta.get("function_call")
        if function:
            candidate.call(-1, None, function.get("name"), arguments_text(function.get("arguments")))
        candidate.reason = choice.get("finish_reason") or candidate.reason
        if delta.get("refusal"):
            candidate.reason = "content_filter"
        if not parts:
            return None
        made: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": index}
        probabilities = choice.get("logprobs")
        if isinstance(probabilities, dict) and probabilities.get("content"):
            made["logprobsResult"] = logprobs(probabilities["content"])
        return made

    def _event(self, candidates: list[dict[str, Any]], more: Mapping[str, Any] | None = None) -> bytes:
        said = {"candidates": candidates, **(more or {}), "modelVersion": self._name, "responseId": self._identity}
        return b"data: " + orjson.dumps(said) + b"\n\n"


def error_event(message: str) -> bytes:
    """An event that reports a failure in the middle of a response."""
    return b"data: " + orjson.dumps(upstream_failed(502, message).fields("google")) + b"\n\n"
