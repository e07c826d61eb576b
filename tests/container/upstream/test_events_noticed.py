"""What is noticed of a stream that passes: its usage, errors, and how it ended."""

import orjson
import pytest

from container.routing.outcome import Outcome
from container.upstream.events import EventStream, first_error
from container.upstream.sse import MAX_EVENT_BYTES, OversizedEvent

from .streams import OURS, PIECE, STREAMS, TRICKY, chunk, passed_on, recorded, rewritten

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


@pytest.mark.parametrize(
    ("last", "noticed"),
    [
        (chunk(b'},"finish_reason":"stop"}]}'), {"finished": True}),
        (chunk(b'}}],"usage":{"prompt_tokens":3}}'), {"usage": {"prompt_tokens": 3}}),
        (b'data: {"error":{"message":"no"}}\n\n', {"failed": Outcome("server", message="no")}),
        (b"data: [DONE]\n\n", {"done": True}),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_what_matters_is_noticed_after_events_that_open_alike(last, noticed, together):
    stream = EventStream("ours", drop_usage=False)
    for _ in range(3):
        stream.feed(PIECE)
    for piece in (PIECE + last + PIECE,) if together else (last,):
        stream.feed(piece)
    assert {name: getattr(stream, name) for name in noticed} == noticed


# Usage


@pytest.mark.parametrize(
    "name", ["openai", "crlf", "azure, whose first model is empty", "usage with the finish", "usage in every chunk"]
)
def test_usage_is_noticed(name):
    stream = EventStream(OURS, drop_usage=True)
    for event in STREAMS[name]:
        stream.feed(event)
    assert stream.usage is not None
    assert stream.usage["total_tokens"] == stream.usage["prompt_tokens"] + stream.usage["completion_tokens"] > 0


@pytest.mark.parametrize(
    "choices",
    [b"[]", b'[{"index":0,"delta":{}}]', b'[{"index":0,"delta":{},"finish_reason":null}]'],
    ids=["none", "the engine's, which says nothing", "the same with a null"],
)
def test_the_usage_chunk_is_dropped_only_when_we_asked_for_it(choices):
    chunk = b'data: {"choices":%s,"usage":%s}\n\n' % (choices, orjson.dumps(USAGE))
    assert passed_on([chunk], drop_usage=False) == chunk
    assert passed_on([chunk], drop_usage=True) == b""


@pytest.mark.parametrize(
    "rest",
    [
        b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":3}',
        b'"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"total_tokens":3}',
        b'"choices":[],"usage":null',
        b'"choices":[], "usage": null',
        b'"choices":[]',
        b'"usage":{"total_tokens":3}',
        b'"choices":[],"usage":"text"',
    ],
)
def test_no_other_chunk_is_dropped(rest):
    chunk = b"data: {" + rest + b"}\n\n"
    assert passed_on([chunk], drop_usage=True) == chunk


def test_the_last_usage_counts():
    stream = EventStream(OURS, drop_usage=False)
    for total in (1, 2, 3):
        stream.feed(b'data: {"choices":[{}],"usage":{"total_tokens":%d}}\n\n' % total)
    assert stream.usage == {"total_tokens": 3}


def test_usage_in_a_text_is_none():
    stream = EventStream(OURS, drop_usage=True)
    for event in recorded(text=TRICKY, usage=False):
        stream.feed(event)
    assert stream.usage is None


# How it ended


def after(*events: bytes) -> EventStream:
    stream = EventStream(OURS, drop_usage=True)
    for event in events:
        stream.feed(event)
    stream.end()
    return stream


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_came_to_its_end_is_not_cut_off(name):
    stream = after(*STREAMS[name])
    assert not stream.cut_off
    assert stream.done is (name not in ("no DONE", "error in mid-stream"))
    assert (stream.failed is not None) is (name == "error in mid-stream")


@pytest.mark.parametrize("name", sorted(set(STREAMS) - {"error in mid-stream"}))
def test_a_stream_that_breaks_off_in_its_middle_is(name):
    assert after(*STREAMS[name][:4]).cut_off
    assert after().cut_off


@pytest.mark.parametrize(
    "done", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]", b": x\ndata: [DONE]\n\n"]
)
def test_done_is_an_event_of_its_own(done):
    assert after(done).done


@pytest.mark.parametrize(
    "text", [b'{"choices":[{"delta":{"content":"[DONE]"}}]}', b'{"choices":[{"delta":{"content":"data: [DONE]"}}]}']
)
def test_done_in_a_text_is_not(text):
    assert not after(b"data: " + text + b"\n\n").done
    assert after(b"data: " + text + b"\n\n").cut_off


def test_a_finish_reason_is_an_end_too():
    chunk = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":%s}]}\n\n'
    assert after(chunk % b'"stop"').finished
    assert not after(chunk % b"null").finished


def test_the_last_event_may_lack_its_blank_line():
    stream = EventStream(OURS, drop_usage=False)
    assert stream.feed(b"data: [DONE]\n") == b""
    assert stream.end() == b"data: [DONE]\n\n"
    assert stream.done
    assert stream.end() == b""


def test_half_an_event_at_the_end_is_dropped():
    [first, second, *_] = recorded()
    assert passed_on([first, second[: len(second) // 2]]) == rewritten([first], drop_usage=False)


def test_an_event_that_does_not_end_is_given_up():
    stream = EventStream(OURS, drop_usage=False)
    piece = b"x" * (1024 * 1024)
    for _ in range(MAX_EVENT_BYTES // len(piece)):
        assert stream.feed(piece) == b""
    with pytest.raises(OversizedEvent):
        stream.feed(piece)


# Errors


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"error": {"message": "x"}}, {"message": "x"}),
        ({"error": "x"}, {"message": "x"}),
        ({"error": {"message": "x"}, "choices": []}, {"message": "x"}),
        ({"error": None}, None),
        ({"error": {}}, None),
        ({"error": {"message": "x"}, "choices": [{"delta": {}}]}, None),
        ({"choices": [{"delta": {"content": "error"}}]}, None),
    ],
)
def test_first_error(data, error):
    assert first_error(b"data: " + orjson.dumps(data) + b"\n\n") == error
