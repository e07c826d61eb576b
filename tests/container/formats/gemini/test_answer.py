"""Gemini's responses in OpenAI's format. tests/differential/test_gemini.py compares them with LiteLLM's."""

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.gemini import answer
from container.formats.gemini.answer import GeminiEvents
from container.formats.shared.wire import Plain
from container.routing.health import Outcome
from worker.core.pricing.usage import Usage, usage


def response(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return {"candidates": [{**candidate, **({"finishReason": finish} if finish else {})}], "responseId": "r", **more}


def plain(said: Any) -> Any:
    found = answer.plain(orjson.dumps(said), "public", 1)
    assert isinstance(found, Plain), found
    return orjson.loads(found.body)


def event(said: Any) -> bytes:
    return b"data: " + orjson.dumps(said) + b"\r\n\r\n"


def chunks(data: bytes) -> list[Any]:
    events = [line[6:] for line in data.splitlines() if line.startswith(b"data: ")]
    return [e if e == b"[DONE]" else orjson.loads(e) for e in events]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
     ("BLOCKLIST", "content_filter"), ("SOMETHING_NEW", "content_filter"), ("OTHER", "content_filter")],
)  # fmt: skip
def test_finish_reasons(reason, expected):
    """Accepted difference: LiteLLM drops the text of a response that a filter cut off. We keep it."""
    choice = plain(response({"text": "so far"}, finish=reason))["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == (expected, "so far")


BROKEN = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
          "MISSING_THOUGHT_SIGNATURE")  # fmt: skip


@pytest.mark.parametrize("reason", [*BROKEN, "OTHER"])
def test_malformed_call_is_a_failure(reason):
    said = {"candidates": [{"finishReason": reason, "finishMessage": "Malformed call: print(", "index": 0}]}
    found = answer.plain(orjson.dumps(said), "public", 1)
    assert isinstance(found, Outcome)
    assert (found.kind, found.blameless) == ("server", True)
    assert "Malformed call" in found.message
    events = GeminiEvents("public", 1, wants_usage=False)
    began = events.begins(events.feed(event(said)))
    assert isinstance(began, Outcome)
    assert began.kind == "server"


@pytest.mark.parametrize("reason", BROKEN)
def test_malformed_call_in_mid_stream_is_an_error_event(reason):
    events = GeminiEvents("public", 1, wants_usage=False)
    assert events.begins(events.feed(event(response({"text": "so"}, finish=None)))) is True
    [said] = chunks(events.feed(event({"candidates": [{"finishReason": reason, "index": 0}]})))
    assert reason in said["error"]["message"]
    assert events.failed is not None
    assert events.end() == b""


def test_truncated_call_is_not_reported_as_tool_calls():
    """Accepted difference: LiteLLM always reports `tool_calls`, whatever the finish reason."""
    call = {"functionCall": {"name": "f", "args": {}}}
    assert plain(response(call, finish="MAX_TOKENS"))["choices"][0]["finish_reason"] == "length"
    assert plain(response(call))["choices"][0]["finish_reason"] == "tool_calls"


def test_thoughts_signatures_and_calls():
    message = plain(
        response(
            {"text": "hm", "thought": True, "thoughtSignature": "s0"},
            {"text": "Let me see."},
            {"functionCall": {"name": "f", "args": {"a": "ü"}}, "thoughtSignature": "s1"},
            {"functionCall": {"name": "g", "args": {}, "id": "fc-2"}},
        )
    )["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("hm", "Let me see.")
    assert message["thinking_blocks"] == [{"type": "thinking", "thinking": "hm", "signature": "s0"}]
    first, second = message["tool_calls"]
    assert first["id"].startswith("call_")
    assert first["id"].endswith("__thought__s1")
    assert first["provider_specific_fields"] == {"thought_signature": "s1"}
    assert first["function"] == {"name": "f", "arguments": '{"a":"ü"}'}
    assert (second["id"], "index" in second) == ("fc-2", False)
    assert message["provider_specific_fields"] == {"thought_signatures": ["s0", "s1"]}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}, Usage(10, 5)),
        (
            {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 22},
            Usage(10, 12, reasoning=7),
        ),
        (
            {"promptTokenCount": 10, "candidatesTokenCount": 12, "thoughtsTokenCount": 7, "totalTokenCount": 22},
            Usage(10, 12, reasoning=7),
        ),
        (
            {"promptTokenCount": 10, "cachedContentTokenCount": 8, "thoughtsTokenCount": 7, "totalTokenCount": 17},
            Usage(10, 7, cached=8, reasoning=7),
        ),
        (
            {"promptTokenCount": 10, "toolUsePromptTokenCount": 90, "candidatesTokenCount": 5, "totalTokenCount": 105},
            Usage(100, 5),
        ),
        (
            {
                "promptTokenCount": 9,
                "totalTokenCount": 9,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
            },
            Usage(9, 0, audio_prompt=4),
        ),
    ],
)
def test_usage(counts, expected):
    assert usage(plain(response({"text": "x"}, usageMetadata=counts))["usage"]) == expected


