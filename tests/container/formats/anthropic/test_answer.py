"""Anthropic's events become chunks, however the bytes are split, and faulty streams are detected."""

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.anthropic import answer
from container.formats.anthropic.answer import ChunkStream
from container.formats.anthropic.request import JSON_TOOL, Translated
from container.formats.client_apis.messages.answer import PassedEvents
from container.formats.shared.events import payload, split
from container.routing.health import Outcome
from worker.core.pricing.usage import Usage, usage, whole

START = {"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "usage": {"input_tokens": 7}}}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP: list[dict[str, Any]] = [
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def said(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def sse(*events: dict[str, Any], end: bytes = b"\n") -> bytes:
    lines = [b"event: " + e["type"].encode() + end + b"data: " + orjson.dumps(e) + end + end for e in events]
    return b"".join(lines)


def chunks(*, wants_usage: bool = False, json_tool: bool = False) -> ChunkStream:
    return ChunkStream("claude", Translated({}, json_tool=json_tool), wants_usage=wants_usage)


def text_of(data: bytes) -> str:
    found = [payload(event) for event in split(data)]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in found if c and c["choices"])


WHOLE = (START, TEXT, said("Hël"), said('lo "x"\n'), *STOP)


@given(cuts=st.lists(st.integers(0, 900)), end=st.sampled_from((b"\n", b"\r\n")))
def test_chunks_do_not_depend_on_the_split(cuts: list[int], end: bytes):
    data, stream, out = sse(*WHOLE, end=end), chunks(), b""
    edges = [0, *sorted(cuts), len(data)]
    for a, b in itertools.pairwise(edges):
        out += stream.feed(data[a:b])
    out += stream.end()
    assert text_of(out) == 'Hëllo "x"\n'
    assert out.endswith(b"data: [DONE]\n\n")
    assert out.count(b'"finish_reason":"stop"') == 1
    assert not stream.cut_off
    assert stream.usage
    assert (stream.usage["prompt_tokens"], stream.usage["completion_tokens"]) == (7, 3)


def test_usage_is_a_separate_chunk_when_requested():
    assert b'"usage"' not in chunks().feed(sse(*WHOLE))
    found = [payload(event) for event in split(chunks(wants_usage=True).feed(sse(*WHOLE)))]
    last = found[-2]
    assert last
    assert (last["choices"], last["usage"]["total_tokens"], last["model"]) == ([], 10, "claude")


@pytest.mark.parametrize("make", [chunks, lambda: PassedEvents("claude")])
def test_error_before_the_first_content_allows_a_fallback(make):
    stream = make()
    begun = stream.begins(stream.feed(sse(START)))
    assert begun is False
    outcome = stream.begins(stream.feed(sse(OVERLOADED)))
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.status, outcome.message) == ("server", 529, "Overloaded")


@pytest.mark.parametrize("make", [chunks, lambda: PassedEvents("claude")])
def test_error_in_mid_stream_is_forwarded(make):
    stream = make()
    new = stream.feed(sse(START, TEXT, said("Hel")))
    assert stream.begins(new) is True
    told = stream.feed(sse(OVERLOADED))
    assert b"Overloaded" in told
    assert stream.failed
    assert b"[DONE]" not in told + stream.end()


@pytest.mark.parametrize("make", [chunks, lambda: PassedEvents("claude")])
def test_truncated_stream_is_cut_off_and_reports_prompt_usage(make):
    stream = make()
    stream.feed(sse(START, TEXT, said("Hel")) + b"event: content_block_delta\ndata: {")
    stream.end()
    assert stream.cut_off
    assert stream.usage["prompt_tokens"] == 7
    assert not whole(stream.usage), "one token at the beginning is not what it wrote"


def test_forced_json_tool_call_becomes_text():
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t", "name": JSON_TOOL},
    }
    parts = [{"type": "input_json_delta", "partial_json": p} for p in ('{"a"', ": 1}")]
    deltas = [{"type": "content_block_delta", "index": 0, "delta": part} for part in parts]
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}}
    out = chunks(json_tool=True).feed(sse(START, start, *deltas, STOP[0], end, STOP[2]))
    assert text_of(out) == '{"a": 1}'
    assert b'"finish_reason":"stop"' in out
    assert b"tool_calls" not in out


def test_messages_stream_is_forwarded_except_for_the_model_name():
    stream = PassedEvents('my "claude"')
    out = stream.feed(sse(*WHOLE))
    assert out == sse(*WHOLE).replace(b'"model":"claude-x"', b'"model":"my \\"claude\\""')
    assert not stream.cut_off
    assert stream.usage
    assert stream.usage["total_tokens"] == 10


# Cache writes in the usage, by lifetime.


def written(five_minutes: int, hour: int) -> dict[str, Any]:
    kept = {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour}
    return {
        "input_tokens": 10,
        "output_tokens": 1,
        "cache_creation_input_tokens": five_minutes + hour,
        "cache_creation": kept,
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (written(20, 0), Usage(30, 1, cache_write=20)),
        (written(5, 15), Usage(30, 1, cache_write=20, cache_write_1h=15)),
        ({**written(5, 15), "cache_creation": None}, Usage(30, 1, cache_write=20)),
        # The total is the sum of the iterations.
        (
            {**written(0, 15), "iterations": [written(5, 15), written(0, 30)]},
            Usage(70, 2, cache_write=50, cache_write_1h=45),
        ),
    ],
)
def test_one_hour_cache_writes_are_counted_separately(said: dict[str, Any], expected: Usage) -> None:
    assert usage(answer.usage(said)) == expected
    if "iterations" not in said:
        assert usage(said) == expected


def test_usage_has_litellms_field_names() -> None:
    details = answer.usage(written(5, 15))["prompt_tokens_details"]
    kept = {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15}
    assert details["cache_creation_token_details"] == kept
    assert "cache_creation_token_details" not in answer.usage(written(5, 0))["prompt_tokens_details"]
