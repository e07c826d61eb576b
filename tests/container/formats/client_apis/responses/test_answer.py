"""Streams of the Responses API from every provider's format, however the bytes are cut."""

import functools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.accounting.reservation import Transcript
from container.config.deployment import Deployment
from container.formats.anthropic import Anthropic
from container.formats.client_apis.over_chat import OverChat
from container.formats.client_apis.responses import TRANSLATED
from container.formats.client_apis.responses.answer import ResponseEvents
from container.formats.gemini import Gemini
from container.formats.openai import OpenAI
from container.formats.responses import Responses
from container.formats.shared.wire import Format
from container.request.client_apis import parse_responses
from container.routing.health import Outcome
from tests import response_events
from tests.thorough import examples

NAME = 'gpt "our" \\ möglich/x'
TOOLS = [
    {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}},
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}},
    {"type": "local_shell"},
    {"type": "namespace", "name": "crm", "description": "d", "tools": [{"type": "function", "name": "g"}]},
]
PATCH = '*** Begin "x"\n+ä'
FORMATS: dict[str, tuple[Format, str]] = {
    "openai": (OpenAI(drop_params=False), "openai"),
    "anthropic": (Anthropic(drop_params=False), "anthropic"),
    "gemini": (Gemini(drop_params=False), "gemini"),
    "responses": (Responses(drop_params=False), "openai"),
}


def sse(*objects: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in objects)


def chunks(*deltas: dict[str, Any], finish: str = "stop", usage: bool = True) -> bytes:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "theirs"}
    made = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    made.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        details = {"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 2}}
        made.append({**head, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, **details}})
    return sse(*made) + b"data: [DONE]\n\n"


def call(index: int, name: str, *pieces: str) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": ""}
    head = {"tool_calls": [{"index": index, "id": f"call_{name}", "type": "function", "function": function}]}
    return [head, *({"tool_calls": [{"index": index, "function": {"arguments": one}}]} for one in pieces)]


def claude(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], stop: str = "end_turn") -> bytes:
    usage = {"input_tokens": 6, "cache_read_input_tokens": 3, "output_tokens": 1}
    made: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "msg", "usage": usage}}]
    for index, (block, deltas) in enumerate(blocks):
        made.append({"type": "content_block_start", "index": index, "content_block": block})
        made += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        made.append({"type": "content_block_stop", "index": index})
    made.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 5}})
    return sse(*made, {"type": "message_stop"})


def gemini(*parts: dict[str, Any]) -> bytes:
    made: list[dict[str, Any]] = [{"candidates": [{"content": {"parts": [part]}}]} for part in parts]
    counts = {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 14}
    return sse(
        *made, {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {**counts, "cachedContentTokenCount": 3}}
    )


THINKING = (
    {"type": "thinking", "thinking": ""},
    [{"type": "thinking_delta", "thinking": "hm, "}, {"type": "thinking_delta", "thinking": "ok"},
     {"type": "signature_delta", "signature": "sig"}],
)  # fmt: skip
CITATION = {"start_index": 0, "end_index": 2, "title": "t", "url": "https://a.example"}