def test_logprobs():
    result = {
        "chosenCandidates": [{"token": "ü", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "u", "logProbability": -1.5}]}],
    }
    said = response({"text": "ü"})
    said["candidates"][0]["logprobsResult"] = result
    assert plain(said)["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": "ü",
                "logprob": -0.5,
                "bytes": [195, 188],
                "top_logprobs": [{"token": "u", "logprob": -1.5, "bytes": [117]}],
            }
        ]
    }


def test_grounding_sources_are_returned():
    said = response({"text": "It rains."})
    said["candidates"][0]["groundingMetadata"] = {
        "webSearchQueries": ["weather"],
        "groundingChunks": [{"web": {"uri": "https://a.b", "title": "A"}}],
        "groundingSupports": [{"segment": {"endIndex": 9}, "groundingChunkIndices": [0]}],
    }
    [cited] = plain(said)["choices"][0]["message"]["annotations"]
    assert cited["url_citation"] == {"start_index": 0, "end_index": 9, "url": "https://a.b", "title": "A"}


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"detail": "x"}', b'{"error": ["x"]}',
     b'{"candidates": []}', b'{"candidates": [{"content": {"parts": [1]}}]}', b"<html>",
     b'{"candidates": [{"content": {"parts": {"a": 1}}}]}', b'{"candidates": [{"finishReason": [1]}]}'],
)  # fmt: skip
def test_invalid_response_is_a_failure(raw):
    found = answer.plain(raw, "public", 1)
    assert isinstance(found, Outcome)
    assert found.kind == "server"


# Streams


STREAM = b"".join(
    (
        event(response({"text": "hm", "thought": True}, finish=None)),
        event(response({"text": "Hällo "}, finish=None, usageMetadata={"promptTokenCount": 3, "totalTokenCount": 3})),
        event(response({"functionCall": {"name": "f", "args": {}, "id": "1"}}, finish=None)),
        event(response({"functionCall": {"name": "g", "args": {}, "id": "2"}}, finish=None)),
        event(
            response(
                {"text": ""},
                usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
            )
        ),
    )
)


def translate(pieces: list[bytes], **options: Any) -> tuple[list[Any], GeminiEvents]:
    events = GeminiEvents("public", 1, **{"wants_usage": True, **options})
    data = b"".join([events.feed(piece) for piece in pieces])
    return chunks(data + events.end()), events


def test_a_stream():
    found, events = translate([STREAM])
    *said, finish, usage_chunk, done = found
    assert next(c["choices"][0]["delta"] for c in said)["role"] == "assistant"
    calls = [call for c in said for call in c["choices"][0]["delta"].get("tool_calls", ())]
    assert [(call["index"], call["id"]) for call in calls] == [(0, "1"), (1, "2")]
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    assert usage_chunk["choices"] == []
    assert usage_chunk["usage"] == events.usage
    assert done == b"[DONE]"
    assert {(c["id"], c["model"], c["created"]) for c in found[:-1]} == {("r", "public", 1)}
    assert not events.cut_off


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_result_does_not_depend_on_the_split(cuts: list[int]):
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert translate(pieces)[0] == translate([STREAM])[0]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_last_blank_line_may_be_missing(line_end):
    data = STREAM.replace(b"\r\n", line_end).rstrip(b"\r\n")
    assert translate([data])[0] == translate([STREAM])[0]


def test_stream_without_an_end_is_cut_off():
    whole = [piece + b"\r\n\r\n" for piece in STREAM.split(b"\r\n\r\n")[:-1]]
    for count in range(len(whole)):
        found, events = translate(whole[:count])
        assert events.cut_off
        assert b"[DONE]" not in found


