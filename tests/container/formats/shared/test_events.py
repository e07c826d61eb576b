"""Server-sent events are split and parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared.events import opening, payload, split


def test_split_keeps_every_byte():
    events = [b": a\n\n", b"data: 1\r\n\r\n", b"data: 2\r\r", b"\n\n", b"data: 3"]
    assert split(b"".join(events)) == events
    assert split(b"") == []


@given(st.lists(st.sampled_from([b"data: x", b"\n", b"\r", b"\r\n", b":", b" "])).map(b"".join))
def test_split_pieces_join_to_the_input(data):
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
def test_opening_is_the_first_event_with_content(data, first):
    assert opening(data) == first
