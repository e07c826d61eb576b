"""Chat completions as responses of Gemini's API, complete and in every split of a stream."""

import base64
from typing import Any

import orjson
import pytest

from container.formats.client_apis.gemini import PassedContent
from container.formats.client_apis.gemini.answer import ContentEvents, response, usage_metadata
from container.formats.client_apis.gemini.request import signed_blocks
from container.formats.shared.chat_stream import EventStream

CALL = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 7,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def completion(message: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **more}
    return {"id": "chatcmpl-1", "choices": [choice], "usage": USAGE}


def parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    return response(completion(message), "m")["candidates"][0]["content"]["parts"]


def test_a_whole_response():
    assert response(completion({"content": "Hi", "reasoning_content": "hm"}), "m") == {
        "candidates": [
            {
                "content": {"parts": [{"text": "hm", "thought": True}, {"text": "Hi"}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 5,
            "totalTokenCount": 17,
            "thoughtsTokenCount": 2,
            "cachedContentTokenCount": 4,
        },
        "modelVersion": "m",
        "responseId": "chatcmpl-1",
    }


@pytest.mark.parametrize(
    ("finish", "wanted"),
    [
        ("stop", "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        ("anything", "STOP"),
    ],
)
def test_finish_reasons(finish, wanted):
    assert response(completion({"content": "Hi"}, finish), "m")["candidates"][0]["finishReason"] == wanted


def test_calls():
    other = {**CALL, "id": "call_b__thought__c2ln", "function": {"name": "g", "arguments": ""}}
    assert parts({"content": None, "tool_calls": [CALL, other]}) == [
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "call_a"}},
        {"functionCall": {"name": "g", "args": {}, "id": "call_b"}, "thoughtSignature": "c2ln"},
    ]


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", None, 3])
def test_arguments_that_are_no_object(arguments):
    (part,) = parts({"tool_calls": [{**CALL, "function": {"name": "f", "arguments": arguments}}]})
    assert part["functionCall"]["args"] == {}


def test_claudes_thinking_travels_with_the_first_call():
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "sig"}]
    thought, call = parts({"reasoning_content": "hm", "thinking_blocks": blocks, "tool_calls": [CALL]})
    assert thought == {"text": "hm", "thought": True}
    assert signed_blocks(call["thoughtSignature"]) == blocks
    assert base64.b64decode(call["thoughtSignature"], validate=True)


def test_a_refusal():
    candidate = response(completion({"content": None, "refusal": "No."}), "m")["candidates"][0]
    assert (candidate["content"]["parts"], candidate["finishReason"]) == ([{"text": "No."}], "SAFETY")


def test_logprobs():
    token = {"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Ho", "logprob": -1.0}]}
    candidate = response(completion({"content": "Hi"}, logprobs={"content": [token]}), "m")["candidates"][0]
    assert candidate["logprobsResult"] == {
        "chosenCandidates": [{"token": "Hi", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "Ho", "logProbability": -1.0}]}],
    }


@pytest.mark.parametrize("usage", [None, [], "x", {"prompt_tokens": "many"}])
def test_an_odd_usage_counts_nothing(usage):
    assert usage_metadata(usage) == {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    said = {"id": "chatcmpl-1", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}
    return b"data: " + orjson.dumps({**said, "object": "chat.completion.chunk", "model": "theirs"}) + b"\n\n"


def piece(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **more, "function": {"arguments": arguments, **more.get("function", {})}}]}