def test_several_choices_are_kept_apart():
    def both(first: str, second: str, finish: str | None) -> bytes:
        said = response({"text": first}, finish=finish)
        other = {**response({"text": second}, finish=finish)["candidates"][0], "index": 1}
        return event({**said, "candidates": [*said["candidates"], other]})

    found, events = translate([both("a", "b", None), both("c", "d", "STOP")])
    texts: dict[int, str] = {}
    for chunk in found[:-1]:
        for choice in chunk["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
    assert texts == {0: "ac", 1: "bd"}
    assert not events.cut_off


def test_error_is_an_outcome_before_the_content_and_an_event_after_it():
    error = event({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
    events = GeminiEvents("public", 1, wants_usage=False)
    began = events.begins(events.feed(error))
    assert isinstance(began, Outcome)
    assert (began.kind, began.status) == ("server", 503)
    events = GeminiEvents("public", 1, wants_usage=False)
    assert events.begins(events.feed(event(response({"text": "so"}, finish=None)))) is True
    [said] = chunks(events.feed(error + event(response({"text": "late"}))))
    assert "overloaded" in said["error"]["message"]
    assert events.failed
    assert events.end() == b""


def test_undocumented_event_is_a_failure():
    events = GeminiEvents("public", 1, wants_usage=False)
    began = events.begins(events.feed(event({"candidates": [{"content": {"parts": ["text"]}}]})))
    assert isinstance(began, Outcome)


# Errors


def refused(code: int, **error: Any) -> Outcome:
    return answer.from_response(code, {}, orjson.dumps({"error": {"code": code, "message": "m", **error}}))


def detail(kind: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (refused(400, status="INVALID_ARGUMENT"), "caller"),
        (
            refused(400, status="INVALID_ARGUMENT", details=detail("ErrorInfo", reason="API_KEY_INVALID")),
            "authentication",
        ),
        (
            refused(400, status="FAILED_PRECONDITION", message="User location is not supported for the API use."),
            "authentication",
        ),
        (
            refused(
                400, status="FAILED_PRECONDITION", message="The File x is not in an ACTIVE state, usage not allowed"
            ),
            "caller",
        ),
        (refused(400, details=5), "caller"),
        (refused(400, details=detail("ErrorInfo", reason=["API_KEY_INVALID"])), "caller"),
        (refused(403, status="PERMISSION_DENIED"), "authentication"),
        (refused(404, status="NOT_FOUND"), "not_found"),
        (refused(429, status="RESOURCE_EXHAUSTED"), "rate_limit"),
        (refused(503, status="UNAVAILABLE"), "server"),
        (refused(504, status="DEADLINE_EXCEEDED"), "timeout"),
        (
            refused(400, message="The input token count (9) exceeds the maximum number of tokens allowed (1)."),
            "context_window",
        ),
    ],
)
def test_errors_are_classified(outcome, kind):
    assert outcome.kind == kind


def test_googles_retry_delay_becomes_retry_after():
    assert refused(429, details=detail("RetryInfo", retryDelay="34.07s")).retry_after == 34.07
    assert refused(429, details=detail("RetryInfo", retryDelay="soon")).retry_after is None
    assert refused(429, details=detail("RetryInfo", retryDelay="infs")).retry_after is None
    listed = answer.from_response(429, {}, orjson.dumps([{"error": {"details": detail("RetryInfo", retryDelay="2s")}}]))
    assert listed.retry_after == 2


# Usage.

SEARCHED = {"groundingMetadata": {"webSearchQueries": ["q"]}}
FETCHED = {"urlContextMetadata": {"urlMetadata": [{"retrievedUrl": "https://example.com"}]}}
FED = {"promptTokenCount": 10, "candidatesTokenCount": 1, "toolUsePromptTokenCount": 90, "totalTokenCount": 101}


def used(counts: dict[str, Any], *candidates: dict[str, Any], fetches: bool = False) -> Usage:
    found = answer.usage({"candidates": list(candidates), "usageMetadata": counts}, fetches=fetches)
    assert found is not None
    return usage(found)


@pytest.mark.parametrize(
    ("candidates", "fetches", "prompt"),
    [
        ([SEARCHED], False, 10),
        ([SEARCHED], True, 100),
        ([{**SEARCHED, **FETCHED}], False, 100),
        ([SEARCHED, FETCHED], False, 100),
        ([FETCHED], False, 100),
        ([{}], False, 100),
    ],
)
def test_fetched_pages_are_charged_by_token_and_searches_are_not(
    candidates: list[dict[str, Any]], fetches: bool, prompt: int
) -> None:
    found = used(FED, *candidates, fetches=fetches)
    assert found == Usage(prompt, 1, runs=found.runs)
    assert found.runs == ((("search", 1),) if candidates[0].get("groundingMetadata") else ())


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 5015}, Usage(10, 5005)),
        (
            {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 122},
            Usage(10, 112, reasoning=7),
        ),
        ({**FED, "totalTokenCount": 201}, Usage(100, 101)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 3}, Usage(10, 5)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 10**9}, Usage(10, 5)),
        ({"totalTokenCount": 50}, Usage()),
    ],
)
def test_tokens_only_in_the_total_count_as_output(counts: dict[str, int], expected: Usage) -> None:
    assert used(counts, {}) == expected


def test_images_in_a_response() -> None:
    details = [{"modality": "IMAGE", "tokenCount": 1290}, {"modality": "TEXT", "tokenCount": 10}]
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 1300, "candidatesTokensDetails": details}
    assert used(counts, {}) == Usage(10, 1300, image_completion=1290)
