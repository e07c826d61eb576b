"""Responses API events become chunks, in event orders and shapes seen on real servers."""

from typing import Any

import orjson
import pytest

from container.formats.responses.answer import ChunkStream
from container.routing.health import Outcome
from tests.fakes.formats.responses import streamed

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hällo 世界", "annotations": []}],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_a",
    "name": "f",
    "arguments": '{"a": 1}',
}
CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_b", "name": "g", "input": "free text"}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
    "encrypted_content": "gAAA",
}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}


def response(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": "completed",
        "service_tier": "priority",
        "output": list(output),
        "usage": USAGE,
        **more,
    }


def told(stream: ChunkStream, *events: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks for the events, without `[DONE]`."""
    raw = b"".join(stream.feed(b"data: " + orjson.dumps(event) + b"\n\n") for event in events) + stream.end()
    return [orjson.loads(line[6:]) for line in raw.split(b"\n\n") if line and line != b"data: [DONE]"]


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {"content": "", "reasoning": "", "refusal": "", "calls": {}, "kept": [], "finish": []}
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            delta = choice["delta"]
            made["content"] += delta.get("content") or ""
            made["reasoning"] += delta.get("reasoning_content") or ""
            made["refusal"] += delta.get("refusal") or ""
            made["kept"] += delta.get("reasoning_items") or ()
            made["finish"] += [choice["finish_reason"]] if choice["finish_reason"] else []
            for call in delta.get("tool_calls") or ():
                known = made["calls"].setdefault(call["index"], {"text": ""})
                known.update({name: call[name] for name in ("id", "type") if name in call})
                inner = call.get("function") or call.get("custom")
                known["name"] = inner.get("name", known.get("name"))
                known["text"] += inner.get("arguments", inner.get("input", ""))
    return made


def events_of(body: dict[str, Any], chunks: int = 3) -> list[dict[str, Any]]:
    events = streamed(body, chunks)
    raw = b"".join((*events.head, *events.content, *events.tail))
    return [orjson.loads(part.split(b"data: ", 1)[1]) for part in raw.split(b"\n\n") if part]


WHOLE = response(REASONING, MESSAGE, CALL, CUSTOM)
FIRST, LAST = events_of(WHOLE)[0], events_of(WHOLE)[-1]
ORDERS = {
    "as OpenAI sends it": events_of(WHOLE),
    "without deltas": [e for e in events_of(WHOLE) if not e["type"].endswith(".delta")],
    "finished items only": [FIRST, *(e for e in events_of(WHOLE) if e["type"] == "response.output_item.done"), LAST],
    "the end only": [LAST],
    "in one piece": [WHOLE],
    "without an end of items": [e for e in events_of(WHOLE) if not e["type"].endswith(".done")],
    "with unknown events": [
        part for e in events_of(WHOLE) for part in (e, {"type": "response.keepalive"}, {"type": None})
    ],
}


@pytest.mark.parametrize("order", ORDERS)
def test_every_event_order_gives_the_same_result(order):
    stream = ChunkStream("m", wants_usage=True)
    chunks = told(stream, *ORDERS[order])
    assert joined(chunks) == {
        "content": "Hällo 世界",
        "reasoning": "One.\n\nTwo.",
        "refusal": "",
        "calls": {
            0: {"text": '{"a": 1}', "id": "call_a", "type": "function", "name": "f"},
            1: {"text": "free text", "id": "call_b", "type": "custom", "name": "g"},
        },
        "kept": [{name: REASONING[name] for name in ("id", "type", "encrypted_content", "summary")}],
        "finish": ["tool_calls"],
    }
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
    assert (stream.done, stream.cut_off, stream.failed) == (True, False, None)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_result_does_not_depend_on_the_split(size):
    events = streamed(WHOLE, 3)
    raw = b"".join((*events.head, *events.content, *events.tail)).replace(b"\n", b"\r\n")
    stream = ChunkStream("m", wants_usage=False)
    made = b"".join(stream.feed(raw[at : at + size]) for at in range(0, len(raw), size)) + stream.end()
    chunks = [orjson.loads(line[6:]) for line in made.split(b"\n\n") if line and line != b"data: [DONE]"]
    assert joined(chunks)["content"] == "Hällo 世界"
    assert made.count(b"[DONE]") == 1
    assert "usage" not in chunks[-1]


@pytest.mark.parametrize(
    ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "length")]
)
def test_incomplete_response(reason, finish):
    body = response(MESSAGE, CALL, status="incomplete", incomplete_details=reason and {"reason": reason})
    assert joined(told(ChunkStream("m", wants_usage=False), *events_of(body)))["finish"] == [finish]


def test_refusal_is_not_content():
    said = {**MESSAGE, "content": [{"type": "refusal", "refusal": "I will not."}]}
    found = joined(told(ChunkStream("m", wants_usage=False), *events_of(response(said))))
    assert (found["refusal"], found["content"], found["finish"]) == ("I will not.", "", ["stop"])


ERRORS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "error", "code": "server_error", "message": "Sorry"}, "server"),
    (
        {"type": "error", "error": {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "x"}},
        "rate_limit",
    ),
    ({"error": {"message": "Overloaded", "code": 503}}, "server"),
    (
        {
            "type": "response.failed",
            "response": response(error={"code": "server_error", "message": "x"}, status="failed"),
        },
        "server",
    ),
    ({"type": "response.failed", "response": response(error={"code": "image_too_large", "message": "x"})}, "caller"),
    (
        {"type": "response.failed", "response": response(error={"code": "context_length_exceeded", "message": "x"})},
        "context_window",
    ),
    ({"type": "response.failed", "response": None}, "server"),
    ({**response(), "error": {"code": "rate_limit_exceeded", "message": "x"}}, "rate_limit"),
    ({**response(), "status": "failed"}, "server"),
)


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=str)
def test_error_before_the_content_allows_a_fallback(error, kind):
    stream = ChunkStream("m", wants_usage=False)
    told(stream, FIRST, error)
    found = stream.begins(b"")
    assert isinstance(found, Outcome)
    assert found.kind == kind


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=str)
def test_error_in_mid_stream_is_reported_and_ends_the_stream(error, kind):
    stream = ChunkStream("m", wants_usage=False)
    before = [e for e in events_of(response(MESSAGE)) if e["type"] != "response.completed"]
    chunks = told(stream, *before, error, LAST)
    assert stream.failed is not None
    assert stream.failed.kind == kind
    assert "error" in chunks[-1]
    assert not stream.done


def test_stream_without_an_end_is_cut_off():
    stream = ChunkStream("m", wants_usage=False)
    told(stream, *events_of(response(MESSAGE))[:-1])
    assert stream.begins(b"") is True
    assert stream.cut_off


def test_calls_with_a_repeated_call_id_are_told_apart_by_item():
    numbered = [{**CALL, "id": f"fc_{n}", "call_id": "call_0"} for n in "ab"]
    found = joined(told(ChunkStream("m", wants_usage=False), *events_of(response(*numbered))))
    assert [call["id"] for call in found["calls"].values()] == ["fc_a", "fc_b"]
