"""Ids in a response are replaced, wherever they stand, and nothing else is."""

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared.events import split
from container.handlers.response_state import ResponseIds


def ids(known: dict[str, str] | None = None) -> ResponseIds:
    return ResponseIds(lambda id: f"R-{id}", lambda id: f"I-{id}", known)


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


ITEM = {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": 'He said "id": "msg_1"'}]}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "previous_response_id": "resp_0",
    "output": [ITEM, {"id": "fc_1", "type": "function_call", "arguments": '{"id": "msg_1"}', "call_id": "msg_1"}],
    "metadata": {"id": "mine", "item_id": "msg_9"},
    "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"id": {"type": "string"}}}}],
}
STREAM = [
    event("response.created", response={**RESPONSE, "output": []}),
    event("response.output_item.added", item={**ITEM, "content": []}),
    event("response.output_text.delta", item_id="msg_1", delta='"id": "msg_1" and resp_1'),
    b": keep-alive\n\n",
    event("response.output_item.done", item=ITEM),
    event("response.completed", response=RESPONSE),
]
SEALED = {"resp_1": "R-resp_1", "msg_1": "I-msg_1", "fc_1": "I-fc_1", "resp_0": "sealed-before"}


def expected(value: Any) -> Any:
    """The value with the ids of responses and items replaced."""
    if isinstance(value, list):
        return [expected(one) for one in value]
    if not isinstance(value, dict):
        return value
    names = ("id", "item_id", "previous_response_id")
    return {
        name: SEALED.get(found, found) if name in names and isinstance(found, str) else expected(found)
        for name, found in value.items()
    }


def test_a_complete_response():
    found = ids({"resp_0": "sealed-before"})
    assert json.loads(found.whole(json.dumps(RESPONSE).encode())) == expected(RESPONSE)
    assert found.ended == RESPONSE


@given(st.lists(st.integers(1, len(STREAM)), max_size=4))
def test_a_stream_however_its_events_are_grouped(cuts: list[int]):
    found = ids({"resp_0": "sealed-before"})
    edges = sorted({0, *cuts, len(STREAM)})
    groups = [b"".join(STREAM[first:last]) for first, last in itertools.pairwise(edges)]
    shown = split(b"".join(map(found.feed, groups)))
    assert len(shown) == len(STREAM)
    for before, after in zip(STREAM, shown, strict=True):
        if before.startswith(b":"):
            assert after == before
            continue
        one, other = (json.loads(part.partition(b"data: ")[2]) for part in (before, after))
        assert other == expected(one)
    assert found.ended == RESPONSE


def test_a_list_of_items():
    page = {"object": "list", "data": [ITEM], "first_id": "msg_1", "last_id": "msg_1", "has_more": False}
    found = json.loads(ids().items(json.dumps(page).encode()))
    assert (found["data"][0]["id"], found["first_id"], found["last_id"]) == ("I-msg_1",) * 3


def test_what_is_not_a_response_passes():
    for raw in (b"[]", b"7", b'{"error": {"id": "resp_1"}}', b'{"id": 7, "output": {"id": "x"}}'):
        assert ids().whole(raw) == raw
    for raw in (b"data: [DONE]\n\n", b'data: {"response": 7}\n\n', b'data: {"response": {"id": \n\n'):
        assert ids().feed(raw) == raw
