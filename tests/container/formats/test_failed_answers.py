"""Errors that Claude, or a compatible server, reports with status 200."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.anthropic.answer import ChunkStream
from container.formats.anthropic.request import Translated
from container.formats.client_apis.messages.answer import PassedEvents, passed_message
from container.formats.shared.events import payload, split
from container.routing.health import Outcome

START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"theirs","usage":{}}}\n\n'
BLOCK = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"so far, \\"error\\" and data: {}"}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

ERRORS = {
    b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"boom"}}\n\n': 529,
    b'data: {"type":"error","error":"boom"}\n\n': 0,
    b'data: {"error":{"message":"boom","code":502}}\n\n': 502,
    b'data: {"error":"boom"}\n\n': 0,
    b'data: {"detail":"boom"}\n\n': 0,
    b'data: {"object":"error","message":"boom","code":500}\n\n': 500,
    b'data: {"base_resp":{"status_code":1008,"status_msg":"boom"}}\n\n': 402,
}


@pytest.mark.parametrize("body", [payload(event) for event in ERRORS] + [{"content": None, "message": "boom"}])
def test_whole_response_that_is_an_error(body):
    found = passed_message(orjson.dumps(body), "ours")
    assert isinstance(found, Outcome)
    assert (found.kind, found.message) == ("server", "boom")


@pytest.mark.parametrize("event", [*ERRORS, b"event: error\ndata: boom\n\n", b"data: boom\n\n"])
def test_error_before_the_content_allows_a_fallback(event):
    events = PassedEvents("ours")
    began = events.begins(events.feed(START + event))
    assert isinstance(began, Outcome)
    assert (began.kind, began.status, began.message) == ("server", ERRORS.get(event, 0), "boom")
    assert events.feed(BLOCK + STOP) + events.end() == b""


@pytest.mark.parametrize("event", [*ERRORS, b"event: error\ndata: boom\n\n"])
@given(cuts=st.lists(st.integers(0, 900), max_size=6))
def test_error_in_mid_stream_is_one_error_event(event, cuts):
    sent = START + BLOCK + event + BLOCK + STOP
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    events = PassedEvents("ours")
    got = b"".join(events.feed(sent[a:b]) for a, b in itertools.pairwise(edges)) + events.end()
    *before, last = split(got)
    assert b"".join(before) == START.replace(b"theirs", b"ours") + BLOCK
    error = payload(last)
    assert error is not None
    assert (error["type"], error["error"]["message"]) == ("error", "boom")
    assert events.failed is not None


@pytest.mark.parametrize("event", ERRORS)
def test_error_in_mid_stream_is_openais_error_for_chat_clients(event):
    names = dict.fromkeys(Translated._fields)
    asked = Translated(**{**names, "names": {}, "json_tool": False})
    events = ChunkStream("ours", asked, wants_usage=False)
    assert events.begins(events.feed(START + BLOCK)) is True
    error = payload(events.feed(event))
    assert error is not None
    assert error["error"]["message"] == "boom"
    assert events.failed is not None
    assert events.feed(BLOCK + STOP) + events.end() == b""


@pytest.mark.parametrize("noise", [b"data: [DONE]\n\n", b"data:\n\n", b"data: null\n\n", b"data: []\n\n"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_malformed_event_does_not_reach_messages_clients(noise, size):
    sent = noise + START + noise + BLOCK + noise + STOP + noise
    events = PassedEvents("ours")
    got = b"".join(events.feed(sent[i : i + size]) for i in range(0, len(sent), size)) + events.end()
    assert got == START.replace(b"theirs", b"ours") + BLOCK + STOP
    assert not events.cut_off


def test_event_without_a_name_gets_one():
    unnamed = b"\n".join(line for line in (START + BLOCK + STOP).split(b"\n") if not line.startswith(b"event:"))
    assert PassedEvents("theirs").feed(unnamed) == START + BLOCK + STOP
