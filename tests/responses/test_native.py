"""`/v1/responses` with every kind of model, by OpenAI's client and by hand. The engine is never started."""

import json
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests import response_events
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.money import wait_for
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

PRICE = {"input_cost_per_token": 0.0001, "output_cost_per_token": 0.001, "max_input_tokens": 100_000}
MODELS = ("five", "claude", "gemini", "chat")
ADMIN = {"authorization": f"Bearer {MASTER_KEY}"}
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CUSTOM: Any = {"type": "custom", "name": "apply_patch", "description": "Applies a patch."}


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, providers: FakeProvider) -> RunningProxy:
    gpt = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    claude = {"api_base": providers.url, "api_key": "sk-ant-provider"}
    gemini = {"api_base": providers.gemini_base, "api_key": "AIza-provider"}

    def model(name: str, upstream: str, params: dict[str, Any]) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": upstream, **params}, "model_info": PRICE}

    return module_proxy(
        {
            "model_list": [
                model("five", "openai/gpt-5.1", gpt),
                model("four", "openai/gpt-4o", gpt),
                model("pro", "openai/gpt-5-pro", gpt),
                model("claude", "anthropic/claude-sonnet-4-6", claude),
                model("gemini", "gemini/gemini-2.5-flash", gemini),
                model("chat", "openai/chat_completions/house-model", gpt),
                model("frail", "openai/gpt-5.1-frail", gpt),
                model("mock", "openai/mock", {"mock_response": "I am only a mock."}),
            ],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"frail": ["claude"]}]},
        }
    )


@pytest.fixture
def client(gateway: RunningProxy) -> OpenAI:
    return gateway.client()


def streamed(gateway: RunningProxy, key: str = MASTER_KEY, **fields: Any) -> bytes:
    headers = {"authorization": f"Bearer {key}"}
    body = {"stream": True, "input": "Hi there", **fields}
    return httpx.post(f"{gateway.url}/v1/responses", json=body, headers=headers, timeout=30).read()


@pytest.mark.parametrize("model", [*MODELS, "pro"])
def test_text(client: OpenAI, gateway: RunningProxy, provider: FakeProvider, model: str):
    made = client.responses.create(model=model, input="Hi there", instructions="Be brief.", max_output_tokens=300)
    assert (made.output_text, made.model, made.status) == ("Hi there", model, "completed")
    assert made.usage is not None
    assert made.usage.input_tokens > 0
    last = response_events.ended(streamed(gateway, model=model))
    assert [item["type"] for item in last["output"]][-1:] == ["message"]
    assert last["output"][-1]["content"][0]["text"] == "Hi there"


@pytest.mark.parametrize("stream", [False, True])
def test_mock(client: OpenAI, gateway: RunningProxy, stream: bool):
    if stream:
        made = response_events.ended(streamed(gateway, model="mock"))
        assert made["output"][0]["content"][0]["text"] == "I am only a mock."
    else:
        assert client.responses.create(model="mock", input="Hi").output_text == "I am only a mock."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_call_and_its_result(client: OpenAI, provider: FakeProvider, model: str, stream: bool):
    asked: Any = [{"role": "user", "content": "call it"}]
    if stream:
        with client.responses.stream(model=model, input=asked, tools=[TOOL]) as events:
            called = events.get_final_response()
    else:
        called = client.responses.create(model=model, input=asked, tools=[TOOL])
    (call,) = [item for item in called.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "call it"})
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    earlier: list[Any] = [item.model_dump(exclude_none=True) for item in called.output]
    answer = client.responses.create(model=model, input=cast(Any, [*asked, *earlier, result]), tools=[TOOL])
    assert "sunny" in answer.output_text


@pytest.mark.parametrize("model", MODELS)
def test_custom_tool(client: OpenAI, provider: FakeProvider, model: str):
    asked: Any = [{"role": "user", "content": "call it"}]
    called = client.responses.create(model=model, input=asked, tools=[CUSTOM])
    (call,) = [item for item in called.output if item.type == "custom_tool_call"]
    assert call.name == "apply_patch"
    assert call.input
    result: Any = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"}
    earlier: list[Any] = [item.model_dump(exclude_none=True) for item in called.output]
    answer = client.responses.create(model=model, input=cast(Any, [*asked, *earlier, result]), tools=[CUSTOM])
    assert "done" in answer.output_text


class Weather(BaseModel):
    city: str


@pytest.mark.parametrize("model", MODELS)
def test_structured_output(client: OpenAI, provider: FakeProvider, model: str):
    provider.always(Behaviour(text='{"city": "Oslo"}'))
    made = client.responses.parse(model=model, input="Which city?", text_format=Weather)
    assert made.output_parsed == Weather(city="Oslo")


