"""Events that differ from a parsed event by a single string pass without parsing."""

import orjson
import pytest

from container.formats.shared.events import Alike

THEIRS, OURS = b'"model":"theirs"', b'"model":"ours"'
OPENING = b'data: {"id":"1","model":"theirs","choices":[{"index":0,"delta":{'


def event(text: str, *, field: str = "content", padding: str = "", end: bytes = b"\n\n") -> bytes:
    padded = b',"obfuscation":"' + padding.encode() + b'"' if padding else b""
    said = b'"' + field.encode() + b'":' + orjson.dumps(text)
    return OPENING + said + b'},"finish_reason":null}]' + padded + b"}" + end


def knowing(*events: bytes) -> Alike:
    alike = Alike()
    for known in events:
        alike.remember_opening(known, THEIRS, OURS)
        alike.learn(known.removeprefix(OPENING))
    return alike


def taken(alike: Alike, data: bytes) -> tuple[int, bytes]:
    passed: list[bytes] = []
    at = alike.take(data, 0, passed)
    return at, b"".join(passed)


@pytest.mark.parametrize("text", ["", "b", 'say "x"', "\\", '\\"', "a\\", 'x"},"finish_reason":"stop"}]}\n\n', "ü🙂\n"])
@pytest.mark.parametrize("padding", ["", "aB3"])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_event_with_another_text_passes_with_our_name(text, padding, end):
    alike = knowing(event("a", padding=padding, end=end))
    other = event(text, padding=padding and padding * 3, end=end)
    assert taken(alike, other * 3) == (len(other) * 3, other.replace(THEIRS, OURS) * 3)


@pytest.mark.parametrize(
    "other",
    [
        event("b").replace(b"null", b'"stop"'),
        event("b").replace(b'"id":"1"', b'"id":"2"'),
        event("b").replace(b'"index":0', b'"index":1'),
        event("b", field="reasoning_content"),
        event("b", padding="x"),
        event("b").replace(b'"content":"b"', b'"content":null'),
        event("b").replace(b'"content":"b"', b'"content":"b","role":"x"'),
        event("b")[:-1] + b"data: x\n\n",
        b": ping\n\n",
        b"data: [DONE]\n\n",
    ],
)
def test_other_event_does_not_pass_but_those_before_it_do(other):
    alike, first = knowing(event("a")), event("x")
    assert taken(alike, first + other + first) == (len(first), first.replace(THEIRS, OURS))


def test_padding_passes_only_at_the_end_of_an_event():
    alike, other = knowing(event("a", padding="x")), event("a", padding="x")[:-3] + b',"usage":{}}\n\n'
    assert taken(alike, other) == (0, b"")


def test_several_kinds_of_events_are_remembered_for_a_while():
    events = event("a") + event("b", field="reasoning_content")
    alike = knowing(event("x"), event("y", field="reasoning_content"))
    assert taken(alike, events)[0] == len(events)
    alike.forget()
    assert taken(alike, events) == (0, b"")


def test_new_opening_replaces_the_previous_one():
    alike = knowing(event("a"))
    other = event("a").replace(b'"id":"1"', b'"id":"2"')
    alike.remember_opening(other, THEIRS, OURS)
    assert alike.opening == other[: other.index(b'"content"')]
    assert taken(alike, event("b")) == (0, b"")


@pytest.mark.parametrize(
    "other",
    [b": ping\n\n", b'data: {"usage":{"x":1},' + THEIRS + b"}\n\n", b'data: {"error":"x",' + THEIRS + b"}\n\n"],
)
def test_opening_with_a_significant_field_is_not_remembered(other):
    alike = Alike()
    alike.remember_opening(other, THEIRS, OURS)
    assert alike.opening == b""
