"""Anthropic's client against Gemini: `/v1/messages` through chat completions to `generateContent`."""

from typing import Any

import pytest
from anthropic import Anthropic

from tests.conversation import TEXT
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy

HELLO: Any = [{"role": "user", "content": TEXT}]
CALL: Any = [{"role": "user", "content": "call it"}]
TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def anthropic(gemini_proxy: RunningProxy) -> Anthropic:
    return Anthropic(base_url=gemini_proxy.url, api_key=MASTER_KEY, max_retries=0)


@pytest.mark.parametrize("model", ["gemini", "gemini-3"])
def test_plain(anthropic: Anthropic, provider: FakeProvider, model):
    answer = anthropic.messages.create(model=model, max_tokens=100, system="Be brief.", messages=HELLO)
    assert [block.text for block in answer.content if block.type == "text"] == [TEXT]
    assert (answer.model, answer.stop_reason) == (model, "end_turn")
    assert provider.last.body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert provider.last.body["generationConfig"]["maxOutputTokens"] == 100


def test_stream(anthropic: Anthropic, provider: FakeProvider):
    with anthropic.messages.stream(model="gemini", max_tokens=100, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == TEXT
        final = stream.get_final_message()
    assert (final.model, final.stop_reason) == ("gemini", "end_turn")
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_signed_call_and_its_result(anthropic: Anthropic, provider: FakeProvider, streamed):
    part = b'{"functionCall":{"name":"weather","args":{"city":"Ulm"},"id":"fc-1"},"thoughtSignature":"c2lnbmVk"}'
    raw = b'{"candidates":[{"content":{"role":"model","parts":[' + part + b']},"finishReason":"STOP","index":0}]}'
    provider.queue(Behaviour(raw=(b"data: " + raw + b"\r\n\r\n" if streamed else raw,)))
    options: Any = {"model": "gemini-3", "max_tokens": 100, "tools": [TOOL]}
    if streamed:
        with anthropic.messages.stream(messages=CALL, **options) as stream:
            said = stream.get_final_message()
    else:
        said = anthropic.messages.create(messages=CALL, **options)
    (call,) = [block for block in said.content if block.type == "tool_use"]
    assert (call.name, call.input, said.stop_reason) == ("weather", {"city": "Ulm"}, "tool_use")
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}
    messages: Any = [*CALL, {"role": "assistant", "content": [call.model_dump()]}, result]
    anthropic.messages.create(messages=messages, **options)
    _, model, user = provider.last.body["contents"]
    assert model["parts"][-1]["thoughtSignature"] == "c2lnbmVk"
    assert model["parts"][-1]["functionCall"]["id"] == user["parts"][0]["functionResponse"]["id"] == "fc-1"