def test_claude_gets_its_signed_thinking_back(client: OpenAI, provider: FakeProvider):
    block = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "x",
        "stop_reason": "end_turn",
        "content": [block, {"type": "text", "text": "So"}],
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
    provider.queue(Behaviour(raw=(json.dumps(message).encode(),)))
    first = client.responses.create(model="claude", input="Hi", reasoning={"effort": "low"})
    assert first.output[0].type == "reasoning"
    assert first.output[0].summary[0].text == "hm"
    more: Any = [{"role": "user", "content": "Hi"}, *(item.model_dump(exclude_none=True) for item in first.output)]
    client.responses.create(model="claude", input=[*more, {"role": "user", "content": "Go on"}])
    assert provider.last.body["messages"][1]["content"][0] == block
    client.responses.create(model="five", input=[*more, {"role": "user", "content": "Go on"}])
    assert [item.get("type") for item in provider.last.body["input"]] == [None, "message", None]


# Failures


@pytest.mark.parametrize("stream", [False, True])
def test_fallback_to_another_format(client: OpenAI, gateway: RunningProxy, provider: FakeProvider, stream: bool):
    provider.queue(failing(500))
    if stream:
        made = response_events.ended(streamed(gateway, model="frail"))
        assert made["model"] == "claude"
        assert made["output"][0]["content"][0]["text"] == "Hi there"
    else:
        assert client.responses.create(model="frail", input="Hi there").output_text == "Hi there"


@pytest.mark.parametrize("fault", [Fault.ERROR_MID_STREAM, Fault.RESET_MID_STREAM, Fault.END_EARLY])
@pytest.mark.parametrize("model", MODELS)
def test_failure_in_the_middle_of_a_stream_looks_like_one(
    gateway: RunningProxy, client: OpenAI, provider: FakeProvider, model: str, fault: Fault
):
    provider.always(Behaviour(fault=fault, text="one two three four five six"))
    last = response_events.ended(streamed(gateway, model=model))
    assert last["status"] == "failed"
    with pytest.raises(openai.APIError):
        list(client.responses.create(model=model, input="Hi", stream=True))


@pytest.mark.parametrize("model", MODELS)
def test_refusal_by_the_provider_is_an_error_in_json(client: OpenAI, provider: FakeProvider, model: str):
    provider.always(failing(400, message="Invalid value."))
    with pytest.raises(openai.BadRequestError, match="Invalid value"):
        list(client.responses.create(model=model, input="Hi", stream=True))


# Money


def key(gateway: RunningProxy, **fields: Any) -> str:
    return httpx.post(f"{gateway.url}/key/generate", json={"max_budget": 100, **fields}, headers=ADMIN).json()["key"]


def spent(gateway: RunningProxy, key: str) -> dict[str, Any]:
    return httpx.get(f"{gateway.url}/key/info", params={"key": key}, headers=ADMIN).json()["info"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_usage_is_charged(gateway: RunningProxy, provider: FakeProvider, model: str, stream: bool):
    mine = key(gateway)
    provider.always(Behaviour(usage=(1000, 500)))
    if stream:
        usage = response_events.ended(streamed(gateway, mine, model=model))["usage"]
    else:
        made = gateway.client(api_key=mine).responses.create(model=model, input="Hi")
        assert made.usage is not None
        usage = made.usage.model_dump()
    assert (usage["input_tokens"], usage["output_tokens"]) == (1000, 500)
    assert spent(gateway, mine)["spend"] == pytest.approx(1000 * 0.0001 + 500 * 0.001)


@pytest.mark.parametrize("model", MODELS)
def test_request_without_a_limit_gets_the_reserved_one(gateway: RunningProxy, provider: FakeProvider, model: str):
    gateway.client(api_key=key(gateway)).responses.create(model=model, input="Hi")
    body = {**provider.last.body, **provider.last.body.get("generationConfig", {})}
    limits = [body[name] for name in body if name.startswith("max") and name.lower().endswith("tokens")]
    assert len(limits) == 1
    assert 0 < limits[0] * 0.001 <= 100


@pytest.mark.parametrize("model", ["four", "claude", "chat"])
def test_what_was_said_is_charged_when_the_client_leaves(gateway: RunningProxy, provider: FakeProvider, model: str):
    mine = key(gateway)
    provider.always(Behaviour(text="word " * 400, chunks=100, pace=0.02))
    body = {"model": model, "input": "Hi", "stream": True, "max_output_tokens": 1000}
    headers = {"authorization": f"Bearer {mine}"}
    with httpx.stream("POST", f"{gateway.url}/v1/responses", json=body, headers=headers, timeout=30) as answer:
        for line in answer.iter_lines():
            if '"response.output_text.delta"' in line:
                break
    info = wait_for(lambda: spent(gateway, mine), lambda found: found["spend"] > 0)
    assert 0.001 < info["spend"] < 0.5  # the reservation is for at least 1


def test_budget_that_is_too_small_is_refused_before_any_provider(gateway: RunningProxy, provider: FakeProvider):
    mine = gateway.client(api_key=key(gateway, max_budget=0.0001))
    with pytest.raises(openai.RateLimitError):
        mine.responses.create(model="claude", input="word " * 100, max_output_tokens=100)
    assert not provider.requests


def test_the_engine_is_not_started(client: OpenAI, gateway: RunningProxy, provider: FakeProvider):
    for model in (*MODELS, "mock"):
        client.responses.create(model=model, input="Hi")
    assert Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text() == ""