def text(said: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block of Claude's."""
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": said}]


def tool(name: str, *pieces: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block of Claude's."""
    block = {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": {}}
    return block, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


AS_JSON = orjson.dumps({"input": PATCH}).decode()
SIGNED_CALL = {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
TWO_CALLS = {"tool_calls": [*call(0, "f")[0]["tool_calls"], *call(1, "g")[0]["tool_calls"]]}
# (format, stream, types of the items)
STREAMS: dict[str, tuple[str, bytes, list[str]]] = {
    "text": ("openai", chunks({"content": ""}, {"content": "Hé"}, {"content": "llo"}), ["message"]),
    "nothing": ("openai", chunks({"content": ""}), []),
    "blank": ("openai", chunks({"content": "\n"}), ["message"]),
    "thoughts": (
        "openai",
        chunks({"reasoning_content": "h"}, {"reasoning_content": "m"}, {"content": "Hi"}),
        ["reasoning", "message"],
    ),
    "refusal": ("openai", chunks({"content": "Well"}, {"refusal": "No"}, {"refusal": "."}), ["message"]),
    "cut off": ("openai", chunks({"content": "Hé"}, finish="length"), ["message"]),
    "calls": (
        "openai",
        chunks(*call(0, "f", '{"a"', ":1}"), {"content": "\n"}, *call(1, "f2", "{}"), finish="tool_calls"),
        ["function_call", "function_call"],
    ),
    "calls at once": (
        "openai",
        chunks(TWO_CALLS, *call(1, "g", '{"b":2}')[1:], *call(0, "f", '{"a":1}')[1:], finish="tool_calls"),
        ["function_call", "function_call"],
    ),
    "custom call": (
        "openai",
        chunks({"content": "So"}, *call(0, "patch", AS_JSON[:9], AS_JSON[9:]), finish="tool_calls"),
        ["message", "custom_tool_call"],
    ),
    "shell": (
        "openai",
        chunks(*call(0, "local_shell", '{"command":["ls"]}'), *call(1, "crm__g", "{}")),
        ["local_shell_call", "function_call"],
    ),
    "citations": (
        "openai",
        chunks({"content": "Hi"}, {"annotations": [{"type": "url_citation", "url_citation": CITATION}]}),
        ["message"],
    ),
    "claude": (
        "anthropic",
        claude(THINKING, text("Hi"), tool("f", '{"a":', "1}"), tool("patch", AS_JSON), stop="tool_use"),
        ["reasoning", "message", "function_call", "custom_tool_call"],
    ),
    "claude's hidden thoughts": (
        "anthropic",
        claude(({"type": "redacted_thinking", "data": "xx"}, []), text("Hi"), stop="max_tokens"),
        ["reasoning", "message"],
    ),
    "gemini": (
        "gemini",
        gemini({"text": "hm", "thought": True}, {"text": "Hi"}, SIGNED_CALL),
        ["reasoning", "message", "function_call"],
    ),
    "gemini's signed text": (
        "gemini",
        gemini({"text": "Hi"}, {"text": "", "thoughtSignature": "c2ln"}),
        ["message", "reasoning"],
    ),
}


def over(name: str, body: dict[str, Any] | None = None):
    format, provider = FORMATS[name]
    d = Deployment(
        id="d", group="m", provider=provider, model="claude-x", kind="direct", needs=(), off=(), format=provider
    )
    fields = {"model": "m", "input": "Hi", "stream": True, "tools": TOOLS, **(body or {})}
    request = parse_responses(orjson.dumps(fields))
    bridge = OverChat(TRANSLATED, format, drop_params=False)
    return bridge, bridge.request(d, "claude-x", request), request


def streamed(name: str, cuts: list[int]) -> bytes:
    format, data, _ = STREAMS[name]
    bridge, sent, request = over(format)
    events = bridge.events(NAME, request, sent)
    made = b""
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        made += events.feed(data[start:end])
    made += events.end()
    assert events.begins(b"") is True
    assert not events.cut_off
    return made


@pytest.mark.parametrize("name", STREAMS)
def test_stream_is_valid(name: str):
    last = response_events.ended(streamed(name, []))
    assert [item["type"] for item in last["output"]] == STREAMS[name][2]
    assert last["model"] == NAME
    assert last["usage"]["input_tokens_details"]["cached_tokens"] == 3


@settings(max_examples=examples(150, 50), deadline=None)
@given(name=st.sampled_from(sorted(STREAMS)), data=st.data())
def test_cuts_change_nothing(name: str, data: st.DataObject):
    size = len(STREAMS[name][1])
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    assert _shape(streamed(name, cuts)) == _whole(name)


@functools.cache
def _whole(name: str) -> Any:
    return _shape(streamed(name, []))


def _shape(data: bytes) -> list[Any]:
    """The events without ids and times."""
    last = response_events.ended(data)
    suffix = last["id"].removeprefix("resp_").encode()
    return response_events.events(
        data.replace(suffix, b"").replace(b'"created_at":%d' % last["created_at"], b'"created_at":1')
    )


def test_split_surrogate_pair_is_whole_in_the_end():
    data = chunks({"content": "a"}, {"content": "high"}, {"content": "low"})
    bridge, sent, request = over("openai")
    events = bridge.events(NAME, request, sent)
    made = b"".join(
        events.feed(event + b"\n\n")
        for event in data.replace(b'"high"', rb'"\ud83d"').replace(b'"low"', rb'"\ude00"').split(b"\n\n")
        if event
    )
    last = [event for event in (made + events.end()).split(b"\n\n") if event][-1]
    response = orjson.loads(last.split(b"data: ")[1])["response"]
    assert response["output"][0]["content"][0]["text"] == "a\U0001f600"


def test_arguments_that_were_not_told_are_charged_for():
    bridge, sent, request = over("openai")
    events = bridge.events(NAME, request, sent)
    data = chunks(*call(0, "local_shell", '{"command":["cat', ' notes.txt"'))
    events.feed(data[: data.index(b'"finish_reason":"stop"')].rpartition(b"data: ")[0])
    said = Transcript()
    said.add(events.unsent)  # pyright: ignore[reportAttributeAccessIssue]
    assert said.text() == '{"command":["cat notes.txt"'


@pytest.mark.parametrize("name", STREAMS)
def test_failure_in_the_middle_is_valid(name: str):
    format, data, _ = STREAMS[name]
    bridge, sent, request = over(format)
    events = bridge.events(NAME, request, sent)
    assert isinstance(events, ResponseEvents)
    made = events.feed(data[: len(data) * 2 // 3])
    last = response_events.ended(made + events.broken(Outcome("rate_limit", 429, "slow down")))
    assert (last["status"], last["error"]["code"]) == ("failed", "rate_limit_exceeded")
