"""Responses and streams with values of undocumented types cause an Outcome, never an exception."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.config.deployment import Deployment
from container.formats.anthropic import Anthropic
from container.formats.client_apis import messages, responses
from container.formats.client_apis.messages import ToClaude
from container.formats.client_apis.over_chat import OverChat
from container.formats.client_apis.responses import Passing
from container.formats.gemini import Gemini
from container.formats.openai import OpenAI
from container.formats.responses import Responses
from container.formats.shared.wire import Format, Plain
from container.request.client_apis import parse_messages, parse_responses
from container.request.completion import parse
from container.routing.health import Outcome
from tests.fakes.formats.responses import streamed

STRANGE = (None, True, 0, -7, 2.5, "", "text", "tool_use", [], [5], ["text"], [[]], {}, {"type": "text"}, {"text": 5})

OPENAI = OpenAI(drop_params=False)
ANTHROPIC = Anthropic(drop_params=False)
GEMINI = Gemini(drop_params=False)
RESPONSES = Responses(drop_params=False)
FORMATS: dict[str, tuple[Format, str]] = {
    "openai": (OPENAI, "openai"),
    "anthropic": (ANTHROPIC, "anthropic"),
    "gemini": (GEMINI, "gemini"),
    "responses": (RESPONSES, "responses"),
    "messages to claude": (ToClaude(drop_params=False), "anthropic"),
    "messages over openai": (OverChat(messages.TRANSLATED, OPENAI, drop_params=False), "openai"),
    "messages over responses": (OverChat(messages.TRANSLATED, RESPONSES, drop_params=False), "responses"),
    "responses passed": (Passing(drop_params=False), "responses"),
    "responses over claude": (OverChat(responses.TRANSLATED, ANTHROPIC, drop_params=False), "anthropic"),
    "responses over openai": (OverChat(responses.TRANSLATED, OPENAI, drop_params=False), "openai"),
    "responses over gemini": (OverChat(responses.TRANSLATED, GEMINI, drop_params=False), "gemini"),
    "messages over gemini": (OverChat(messages.TRANSLATED, GEMINI, drop_params=False), "gemini"),
}

CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OPENAI_USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
ANTHROPIC_USAGE = {
    "input_tokens": 9,
    "output_tokens": 2,
    "cache_read_input_tokens": 1,
    "iterations": [{"input_tokens": 9, "output_tokens": 2}],
    "output_tokens_details": {"thinking_tokens": 1},
}
CITATIONS = [{"type": "web_search_result_location", "url": "https://a.example"}]
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
GEMINI_CANDIDATE = {
    "index": 0,
    "finishReason": "STOP",
    "content": {
        "role": "model",
        "parts": [
            {"text": "hm", "thought": True, "thoughtSignature": "s"},
            {"text": "Hi"},
            {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
            {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}, "thoughtSignature": "s"},
        ],
    },
    "logprobsResult": {
        "chosenCandidates": [{"token": "Hi", "logProbability": -1.0}],
        "topCandidates": [{"candidates": [{"token": "Hi", "logProbability": -1.0}]}],
    },
    "groundingMetadata": {
        "webSearchQueries": ["q"],
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
        "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 2}, "groundingChunkIndices": [0]}],
    },
}
GEMINI_ANSWER = {
    "responseId": "r",
    "candidates": [GEMINI_CANDIDATE],
    "usageMetadata": {
        "promptTokenCount": 9,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 1,
        "toolUsePromptTokenCount": 3,
        "totalTokenCount": 15,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
    },
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_760_000_000,
    "status": "completed",
    "incomplete_details": {"reason": "max_output_tokens"},
    "service_tier": "default",
    "output": [
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "g",
        },
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [
                {
                    "type": "output_text",
                    "text": "Hi",
                    "logprobs": [{"token": "Hi", "logprob": -1.0}],
                    "annotations": [{"type": "url_citation", "url": "https://a.example", "start_index": 0}],
                },
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"id": "ctc_1", "type": "custom_tool_call", "call_id": "d", "name": "g", "input": "x"},
    ],
    "usage": {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 11,
    },
}
RESPONSE_EVENTS = streamed(RESPONSE, 2)
ANSWERS: dict[str, Any] = {
    "openai": {
        "id": "chatcmpl-1",
        "model": "theirs",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {"role": "assistant", "content": "Hi", "reasoning_content": "hm", "tool_calls": [CALL]},
            }
        ],
        "usage": OPENAI_USAGE,
    },
    "anthropic": {
        "id": "msg_1",
        "model": "theirs",
        "stop_reason": "tool_use",
        "content": [
            THOUGHT,
            {"type": "text", "text": "Hi", "citations": CITATIONS},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            {"type": "web_search_tool_result", "content": []},
        ],
        "usage": ANTHROPIC_USAGE,
    },
    "gemini": GEMINI_ANSWER,
    "responses": RESPONSE,
}


def _chunk(delta: Any, finish: str | None = None) -> dict[str, Any]:
    return {"id": "1", "model": "theirs", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _block(index: int, block: Any, *deltas: Any) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *[{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": index},
    ]


STREAMS: dict[str, list[Any]] = {
    "openai": [
        _chunk({"role": "assistant", "reasoning_content": "hm"}),
        _chunk({"content": "Hi"}),
        _chunk({"tool_calls": [CALL]}),
        _chunk({}, "stop"),
        {"model": "theirs", "choices": [], "usage": OPENAI_USAGE},
        {"error": {"message": "overloaded", "type": "server_error", "code": "503"}},
    ],
    "anthropic": [
        {"type": "message_start", "message": {"id": "msg_1", "model": "theirs", "usage": ANTHROPIC_USAGE}},
        *_block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"}),
        *_block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"}),
        *_block(2, {"type": "text", "text": ""}, {"type": "citations_delta", "citation": CITATIONS[0]}),
        *_block(3, {"type": "tool_use", "id": "c", "name": "f"}, {"type": "input_json_delta", "partial_json": "{}"}),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": ANTHROPIC_USAGE},
        {"type": "message_stop"},
        {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}},
    ],
    "responses": [
        *(orjson.loads(e.split(b"data: ")[1]) for e in (*RESPONSE_EVENTS.head, *RESPONSE_EVENTS.content)),
        *(orjson.loads(e.split(b"data: ")[1]) for e in RESPONSE_EVENTS.tail),
        {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "overloaded"}}},
        {"type": "error", "code": "server_error", "message": "overloaded"},
    ],
    "gemini": [GEMINI_ANSWER, {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in it."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


@st.composite
def damaged(draw: st.DrawFn, sound: Any) -> Any:
    """A copy with one to three values replaced."""
    value = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from([p for p in places(value) if p]))
        holder = value
        for key in path:
            holder = holder[key]
        holder[last] = copy.deepcopy(draw(st.sampled_from(STRANGE)))
    return value


def asked(name: str):
    """A deployment of the format, and a request to it."""
    format, wire = FORMATS[name]
    d = Deployment("id", "m", wire, "x", "direct", (), (), format=wire)
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    if name.startswith("responses "):
        request = parse_responses(orjson.dumps({"model": "m", "input": "Hi", "stream": True}))
    elif name.startswith("messages"):
        request = parse_messages("messages", orjson.dumps({**body, "max_tokens": 9}), "")
    else:
        request = parse("chat_completions", orjson.dumps(body))
    return format, wire, request, format.request(d, "x", request)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_damaged_response_is_a_response_or_an_outcome(name, data):
    format, wire, _, sent = asked(name)
    found = format.plain(orjson.dumps(data.draw(damaged(ANSWERS[wire]))), "m", sent)
    assert isinstance(found, (Plain, Outcome))


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_damaged_stream_continues_or_reports_an_error(name, data):
    format, wire, request, sent = asked(name)
    events = format.events("m", request, sent)
    for event in data.draw(damaged(STREAMS[wire])):
        raw = orjson.dumps(event)
        kind = event.get("type") if isinstance(event, dict) and wire == "anthropic" else None
        said = events.feed((f"event: {kind}\n".encode() if isinstance(kind, str) else b"") + b"data: " + raw + b"\n\n")
        assert events.begins(said) in (True, False) or isinstance(events.begins(said), Outcome)
    events.end()
    assert events.usage is None or isinstance(events.usage, dict)
