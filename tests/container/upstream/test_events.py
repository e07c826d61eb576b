"""A provider's stream on its way to the client: byte for byte, whatever the pieces it arrives in."""

import itertools
from collections.abc import Iterable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.routing.outcome import Outcome
from container.upstream.events import (
    MAX_EVENT_BYTES,
    EventStream,
    OversizedEvent,
    first_error,
    opening,
    payload,
    split,
)
from tests.fakes import Behaviour, Recorded
from tests.fakes.formats import Setting
from tests.fakes.formats.azure import AZURE
from tests.fakes.formats.openai import OPENAI

OURS = 'gpt "our" \\ möglich/x'  # a name that has to be escaped
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
TRICKY = (
    'say "model":"x", {"model": "y"} \\"model\\":\\"z\\" "usage":{"a":1} [DONE]\r\n\r\n'
    'data: x\n\ndata: [DONE]\n\n "finish_reason":"stop"'
)


def recorded(format=OPENAI, text: str = "one two three four five", usage: bool = True, **behaviour) -> list[bytes]:
    """The events a fake provider sends."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "stream": True}
    if usage:
        body["stream_options"] = {"include_usage": True}
    seen = Recorded(1, "POST", "/", "", {}, orjson.dumps(body), 0, 0.0, model="gpt-4o")
    crlf = behaviour.pop("crlf", False)
    events = format.events(seen, "chat", Setting(1, Behaviour(**behaviour), 5))
    sent = [*events.head, *events.content, *events.tail, events.end]
    return [event.replace(b"\n", b"\r\n") if crlf else event for event in sent if event]


def rewritten(events: Iterable[bytes], *, drop_usage: bool) -> bytes:
    """What the client ought to get, worked out event by event."""
    out = []
    for event in events:
        chunk = payload(event)
        if chunk is not None:
            if drop_usage and chunk.get("usage") and chunk.get("choices") == []:
                continue
            if isinstance(chunk.get("model"), str):
                theirs, ours = b'"model":' + orjson.dumps(chunk["model"]), b'"model":' + orjson.dumps(OURS)
                assert event.count(theirs) == 1
                event = event.replace(theirs, ours)
        out.append(event)
    return b"".join(out)


def passed_on(pieces: Iterable[bytes], *, drop_usage: bool = False) -> bytes:
    stream = EventStream(OURS, drop_usage=drop_usage)
    return b"".join(stream.feed(piece) for piece in pieces) + stream.end()


STREAMS = {
    "openai": recorded(),
    "openai without usage": recorded(usage=False),
    "azure, whose first model is empty": recorded(AZURE),
    "crlf": recorded(crlf=True),
    "azure with crlf": recorded(AZURE, crlf=True),
    "usage with the finish": recorded(usage_in="finish"),
    "usage in every chunk": recorded(usage_in="every"),
    "no DONE": recorded(done=False),
    "content that looks like ours": recorded(text=TRICKY),
    "content that looks like ours, crlf": recorded(text=TRICKY, crlf=True),
    "comments": [b": OPENROUTER PROCESSING\n\n", *recorded()[:2], b": ping\n: pong\n\n", *recorded()[2:]],
    "other fields": [b"event: chunk\nid: 7\nretry: 10\n" + event for event in recorded()],
    "not ascii": recorded(text="Grüße, 世界, 🙂🙂🙂 and again 🙂"),
    "error in mid-stream": [*recorded()[:3], OPENAI.error_event('overloaded "model":"x"')],
}


@pytest.mark.parametrize("drop_usage", [False, True])
@pytest.mark.parametrize("name", STREAMS)
def test_every_split_position_gives_the_same_bytes(name, drop_usage):
    sent = b"".join(STREAMS[name])
    wanted = rewritten(STREAMS[name], drop_usage=drop_usage)
    for cut in range(len(sent) + 1):
        assert passed_on([sent[:cut], sent[cut:]], drop_usage=drop_usage) == wanted, cut


@pytest.mark.parametrize("name", STREAMS)
def test_bytes_that_come_one_by_one_give_the_same_bytes(name):
    sent = b"".join(STREAMS[name])
    pieces = [sent[i : i + 1] for i in range(len(sent))]
    assert passed_on(pieces, drop_usage=True) == rewritten(STREAMS[name], drop_usage=True)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 3000), max_size=8), st.booleans())
def test_any_pieces_give_the_same_bytes(name, cuts, drop_usage):
    sent = b"".join(STREAMS[name])
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[a:b] for a, b in itertools.pairwise(edges)]
    assert passed_on(pieces, drop_usage=drop_usage) == rewritten(STREAMS[name], drop_usage=drop_usage)


@given(st.text(max_size=60), st.integers(1, 40))
def test_any_content_survives(text, size):
    events = recorded(text=text)
    sent = b"".join(events)
    pieces = [sent[i : i + size] for i in range(0, len(sent), size)]
    assert passed_on(pieces) == rewritten(events, drop_usage=False)


@pytest.mark.parametrize("name", STREAMS)
def test_no_whole_event_is_held_back(name):
    stream, out = EventStream(OURS, drop_usage=False), b""
    for index, event in enumerate(STREAMS[name]):
        out += stream.feed(event)
        assert out == rewritten(STREAMS[name][: index + 1], drop_usage=False)


def test_an_event_that_has_not_ended_is_held_back():
    [first, second, *_] = recorded()
    stream = EventStream(OURS, drop_usage=False)
    assert stream.feed(first + second[:-1]) == rewritten([first], drop_usage=False)
    assert stream.feed(second[-1:]) == rewritten([second], drop_usage=False)


# The model's name


@pytest.mark.parametrize("colon", [b":", b": ", b" : "])
def test_spaces_around_the_name_are_kept(colon):
    event = b'data: {"model"' + colon + b'"theirs","choices":[]}\n\n'
    assert passed_on([event]) == b'data: {"model"' + colon + orjson.dumps(OURS) + b',"choices":[]}\n\n'


def test_a_name_that_changes_in_mid_stream_is_replaced_every_time():
    events = [b'data: {"model":"%s","choices":[{}]}\n\n' % name for name in (b"", b"a", b"b", b"b", b"a\\u00fc", b"")]
    ours = b'data: {"model":%s,"choices":[{}]}\n\n' % orjson.dumps(OURS)
    assert passed_on(events) == ours * 6
    assert passed_on([b"".join(events)]) == ours * 6


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n',
        b'data: {"model":null,"choices":[]}\n\n',
        b'data: {"choices":[{"delta":{"content":"model"}}]}\n\n',
        b'data: ["model"]\n\n',
        b"data: not json\n\n",
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"\n\n",
        b"event: ping\n\n",
    ],
)
def test_an_event_without_a_model_is_not_touched(event):
    assert passed_on([event]) == event


def chunk(rest: bytes, model: bytes = b'"theirs"') -> bytes:
    return b'data: {"id":"1","model":' + model + b',"choices":[{"index":0,"delta":{' + rest + b"\n\n"


PIECE = chunk(b'"content":"a"},"finish_reason":null}]}')


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


def test_a_second_name_in_an_event_that_opens_like_the_others_is_replaced_too():
    stream = EventStream("ours", drop_usage=False)
    stream.feed(PIECE)
    nested = chunk(b'},"x":{"model":"theirs"}}]}')
    assert stream.feed(PIECE + nested).count(b'"model":"ours"') == 3
    other = b'data: {"model":"theirs","by":{"model":"another"},"choices":[{"delta":{}}]}\n\n'
    for _ in range(2):
        assert stream.feed(other).count(b'"model":"ours"') == 2


def test_one_streams_name_is_not_anothers():
    events = recorded()
    assert passed_on(events) == passed_on(events)
    other = EventStream("other", drop_usage=False)
    assert orjson.dumps(OURS) not in b"".join(other.feed(event) for event in events)


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
    "choices", [b"[]", b'[{"index":0,"delta":{}}]', b'[{"index":0,"delta":{},"finish_reason":null}]']
)
def test_the_usage_chunk_is_dropped_only_when_we_asked_for_it(choices):
    chunk = b'data: {"choices":%s,"usage":%s}\n\n' % (choices, orjson.dumps(USAGE))
    assert passed_on([chunk], drop_usage=False) == chunk
    assert passed_on([chunk], drop_usage=True) == b""


def test_the_engines_usage_chunk_has_a_choice_that_says_nothing_and_goes_too():
    chunk = b'data: {"choices":[{"index":0,"delta":{}}],"usage":%s}\n\n' % orjson.dumps(USAGE)
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


# Parts


def test_split_keeps_every_byte():
    events = [b": a\n\n", b"data: 1\r\n\r\n", b"data: 2\r\r", b"\n\n", b"data: 3"]
    assert split(b"".join(events)) == events
    assert split(b"") == []


@given(st.lists(st.sampled_from([b"data: x", b"\n", b"\r", b"\r\n", b":", b" "])).map(b"".join))
def test_split_joins_to_what_it_was_given(data):
    assert b"".join(split(data)) == data


@pytest.mark.parametrize(
    ("event", "value"),
    [
        (b'data: {"a":1}\n\n', {"a": 1}),
        (b'data:{"a":1}\r\n\r\n', {"a": 1}),
        (b'event: x\ndata: {"a":\ndata: 1}\n\n', {"a": 1}),
        (b"data: [1]\n\n", None),
        (b"data: [DONE]\n\n", None),
        (b"data: {\n\n", None),
        (b": {}\n\n", None),
        (b"", None),
    ],
)
def test_payload(event, value):
    assert payload(event) == value


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


@pytest.mark.parametrize(
    ("data", "first"),
    [
        (b"data: 1\n\ndata: 2\n\n", b"data: 1\n\n"),
        (b"data: 1\r\n\r\ndata: 2\r\n\r\n", b"data: 1\r\n\r\n"),
        (b"data: 1", b"data: 1"),
        (b": a\n\n:\r\n: b\r\n\r\ndata: 1\n\ndata: 2\n\n", b"data: 1\n\n"),
        (b": a\ndata: 1\n\n", b": a\ndata: 1\n\n"),
        (b"\n\nevent: x\n\n", b"event: x\n\n"),
        (b": a\n\n", b""),
        (b"\n\n", b""),
        (b"", b""),
    ],
)
def test_the_opening_is_the_first_event_that_says_something(data, first):
    assert opening(data) == first
