"""Streams with unusual variants of OpenAI's format. Clients get calls and reasoning in the standard format."""

import itertools
from typing import Any
from unittest import mock

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.client_apis.messages.answer import MessageEvents
from container.formats.shared import mend
from container.formats.shared.chat_stream import EventStream
from container.formats.shared.events import payload, split

A, B = '{"city": "Rom{e", "n": {"x": 1}}', '{"b":2}'


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "1", "model": "theirs", "choices": [choice]}) + b"\n\n"


def call(name: str | None = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {**more, "function": {field: value for field, value in function.items() if value is not None}}


def calls(*entries: dict[str, Any]) -> bytes:
    return chunk({"tool_calls": list(entries)})


def stream(*events: bytes, finish: str | None = "stop") -> list[bytes]:
    head = chunk({"role": "assistant", "content": ""})
    return [head, *events, *([chunk({}, finish)] if finish else []), b"data: [DONE]\n\n"]


PIECES = [A[:9], A[9:]]
TWO = [("f", A), ("g", B)]
# Each stream, with the expected calls.
STREAMS: dict[str, tuple[list[bytes], list[tuple[str, str]]]] = {
    "ordinary": (
        stream(
            calls(call("f", "", index=0, id="c1", type="function")),
            *[calls(call(arguments=p, index=0)) for p in PIECES],
            calls(call("g", "", index=1, id="c2", type="function")),
            calls(call(arguments=B, index=1)),
            finish="tool_calls",
        ),
        TWO,
    ),
    "both with index 0": (
        stream(
            calls(call("f", "", index=0, id="c1", type="function")),
            *[calls(call(arguments=p, index=0)) for p in PIECES],
            calls(call("g", "", index=0, id="c2", type="function")),
            calls(call(arguments=B, index=0)),
        ),
        TWO,
    ),
    "both with index 0, without ids": (
        stream(
            calls(call("f", "", index=0)),
            *[calls(call(arguments=p, index=0)) for p in PIECES],
            calls(call("g", "", index=0)),
            calls(call(arguments=B, index=0)),
        ),
        TWO,
    ),
    "both with index 0, without ids, of the same tool": (
        stream(
            calls(call("f", "", index=0)),
            *[calls(call(arguments=p, index=0)) for p in PIECES],
            calls(call("f", "", index=0)),
            calls(call(arguments=B, index=0)),
        ),
        [("f", A), ("f", B)],
    ),
    "without an index": (stream(calls(call("f", A, id="c1")), calls(call("g", B, id="c2"))), TWO),
    "without an index, in one chunk": (stream(calls(call("f", A, id="c1"), call("g", B, id="c2"))), TWO),
    "without index and id, in one chunk": (stream(calls(call("f", A), call("f", B))), [("f", A), ("f", B)]),
    "without index and id, twice the same": (stream(calls(call("f", B), call("f", B))), [("f", B), ("f", B)]),
    "without an index, in pieces": (
        stream(
            calls(call("f", "", id="c1")),
            *[calls(call(arguments=p)) for p in PIECES],
            calls(call("g", "", id="c2")),
            calls(call(arguments=B)),
        ),
        TWO,
    ),
    "with null for an index": (
        stream(calls(call("f", A, id="c1", index=None)), calls(call("g", B, id="c2", index=None))),
        TWO,
    ),
    "counted from 1": (
        stream(
            calls(call("f", "", index=1, id="c1")),
            *[calls(call(arguments=p, index=1)) for p in PIECES],
            calls(call("g", B, index=2, id="c2")),
        ),
        TWO,
    ),
    "arguments as objects": (
        stream(calls(call("f", orjson.loads(A), index=0, id="c1"), call("g", {"b": 2}, index=1, id="c2"))),
        [("f", orjson.dumps(orjson.loads(A)).decode()), ("g", B)],
    ),
    "empty ids, and null": (
        stream(calls(call("f", A, index=0, id="")), calls(call("g", B, index=1, id=None))),
        TWO,
    ),
    "the same id for both": (
        stream(calls(call("f", A, index=0, id="call")), calls(call("g", B, index=1, id="call"))),
        TWO,
    ),
    "the same id for both, without an index": (
        stream(calls(call("f", A, id="call")), calls(call("g", B, id="call"))),
        TWO,
    ),
    "id and name in every chunk": (
        stream(
            *[calls(call("f", p, index=0, id="c1", type="function")) for p in PIECES],
            calls(call("g", B, index=1, id="c2", type="function")),
        ),
        TWO,
    ),
    "a new id in every chunk": (
        stream(
            calls(call("f", PIECES[0], index=0, id="r1")),
            calls(call(arguments=PIECES[1], index=0, id="r2")),
            calls(call("g", B, index=1, id="r3")),
        ),
        TWO,
    ),
    "the name in every chunk": (
        stream(
            *[calls(call("f", p, index=0)) for p in PIECES],
            calls(call("g", B, index=1)),
        ),
        TWO,
    ),
    "the name in pieces": (
        stream(
            calls(call("get_", index=0, id="c1")),
            calls(call("weather", index=0)),
            *[calls(call(arguments=p, index=0)) for p in PIECES],
        ),
        [("get_weather", A)],
    ),
    "the id before the name": (
        stream(calls({"index": 0, "id": "c1"}), calls(call("f", index=0)), calls(call(arguments=A, index=0))),
        [("f", A)],
    ),
    "a line of content between the arguments": (
        stream(
            calls(call("f", "", index=0, id="c1", type="function")),
            calls(call(arguments=PIECES[0], index=0)),
            chunk({"content": "\n"}),
            calls(call(arguments=PIECES[1], index=0)),
            chunk({"content": "\n"}),
            calls(call("g", B, index=1, id="c2", type="function")),
        ),
        TWO,
    ),
    "names first, then the arguments in turn": (
        stream(
            calls(call("f", "", index=0, id="c1"), call("g", "", index=1, id="c2")),
            calls(call(arguments=PIECES[0], index=0)),
            calls(call(arguments=B, index=1)),
            calls(call(arguments=PIECES[1], index=0)),
        ),
        TWO,
    ),
    "the last chunk repeats the call": (
        stream(
            *[calls(call("f", p, index=0, id="c1")) for p in PIECES],
            chunk({"tool_calls": [call("f", "", index=0, id="c1")]}),
        ),
        [("f", A)],
    ),
    "no arguments": (
        stream(calls(call("f", "", index=0, id="c1")), calls(call("g", index=1, id="c2"))),
        [("f", "{}"), ("g", "{}")],
    ),
    "arguments that are null": (
        stream(calls({"index": 0, "id": "c1", "function": {"name": "f", "arguments": None}})),
        [("f", "{}")],
    ),
    "calls with the finish": (
        [chunk({"tool_calls": [call("f", A, index=0, id="c1")]}, "stop"), b"data: [DONE]\n\n"],
        [("f", A)],
    ),
    "no reason to finish": (stream(calls(call("f", A, index=0, id="c1")), finish=None), [("f", A)]),
    "an unknown word for the end": (stream(calls(call("f", A, index=0, id="c1")), finish="Done!"), [("f", A)]),
    "an index that is a float, or a text": (
        stream(calls(call("f", A, index=0.0, id="c1")), calls(call("g", PIECES[0], index="1", id="c2")),
               calls(call(arguments=PIECES[1], index="1"))),
        [("f", A), ("g", A)],
    ),
    "the whole call twice": (
        stream(*[calls(call("f", A, index=0, id="c1", type="function"))] * 2, calls(call("g", B, index=1, id="c2"))),
        TWO,
    ),
    "another word for the end": (stream(calls(call("f", A, index=0, id="c1")), finish="eos"), [("f", A)]),
}  # fmt: skip


def passed_on(pieces: list[bytes], *, messages: bool = False) -> bytes:
    ids = (f"call_{number}" for number in itertools.count())
    with mock.patch.object(mend, "new_call_id", side_effect=ids):
        inner = EventStream("ours", drop_usage=True)
        events = MessageEvents(inner, "ours") if messages else inner
        return b"".join([events.feed(piece) for piece in pieces]) + events.end()


def joined(sent: bytes) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """The calls as OpenAI's clients join them, their IDs, and the finish reasons."""
    found: dict[int, dict[str, str]] = {}
    reasons = []
    for event in split(sent):
        for choice in (payload(event) or {}).get("choices", ()):
            for entry in choice["delta"].get("tool_calls") or ():
                assert type(entry["index"]) is int
                one = found.setdefault(entry["index"], {"id": "", "name": "", "arguments": ""})
                one["id"] += entry.get("id") or ""
                for field in ("name", "arguments"):
                    one[field] += entry["function"].get(field) or ""
            if choice["finish_reason"]:
                reasons.append(choice["finish_reason"])
    assert list(found) == list(range(len(found)))
    return [(c["name"], c["arguments"]) for c in found.values()], [c["id"] for c in found.values()], reasons


@pytest.mark.parametrize("name", STREAMS)
def test_chat_clients_get_every_call_whole(name):
    events, wanted = STREAMS[name]
    found, ids, reasons = joined(passed_on(events))
    assert found == wanted
    assert len(set(ids)) == len(wanted)
    assert all(ids)
    assert reasons == ["tool_calls"]


def test_ordinary_stream_with_calls_is_unchanged():
    events, _ = STREAMS["ordinary"]
    assert passed_on(events) == b"".join(events).replace(b'"theirs"', b'"ours"')


def test_arguments_of_an_ordinary_stream_are_not_parsed():
    events, _ = STREAMS["ordinary"]
    stream = EventStream("ours", drop_usage=True)
    for event in events[:2]:
        stream.feed(event)
    with mock.patch("container.formats.shared.chat_stream.payload", side_effect=AssertionError("parsed")):
        for event in events[2:4]:
            stream.feed(event)


@pytest.mark.parametrize("name", STREAMS)
def test_messages_clients_get_every_call_whole(name):
    events, wanted = STREAMS[name]
    blocks = read_blocks(passed_on(events, messages=True))
    called = [b for b in blocks if b["type"] == "tool_use"]
    assert [(b["name"], orjson.loads(b["json"])) for b in called] == [(n, orjson.loads(a)) for n, a in wanted]
    assert len({b["id"] for b in called}) == len(wanted)
    assert blocks[-1] == {"type": "end", "reason": "tool_use"}
    assert not [b for b in blocks if b["type"] == "text" and not b["text"].strip()]


def read_blocks(sent: bytes) -> list[dict[str, Any]]:
    """The blocks as Anthropic's clients join them. Only one is open at a time."""
    blocks: list[dict[str, Any]] = []
    open_at = None
    for event in split(sent):
        said = payload(event)
        assert said is not None
        kind = said["type"]
        if kind == "content_block_start":
            assert open_at is None
            open_at = said["index"]
            assert open_at == len(blocks)
            blocks.append({**said["content_block"], "json": ""})
        elif kind == "content_block_delta":
            assert said["index"] == open_at
            block, delta = blocks[-1], said["delta"]
            if delta["type"] == "input_json_delta":
                block["json"] += delta["partial_json"]
            elif delta["type"] == "text_delta":
                block["text"] += delta["text"]
            else:
                block["thinking"] += delta["thinking"]
        elif kind == "content_block_stop":
            assert said["index"] == open_at
            open_at = None
        elif kind == "message_delta":
            assert open_at is None
            blocks.append({"type": "end", "reason": said["delta"]["stop_reason"]})
    return blocks


@pytest.mark.parametrize("messages", [False, True])
@given(data=st.data())
def test_result_does_not_depend_on_the_split(messages, data):
    events, _ = STREAMS[data.draw(st.sampled_from(sorted(STREAMS)))]
    sent = b"".join(events)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=12))
    edges = [0, *sorted(cuts), len(sent)]
    pieces = [sent[a:b] for a, b in itertools.pairwise(edges)]
    assert passed_on(pieces, messages=messages) == passed_on([sent], messages=messages)
    assert passed_on(pieces, messages=messages) == passed_on(events, messages=messages)


