"""Translates Gemini's responses: errors and blocked prompts to an Outcome, candidates to OpenAI messages and deltas.

An error: `{"error": {"code": 429, "message", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "….RetryInfo",
…}]}}`

Sources: https://ai.google.dev/gemini-api/docs/troubleshooting, https://cloud.google.com/apis/design/errors,
https://ai.google.dev/api/generate-content#generatecontentresponse
"""

import math
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from worker.core.pricing.usage import count, unsaid

from ...routing.health import Outcome
from ..shared import failure
from ..shared.events import DONE, Event, Reader
from ..shared.failure import says_error, says_of_key, words
from ..shared.wire import UNEXPECTED, UNREADABLE, Plain, json_object
from .request import SIGNATURE_MARK

_RETRY = "google.rpc.RetryInfo"
_REASON = "google.rpc.ErrorInfo"
_OF_ANSWERS = ("candidates", "promptFeedback", "usageMetadata", "responseId", "modelVersion")
# Reasons of a 400 that concern our key or account.
_OURS = frozenset(("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "SERVICE_DISABLED", "BILLING_DISABLED"))


def from_response(status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
    """Maps a response whose status is not 200."""
    outcome = failure.from_response(status, headers, raw)
    error = failure.error_fields(raw)
    listed = error.get("details")
    details = [d for d in listed if isinstance(d, dict)] if isinstance(listed, list) else []
    if outcome.kind == "caller" and (
        # This status also applies to a file that is not ready.
        (error.get("status") == "FAILED_PRECONDITION" and says_of_key("", "", outcome.message.lower()))
        or any(str(d.get("reason")) in _OURS for d in _of_type(details, _REASON))
    ):
        outcome = Outcome("authentication", status, failure.credentials_refused(status))
    wait = next((_seconds(d.get("retryDelay")) for d in _of_type(details, _RETRY)), None)
    if wait is None or outcome.retry_after is not None:
        return outcome
    return outcome._replace(retry_after=wait, headers=(*outcome.headers, ("retry-after", str(math.ceil(wait)))))


def instead_of_answer(said: Mapping[str, Any]) -> Outcome | None:
    """The failure in a response with status 200 or in the first event of a stream: an error or a blocked prompt."""
    if says_error(said):
        return failure.from_error_event(said)
    if not any(name in said for name in _OF_ANSWERS) and words(said):
        return failure.from_error_event(said)
    feedback = said.get("promptFeedback")
    if not isinstance(feedback, dict) or not feedback.get("blockReason") or said.get("candidates"):
        return None
    why = feedback.get("blockReasonMessage") or f"The prompt was blocked ({feedback['blockReason']})."
    return Outcome("content_policy", 400, failure.shown(str(why)), code="content_filter", param="messages")


def _of_type(details: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [d for d in details if str(d.get("@type")).endswith(name)]


def _seconds(text: Any) -> float | None:
    """Parses Google's duration format, `"34.07s"`."""
    try:
        seconds = float(str(text).removesuffix("s"))
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


_FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "FINISH_REASON_UNSPECIFIED": "stop",
}
# The model failed to produce a response, and Google withholds what it wrote.
_BROKEN = frozenset(
    (
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
    )
)
_OTHER = "OTHER"
# All other reasons are filters (SAFETY, RECITATION, BLOCKLIST, …) or equivalent to one.
_FILTERED = "content_filter"


Usage = dict[str, Any]


class Grounded(NamedTuple):
    """How often Google's tools were asked, by LiteLLM's names in `prompt_tokens_details`."""

    web_search_requests: int = 0
    google_maps_grounding_requests: int = 0


NOT_GROUNDED = Grounded()


def plain(raw: bytes, name: str, created: int, *, fetches: bool = False) -> Plain | Outcome:
    """Translates a complete response with status 200.

    `name` is the model's public name, `created` is in seconds since the epoch, and `fetches` is as in `usage`.
    """
    said = json_object(raw)
    if isinstance(said, Outcome):
        return said
    failed = instead_of_answer(said)
    if failed is not None:
        return failed
    try:
        return _plain(said, name, created, fetches)
    except UNEXPECTED:
        return UNREADABLE


def _plain(said: Mapping[str, Any], name: str, created: int, fetches: bool) -> Plain | Outcome:
    found = candidates(said)
    if not found:
        return Outcome("server", 0, "The provider's response has no candidates.")
    failures = [broken_off(candidate, said=False) for _, candidate in found]
    if all(failures) and failures[0] is not None:
        return failures[0]
    used = usage(said, fetches=fetches)
    body: dict[str, Any] = {
        "id": identity(said),
        "object": "chat.completion",
        "created": created,
        "model": name,
        "choices": [_choice(candidate, index) for index, candidate in found],
    }
    body.update(grounding(found))
    if used is not None:
        body["usage"] = used
    return Plain(orjson.dumps(body), used)


def candidates(said: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """The candidates with their indexes."""
    listed = said.get("candidates")
    if not isinstance(listed, list):
        return []
    return [(c.get("index", at), c) for at, c in enumerate(listed) if isinstance(c, dict)]


def identity(said: Mapping[str, Any]) -> str:
    return said.get("responseId") or f"chatcmpl-{uuid.uuid4().hex}"


def broken_off(candidate: Mapping[str, Any], *, said: bool) -> Outcome | None:
    """The failure that ended a candidate, or None. `said` means that the candidate had content before."""
    reason = candidate.get("finishReason")
    if reason not in _BROKEN and (reason != _OTHER or said or any(message_delta(candidate, 0).values())):
        return None
    why = candidate.get("finishMessage")
    message = failure.shown(f"The model failed to produce a response ({reason}){f': {why}' if why else '.'}")
    return Outcome("server", 0, message, unread=True, blameless=True)


def finish_reason(reason: str, *, called: bool) -> str:
    """OpenAI's finish reason. `called` means that the candidate called a tool."""
    mapped = _FINISH.get(reason, _FILTERED)
    return "tool_calls" if called and mapped == "stop" else mapped


def message_delta(candidate: Mapping[str, Any], calls_before: int) -> dict[str, Any]:
    """Translates a candidate to `content`, `reasoning_content`, `tool_calls` and thought signatures, where present.

    `calls_before` is the number of calls that the candidate has made in earlier events.
    """
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    signatures: list[str] = []
    for part in parts or ():
        signature = part.get("thoughtSignature")
        if signature:
            signatures.append(signature)
        text = part.get("text")
        if text is None and "inlineData" in part:
            text = _data_url(part["inlineData"])
        if part.get("thought") is True:
            thoughts.append(text or "")
            blocks.append(
                {"type": "thinking", "thinking": text or "", **({"signature": signature} if signature else {})}
            )
        elif text is not None:
            texts.append(text)
        elif "functionCall" in part:
            calls.append(_call(part["functionCall"], signature, calls_before + len(calls)))
    said: dict[str, Any] = {}
    if texts:
        said["content"] = "".join(texts)
    if thoughts:
        said["reasoning_content"] = "".join(thoughts)
        said["thinking_blocks"] = blocks
    if calls:
        said["tool_calls"] = calls
    if signatures:
        said["provider_specific_fields"] = {"thought_signatures": signatures}
    cited = _citations(candidate)
    if cited:
        said["annotations"] = cited
    return said


def logprobs(candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    result = candidate.get("logprobsResult")
    if not isinstance(result, dict) or not result.get("chosenCandidates"):
        return None
    tops = [t.get("candidates") or [] for t in result.get("topCandidates") or ()]
    return {
        "content": [
            {**_token(token), "top_logprobs": [_token(t) for t in (tops[at] if at < len(tops) else ())]}
            for at, token in enumerate(result["chosenCandidates"])
        ]
    }


def usage(said: Mapping[str, Any], *, fetches: bool = False, grounded: Grounded | None = None) -> Usage | None:
    """Translates the usage to OpenAI's format.

    Reasoning counts as output. Tokens that Google's tools added count as input, unless there were only searches, which
    are billed per search. `fetches` means that the request lets Gemini fetch web pages. `grounded`: of the whole
    stream so far; by default of `said` alone.
    """
    counts = said.get("usageMetadata")
    if not isinstance(counts, dict):
        return None
    prompt, answered = count(counts, "promptTokenCount"), count(counts, "candidatesTokenCount")
    thought, fed = count(counts, "thoughtsTokenCount"), count(counts, "toolUsePromptTokenCount")
    completion = answered
    if thought and prompt + answered + fed != count(counts, "totalTokenCount"):
        completion += thought  # otherwise `candidatesTokenCount` already includes it
    if prompt:
        completion += unsaid(counts, "totalTokenCount", prompt + fed + completion)
    if fed and (fetches or not _only_searched(said)):
        prompt += fed
    heard, made = _by_kind(counts, "promptTokensDetails"), _by_kind(counts, "candidatesTokensDetails")
    details = {"reasoning_tokens": thought, "audio_tokens": made.get("AUDIO", 0)}
    if made.get("IMAGE"):
        details["image_tokens"] = made["IMAGE"]
    read = {"cached_tokens": count(counts, "cachedContentTokenCount"), "audio_tokens": heard.get("AUDIO", 0)}
    read.update((name, times) for name, times in (grounded or grounded_by(said))._asdict().items() if times)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": read,
        "completion_tokens_details": details,
    }


def grounded_by(said: Mapping[str, Any], before: Grounded = NOT_GROUNDED) -> Grounded:
    """What Google's tools did for an answer. An event of a stream may repeat what earlier ones said."""
    queries: dict[str, None] = {}
    mapped = 0
    for _, candidate in candidates(said):
        found = candidate.get("groundingMetadata")
        if isinstance(found, dict):
            queries.update(dict.fromkeys(map(str, found.get("webSearchQueries") or ())))
            mapped += any("maps" in chunk for chunk in found.get("groundingChunks") or () if isinstance(chunk, dict))
    return Grounded(max(before[0], len(queries)), max(before[1], mapped))


def grounding(found: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """The sources of a grounded response, under LiteLLM's field name."""
    sources = [c["groundingMetadata"] for _, c in found if c.get("groundingMetadata")]
    return {"vertex_ai_grounding_metadata": sources} if sources else {}


def _choice(candidate: dict[str, Any], index: int) -> dict[str, Any]:
    said = message_delta(candidate, 0)
    for call in said.get("tool_calls") or ():
        del call["index"]
    reason = finish_reason(candidate.get("finishReason") or "STOP", called="tool_calls" in said)
    message = {"role": "assistant", "content": None, **said}
    return {"index": index, "message": message, "finish_reason": reason, "logprobs": logprobs(candidate)}


def _call(call: Mapping[str, Any], signature: str | None, index: int) -> dict[str, Any]:
    id = call.get("id") or f"call_{uuid.uuid4().hex[:28]}"
    made: dict[str, Any] = {
        "index": index,
        "id": f"{id}{SIGNATURE_MARK}{signature}" if signature else id,
        "type": "function",
        "function": {"name": call.get("name") or "", "arguments": orjson.dumps(call.get("args") or {}).decode()},
    }
    if signature:
        made["provider_specific_fields"] = {"thought_signature": signature}
    return made


def _data_url(blob: Mapping[str, Any]) -> str:
    return f"data:{blob.get('mimeType', '')};base64,{blob.get('data', '')}"


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    text = token.get("token") or ""
    return {"token": text, "logprob": token.get("logProbability"), "bytes": list(text.encode())}


def _citations(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The web pages cited in the text, as OpenAI annotations."""
    found = candidate.get("groundingMetadata")
    if not isinstance(found, dict):
        return []
    chunks = found.get("groundingChunks") or []
    cited = []
    for support in found.get("groundingSupports") or ():
        segment, behind = support.get("segment") or {}, support.get("groundingChunkIndices") or []
        web = chunks[behind[0]].get("web") if behind and behind[0] < len(chunks) else None
        if web and segment.get("endIndex") is not None:
            place = {"start_index": segment.get("startIndex", 0), "end_index": segment["endIndex"]}
            page = {"url": web.get("uri", ""), "title": web.get("title", "")}
            cited.append({"type": "url_citation", "url_citation": {**place, **page}})
    return cited


def _only_searched(said: Mapping[str, Any]) -> bool:
    """Whether only searches were used. Fetched pages are billed per token, even alongside a search."""
    found = [c for _, c in candidates(said)]
    searched = any(_searched(c.get("groundingMetadata")) for c in found)
    return searched and not any(c.get("urlContextMetadata") for c in found)


def _searched(found: Any) -> bool:
    return isinstance(found, dict) and bool(found.get("webSearchQueries"))


def _by_kind(counts: Mapping[str, Any], name: str) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for detail in counts.get(name) or ():
        kind = str(detail.get("modality"))
        kinds[kind] = kinds.get(kind, 0) + count(detail, "tokenCount")
    return kinds


# Streams. Each event is a complete response object with the next piece of each candidate. There is no `[DONE]`: the
# response is complete when every candidate has its `finishReason`.
# https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent


class _Broken(Exception):
    """A candidate ended in a failure."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class GeminiEvents:
    """An `Events` (container/formats/shared/wire.py).

    `wants_usage` means that the client requested a usage chunk. `created` is in seconds since the epoch. `fetches` is
    as in `usage`.
    """

    def __init__(self, name: str, created: int, *, wants_usage: bool, fetches: bool = False) -> None:
        self.usage: dict[str, Any] | None = None
        self.failed: Outcome | None = None
        self._name = name
        self._created = created
        self._wants_usage = wants_usage
        self._fetches = fetches
        self._grounded = NOT_GROUNDED
        self._reader = Reader()
        self._head = b""  # the start of every chunk, up to its choices
        self._refusal: Outcome | None = None  # an error before the response has begun
        self._calls: dict[int, int] = {}  # the number of calls made so far, by candidate
        self._ended: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        """Raises OversizedEvent."""
        return self._translated(self._reader.feed(data))

    def end(self) -> bytes:
        said = self._translated(self._reader.end())
        if self.cut_off or self.failed or self._refusal:
            return said
        if self._wants_usage and self.usage is not None:
            said += self._chunk([], b',"usage":' + orjson.dumps(self.usage))
        return said + DONE

    def begins(self, new: bytes) -> bool | Outcome:
        return self._refusal or bool(new)

    @property
    def cut_off(self) -> bool:
        return not self.failed and (not self._calls or self._ended != self._calls.keys())

    def _translated(self, events: list[Event]) -> bytes:
        chunks = []
        for said in events:
            if self.failed or self._refusal:
                break
            failed = instead_of_answer(said)
            try:
                chunks.append(self._event(said) if failed is None else self._failure(failed))
            except _Broken as found:
                chunks.append(self._failure(found.outcome))
            except UNEXPECTED:
                chunks.append(self._failure(UNREADABLE))
        return b"".join(chunks)

    def _failure(self, failed: Outcome) -> bytes:
        """Records a failure. If the response has begun, the client receives an error event; else another deployment
        takes over.
        """
        if not self._calls:
            self._refusal = failed
            return b""
        self.failed = failed
        return failure.error_event(failed)

    def _event(self, said: Event) -> bytes:
        self._grounded = grounded_by(said, self._grounded)
        used = usage(said, fetches=self._fetches, grounded=self._grounded)
        if used is not None:
            self.usage = used
        if not self._head:
            self._head = self._begin(said)
        found = candidates(said)
        choices = [choice for index, candidate in found for choice in self._choices(index, candidate)]
        if not choices:
            return b""
        sources = grounding(found)
        more = b"," + orjson.dumps(sources)[1:-1] if sources else b""
        return self._chunk(choices[:1], more) + b"".join(self._chunk([c]) for c in choices[1:])

    def _choices(self, index: int, candidate: dict[str, Any]) -> list[dict[str, Any]]:
        """The candidate's content and, in a separate chunk, its finish reason."""
        reason = candidate.get("finishReason")
        begun = index in self._calls
        broken = broken_off(candidate, said=begun) if reason else None
        if broken is not None:
            raise _Broken(broken)
        delta = message_delta(candidate, self._calls.get(index, 0))
        self._calls[index] = self._calls.get(index, 0) + len(delta.get("tool_calls") or ())
        choices: list[dict[str, Any]] = []
        if not begun:
            delta = {"role": "assistant", "content": None, **delta}
        if delta:
            choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": None}
            probabilities = logprobs(candidate)
            if probabilities is not None:
                choice["logprobs"] = probabilities
            choices.append(choice)
        if reason:
            self._ended.add(index)
            finish = finish_reason(reason, called=self._calls[index] > 0)
            choices.append({"index": index, "delta": {}, "finish_reason": finish})
        return choices

    def _begin(self, said: Event) -> bytes:
        head = {
            "id": identity(said),
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._name,
        }
        return b"data: " + orjson.dumps(head)[:-1] + b',"choices":'

    def _chunk(self, choices: list[dict[str, Any]], more: bytes = b"") -> bytes:
        return self._head + orjson.dumps(choices) + more + b"}\n\n"
