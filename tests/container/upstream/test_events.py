"""A provider's stream is forwarded byte for byte except for the model name, however it is split."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared.events import EventStream
from tests.container.upstream.streams import OURS, PIECE, STREAMS, chunk, passed_on, recorded, rewritten, whole


@pytest.mark.parametrize("drop_usage", [False, True])
@pytest.mark.parametrize("name", STREAMS)
def test_every_split_position_gives_the_same_bytes(name, drop_usage):
    sent = b"".join(STREAMS[name])
    wanted = whole(name, drop_usage=drop_usage)
    for cut in range(len(sent) + 1):
        assert passed_on([sent[:cut], sent[cut:]], drop_usage=drop_usage) == wanted, cut


@pytest.mark.parametrize("name", STREAMS)
def test_single_bytes_give_the_same_bytes(name):
    sent = b"".join(STREAMS[name])
    pieces = [sent[i : i + 1] for i in range(len(sent))]
    assert passed_on(pieces, drop_usage=True) == whole(name, drop_usage=True)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 3000), max_size=8), st.booleans())
def test_any_pieces_give_the_same_bytes(name, cuts, drop_usage):
    sent = b"".join(STREAMS[name])
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[a:b] for a, b in itertools.pairwise(edges)]
    assert passed_on(pieces, drop_usage=drop_usage) == whole(name, drop_usage=drop_usage)


@given(st.text(max_size=60), st.integers(1, 40))
def test_any_content_is_preserved(text, size):
    events = recorded(text=text)
    sent = b"".join(events)
    pieces = [sent[i : i + size] for i in range(0, len(sent), size)]
    assert passed_on(pieces) == rewritten(events, drop_usage=False)


@pytest.mark.parametrize("name", STREAMS)
def test_complete_event_is_not_held_back(name):
    stream, out = EventStream(OURS, drop_usage=False), b""
    for index, event in enumerate(STREAMS[name]):
        out += stream.feed(event)
        assert out == rewritten(STREAMS[name][: index + 1], drop_usage=False)


def test_incomplete_event_is_held_back():
    [first, second, *_] = recorded()
    stream = EventStream(OURS, drop_usage=False)
    assert stream.feed(first + second[:-1]) == rewritten([first], drop_usage=False)
    assert stream.feed(second[-1:]) == rewritten([second], drop_usage=False)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"7", b'"text"', b'["model"]', b": x"])
def test_data_that_is_not_an_object_does_not_reach_clients(data):
    first, second, *rest = STREAMS["openai"]
    event = b"data: " + data + b"\n\n" if data != b": x" else b"data:\n: x\n\n"
    assert passed_on([event, first, event, second, event, *rest]) == whole("openai", drop_usage=False)


def test_nothing_follows_the_end():
    events = STREAMS["openai"]
    assert passed_on([*events, b"data: [DONE]\n\n", *events]) == whole("openai", drop_usage=False)
    assert passed_on([b"".join(events) * 2]) == whole("openai", drop_usage=False)


# Model name


@pytest.mark.parametrize("colon", [b":", b": ", b" : "])
def test_spaces_around_the_name_are_kept(colon):
    event = b'data: {"model"' + colon + b'"theirs","choices":[]}\n\n'
    assert passed_on([event]) == b'data: {"model"' + colon + orjson.dumps(OURS) + b',"choices":[]}\n\n'


def test_name_that_changes_in_mid_stream_is_always_replaced():
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
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"\n\n",
        b"event: ping\n\n",
    ],
)
def test_event_without_a_model_is_unchanged(event):
    assert passed_on([event]) == event


def test_second_name_in_a_similar_event_is_also_replaced():
    stream = EventStream("ours", drop_usage=False)
    stream.feed(PIECE)
    nested = chunk(b'},"x":{"model":"theirs"}}]}')
    assert stream.feed(PIECE + nested).count(b'"model":"ours"') == 3
    other = b'data: {"model":"theirs","by":{"model":"another"},"choices":[{"delta":{}}]}\n\n'
    for _ in range(2):
        assert stream.feed(other).count(b'"model":"ours"') == 2


def test_names_of_different_streams_do_not_mix():
    events = recorded()
    assert passed_on(events) == passed_on(events)
    other = EventStream("other", drop_usage=False)
    assert orjson.dumps(OURS) not in b"".join(other.feed(event) for event in events)