THOUGHTS = {
    "reasoning": [chunk({"reasoning": "h"}), chunk({"reasoning": "m"})],
    "reasoning, and the same as reasoning_content": [
        chunk({"reasoning": p, "reasoning_content": p, "content": ""}) for p in "hm"
    ],
    "reasoning_content": [chunk({"reasoning_content": "h"}), chunk({"reasoning_content": "m"})],
    "reasoning_details": [chunk({"reasoning_details": [{"type": "reasoning.text", "text": p}]}) for p in "hm"],
    "reasoning and its details": [
        chunk({"reasoning": p, "reasoning_details": [{"type": "reasoning.text", "text": p}]}) for p in "hm"
    ],
    "reasoning as an object": [chunk({"reasoning": {"content": p}}) for p in "hm"],
    "reasoning as a list": [chunk({"reasoning": [{"type": "text", "text": p}]}) for p in "hm"],
    "reasoning_content as a list": [chunk({"reasoning_content": [{"type": "text", "text": p}]}) for p in "hm"],
    "parts": [chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": p}]}]}) for p in "hm"],
}


@pytest.mark.parametrize("name", THOUGHTS)
@pytest.mark.parametrize("text", [{"content": "Hi"}, {"content": [{"type": "text", "text": "Hi"}]}])
def test_reasoning_of_a_stream_has_one_shape(name, text):
    events = stream(*THOUGHTS[name], chunk({**text, "reasoning": None, "reasoning_details": []}))
    deltas = [c["delta"] for event in split(passed_on(events)) for c in (payload(event) or {}).get("choices", ())]
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == "hm"
    assert "".join(d.get("content") or "" for d in deltas) == "Hi"
    assert not any(d.get("reasoning") for d in deltas)
    blocks = read_blocks(passed_on(events, messages=True))
    assert [(b["type"], b.get("thinking") or b.get("text")) for b in blocks[:-1]] == [
        ("thinking", "hm"),
        ("text", "Hi"),
    ]


def test_legacy_function_call_ends_with_function_call():
    events = stream(
        chunk({"function_call": {"name": "f", "arguments": ""}}), chunk({"function_call": {"arguments": B}})
    )
    assert joined(passed_on(events))[2] == ["function_call"]
    blocks = read_blocks(passed_on(events, messages=True))
    assert (blocks[0]["type"], blocks[0]["name"], blocks[0]["json"]) == ("tool_use", "f", B)
    assert blocks[-1]["reason"] == "tool_use"


def test_text_between_two_calls_stays_between_them():
    events = stream(
        calls(call("f", A, index=0, id="1")), chunk({"content": "And"}), calls(call("g", B, index=1, id="2"))
    )
    assert [b["type"] for b in read_blocks(passed_on(events, messages=True))] == ["tool_use", "text", "tool_use", "end"]


def test_calls_of_several_choices_are_kept_apart():
    def one(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"

    sent = passed_on(
        [one(i, {"tool_calls": [call("f", A)]}) for i in range(2)] + [one(0, {}, "stop"), one(1, {}, "stop")]
    )
    choices = [c for event in split(sent) for c in (payload(event) or {}).get("choices", ())]
    assert [c["delta"]["tool_calls"][0]["index"] for c in choices[:2]] == [0, 0]
    assert [c["finish_reason"] for c in choices[2:]] == ["tool_calls", "tool_calls"]
