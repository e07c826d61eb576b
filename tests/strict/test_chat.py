"""OpenAI's SDK and agent conversations against strict providers, through a real proxy."""

import json
from typing import Any

import pytest

from tests.strict.conftest import TARGETS, WITHOUT_TOOLS, Gateway

_NAME = "mcp__weather_service_of_the_whole_wide_world__current_conditions_in_a_city"  # 74 characters
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def _tools(name: str = "weather", **more: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": name, "description": "d", "parameters": _SCHEMA}, **more}]


def _call(id: str, name: str = "weather") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": '{"city":"Ulm"}'}}


def _answer(gateway: Gateway, *, stream: bool, **request: Any) -> dict[str, Any]:
    """The assistant message as a client adds it to the history."""
    client = gateway.openai
    if not stream:
        return client.chat.completions.create(**request).choices[0].message.to_dict()
    with client.chat.completions.stream(**request) as events:
        return events.get_final_completion().choices[0].message.to_dict()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("target", TARGETS)
def test_tool_round(dropping: Gateway, target: str, stream: bool):
    messages: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "call the weather service for Ulm"},
    ]
    request: dict[str, Any] = {
        "model": target,
        "tools": _tools(_NAME),
        "max_tokens": 64,
        "temperature": 0.2,
        "parallel_tool_calls": True,
        "user": "someone",
        "prompt_cache_key": "session-1",
    }
    said = _answer(dropping, stream=stream, messages=messages, **request)
    if target not in WITHOUT_TOOLS:
        (call,) = said["tool_calls"]
        assert call["function"]["name"] == _NAME
        said.pop("parsed", None)
        messages += [said, {"role": "tool", "tool_call_id": call["id"], "content": "rain"}]
        again = _answer(dropping, stream=stream, messages=messages, **request)
        assert "rain" in again["content"]
    assert not dropping.refused()


_HISTORIES: dict[str, list[dict[str, Any]]] = {
    "ids of Gemini": [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [_call("call_1a2b__thought__CiQB+/abc/def+ghi" + "A" * 400)],
        },
        {"role": "tool", "tool_call_id": "call_1a2b__thought__CiQB+/abc/def+ghi" + "A" * 400, "content": "rain"},
    ],
    "ids of others": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [_call("functions.weather:0"), _call("c" * 64)]},
        {"role": "tool", "tool_call_id": "functions.weather:0", "content": "rain"},
        {"role": "tool", "tool_call_id": "c" * 64, "content": "wind"},
    ],
    "long names": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [_call("call_1", _NAME)]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
    "thoughts": [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "They want the weather.",
            "thinking_blocks": [{"type": "thinking", "thinking": "They want the weather.", "signature": "c2ln"}],
            "provider_specific_fields": {"citations": None},
            "tool_calls": [_call("call_1")],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
    "thoughts missing": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [_call("call_1")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
    "cache markers": [
        {"role": "system", "content": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
    ],
    "extras of the SDK": [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "Hello",
            "refusal": None,
            "annotations": [],
            "audio": None,
            "tool_calls": None,
        },
        {"role": "user", "content": "And now?"},
    ],
    "text parts": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ],
    "results as parts": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [_call("call_1")]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rain"}]},
    ],
}


def _calls_tools(history: str) -> bool:
    return any(message.get("tool_calls") for message in _HISTORIES[history])


_CONTINUED = [
    (target, history)
    for target in TARGETS
    for history in _HISTORIES
    if target not in WITHOUT_TOOLS or not _calls_tools(history)
]


@pytest.mark.parametrize(("target", "history"), _CONTINUED)
def test_history_from_another_provider(dropping: Gateway, target: str, history: str):
    messages: list[Any] = _HISTORIES[history]
    called = _calls_tools(history)
    names = _NAME if history == "long names" else "weather"
    more = {"tools": _tools(names, cache_control={"type": "ephemeral"})} if called else {}
    said = _answer(dropping, stream=False, model=target, messages=messages, **more)
    assert said["role"] == "assistant"
    assert not dropping.refused()


@pytest.mark.parametrize("limit", [{"max_tokens": 1}, {"max_tokens": 900_000}, {"max_completion_tokens": 50}])
@pytest.mark.parametrize("target", TARGETS)
def test_output_limit(gateway: Gateway, target: str, limit: dict[str, int]):
    _answer(gateway, stream=False, model=target, messages=[{"role": "user", "content": "Hi"}], **limit)
    assert not gateway.refused()


_EFFORTS = [
    (target, effort)
    for target in TARGETS
    for effort in ("none", "minimal", "low", "medium", "high", "xhigh")
    if effort != "xhigh" or not target.startswith("anthropic/")  # refused for Claude, as by LiteLLM
]


@pytest.mark.parametrize(("target", "effort"), _EFFORTS)
def test_effort(dropping: Gateway, target: str, effort: Any):
    _answer(dropping, stream=False, model=target, messages=[{"role": "user", "content": "Hi"}], reasoning_effort=effort)
    assert not dropping.refused()


@pytest.mark.parametrize("target", TARGETS)
def test_every_field_with_drop_params(dropping: Gateway, target: str):
    _answer(
        dropping,
        stream=True,
        model=target,
        messages=[{"role": "user", "content": "Hi", "name": "ada"}],
        frequency_penalty=0.5,
        logit_bias={"1": 1},
        logprobs=True,
        metadata={"a": "b"},
        n=1,
        presence_penalty=0.5,
        seed=1,
        service_tier="auto",
        stop=["END"],
        store=False,
        stream_options={"include_usage": True},
        temperature=0.5,
        top_logprobs=2,
        top_p=0.5,
        user="someone",
        verbosity="low",
        safety_identifier="s",
        prompt_cache_key="k",
        extra_body={"client_metadata": {"turn": "1"}, "top_k": 40},
    )
    assert not dropping.refused()


def test_strict_fake_is_strict(gateway: Gateway):
    """Without a gateway, the same request is rejected."""
    import httpx

    from tests.fakes import strict

    body = {"model": "gpt-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    base = strict.base(gateway.fake.url, "openai")
    response = httpx.post(f"{base}/chat/completions", json=body, headers={"authorization": "Bearer k"})
    assert (response.status_code, json.loads(response.text)["error"]["param"]) == (400, "max_tokens")
    assert gateway.refused() == [body]