CHAT = b"".join(
    [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "h", "thinking_blocks": [{"type": "thinking", "thinking": "h"}]}),
        chunk({"reasoning_content": "m", "thinking_blocks": [{"type": "thinking", "thinking": "m"}]}),
        chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "sig"}]}),
        chunk({"content": "H\u00e4"}),
        chunk({"content": "llo"}),
        chunk({"tool_calls": [{"index": 0, "id": "call_a", "function": {"name": "f", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 1, "id": "call_b", "function": {"name": "g", "arguments": "{}"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
        chunk({}, "tool_calls"),
        b"data: " + orjson.dumps({"id": "chatcmpl-1", "choices": [], "usage": USAGE}) + b"\n\n",
        b"data: [DONE]\n\n",
    ]
)


def read(told: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(event.removeprefix(b"data: ")) for event in told.split(b"\n\n") if event]


def events(data: bytes, *cuts: int) -> tuple[list[dict[str, Any]], ContentEvents]:
    stream = ContentEvents(EventStream("m", drop_usage=True), "m")
    told = b"".join([stream.feed(data[a:b]) for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True)])
    return read(told + stream.end()), stream


def test_a_stream_in_every_split():
    whole, stream = events(CHAT)
    said = [part for event in whole for part in event["candidates"][0]["content"]["parts"]]
    *texts, first, second = said
    assert texts == [{"text": "h", "thought": True}, {"text": "m", "thought": True}, {"text": "Hä"}, {"text": "llo"}]
    assert first["functionCall"] == {"name": "f", "args": {"a": 1}, "id": "call_a"}
    blocks = signed_blocks(first["thoughtSignature"])
    assert blocks == [{"type": "thinking", "thinking": "hm", "signature": "sig"}]
    assert second == {"functionCall": {"name": "g", "args": {}, "id": "call_b"}}
    assert [event["candidates"][0].get("finishReason") for event in whole] == [None] * 4 + ["STOP"]
    assert whole[-1]["usageMetadata"]["thoughtsTokenCount"] == 2
    assert {(event["modelVersion"], event["responseId"]) for event in whole} == {("m", "chatcmpl-1")}
    assert not stream.cut_off
    for cut in range(1, len(CHAT), 3):
        assert events(CHAT, cut)[0] == whole


def test_several_candidates():
    data = chunk({"content": "a"}) + chunk({"content": "b"}, index=1) + chunk({}, "stop") + chunk({}, "length", index=1)
    *texts, last = events(data + b"data: [DONE]\n\n")[0]
    assert [(e["candidates"][0]["index"], e["candidates"][0]["content"]["parts"]) for e in texts] == [
        (0, [{"text": "a"}]),
        (1, [{"text": "b"}]),
    ]
    assert [(c["index"], c["finishReason"]) for c in last["candidates"]] == [(0, "STOP"), (1, "MAX_TOKENS")]


def test_a_stream_that_breaks_off_ends_without_a_finish_reason():
    told, stream = events(chunk({"content": "a"}))
    assert [event["candidates"][0].get("finishReason") for event in told] == [None]
    assert stream.cut_off


def test_an_error_in_the_middle_of_a_stream():
    error = b'data: {"error": {"message": "Overloaded.", "code": 529}}\n\n'
    told, stream = events(chunk({"content": "a"}) + error)
    assert told[-1]["error"]["status"] == "UNAVAILABLE"
    assert stream.failed


def test_pieces_of_a_call_count_when_the_client_leaves():
    stream = ContentEvents(EventStream("m", drop_usage=True), "m")
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"path": "notes'}}
    assert stream.feed(chunk({"tool_calls": [call]})) == b""
    (unsent,) = read(stream.unsent)
    assert unsent["candidates"][0]["content"]["parts"] == [{"text": '{"path": "notes'}]


def passed(*said: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(one) + b"\r\n\r\n" for one in said)


def content(text: str, finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}}
    counts = {"promptTokenCount": 3, "candidatesTokenCount": len(text), "totalTokenCount": 3 + len(text)}
    more = {"finishReason": finish} if finish else {}
    return {"candidates": [{**candidate, **more}], "usageMetadata": counts, "modelVersion": "theirs-001"}


def through(data: bytes, *cuts: int) -> tuple[list[dict[str, Any]], PassedContent]:
    stream = PassedContent("m", fetches=False)
    told = b"".join([stream.feed(data[a:b]) for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True)])
    return read(told + stream.end()), stream


def test_geminis_stream_is_passed_through_in_every_split():
    odd = {"functionCall": {"name": "f", "args": {"modelVersion": "of the client"}}, "thoughtSignature": "c2ln"}
    call = {
        "candidates": [{"content": {"parts": [odd]}, "groundingMetadata": {"x": [1]}}],
        "modelVersion": "theirs-001",
    }
    data = passed(content('"modelVersion": "kept"'), call, content("!", "STOP"))
    whole, stream = through(data)
    assert whole == [
        {**content('"modelVersion": "kept"'), "modelVersion": "m"},
        {**call, "modelVersion": "m"},
        {**content("!", "STOP"), "modelVersion": "m"},
    ]
    assert (stream.cut_off, stream.failed) == (False, None)
    assert stream.usage
    assert (stream.usage["prompt_tokens"], stream.usage["completion_tokens"]) == (3, 1)
    for cut in range(1, len(data)):
        assert through(data, cut)[0] == whole


def test_an_error_before_geminis_response_lets_another_deployment_answer():
    told, stream = through(passed({"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}))
    failed = stream.begins(b"")
    assert told == []
    assert failed is not True
    assert failed
    assert failed.kind == "server"


def test_an_error_after_the_beginning_is_passed_on():
    told, stream = through(
        passed(content("a"), {"error": {"code": 503, "message": "Overloaded"}}, content("b", "STOP"))
    )
    assert [event.get("error", {}).get("code") for event in told] == [None, 502]
    assert stream.failed


def test_a_blocked_prompt_is_a_refusal():
    told, stream = through(passed({"promptFeedback": {"blockReason": "SAFETY"}}))
    failed = stream.begins(b"")
    assert (told, getattr(failed, "kind", None)) == ([], "content_policy")


def test_geminis_stream_that_ends_early_is_cut_off():
    assert through(passed(content("a")))[1].cut_off
