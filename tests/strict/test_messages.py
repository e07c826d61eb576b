"""Anthropic's SDK, used like Claude Code, against strict providers, through a real proxy."""

from typing import Any

import pytest

from .conftest import TARGETS, WITHOUT_TOOLS, Gateway

_NAME = "mcp__weather_service_of_the_whole_wide_world__current_conditions_in_a_city"  # 74 characters
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_CACHED = {"type": "ephemeral"}


def _tools(name: str) -> list[Any]:
    return [{"name": name, "description": "d", "input_schema": _SCHEMA, "cache_control": _CACHED}]


def _answer(gateway: Gateway, *, stream: bool, **request: Any) -> Any:
    client = gateway.anthropic
    if not stream:
        return client.messages.create(**request)
    with client.messages.stream(**request) as events:
        return events.get_final_message()


def _request(target: str, **more: Any) -> dict[str, Any]:
    return {
        "model": target,
        "max_tokens": 32_000,
        "system": [{"type": "text", "text": "You are an agent.", "cache_control": _CACHED}],
        "metadata": {"user_id": "user_1"},
        **more,
    }


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("target", TARGETS)
def test_tool_round(dropping: Gateway, target: str, stream: bool):
    asked = {"type": "text", "text": "call the weather service for Ulm", "cache_control": _CACHED}
    messages: list[Any] = [{"role": "user", "content": [asked]}]
    request = _request(target, tools=_tools(_NAME))
    said = _answer(dropping, stream=stream, messages=messages, **request)
    if target not in WITHOUT_TOOLS:
        (used,) = [block for block in said.content if block.type == "tool_use"]
        assert (said.stop_reason, used.name) == ("tool_use", _NAME)
        result = [{"type": "text", "text": "rain", "cache_control": _CACHED}]
        messages += [
            {"role": "assistant", "content": [block.to_dict() for block in said.content]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": used.id, "content": result}]},
        ]
        again = _answer(dropping, stream=stream, messages=messages, **request)
        assert "rain" in again.content[-1].text
    assert not dropping.refused()


def _round(*blocks: dict[str, Any], id: str = "toolu_01abc", **result: Any) -> list[Any]:
    used = {"type": "tool_use", "id": id, "name": "weather", "input": {"city": "Ulm"}}
    returned = {"type": "tool_result", "tool_use_id": id, "content": "rain", **result}
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [*blocks, used]},
        {"role": "user", "content": [returned]},
    ]


_THINKING = {"type": "thinking", "thinking": "They want the weather.", "signature": "c2lnbmF0dXJl"}
_HISTORIES: dict[str, list[Any]] = {
    "thinking": _round(_THINKING),
    "thinking of others": _round({**_THINKING, "signature": ""}),
    "redacted thinking": _round({"type": "redacted_thinking", "data": "ZGF0YQ=="}),
    "an id of Gemini": _round(id="call_1a2b__thought__CiQB+/abc/def+ghi" + "A" * 400),
    "an error": _round(is_error=True),
    "a result without content": _round(content=[]),
    "a tool reference": _round(content=[{"type": "tool_reference", "tool_name": "weather"}]),
    "a result in blocks": _round(content=[{"type": "text", "text": "rain"}, {"type": "text", "text": "wind"}]),
}


_CONTINUED = [
    (target, history)
    for target in TARGETS
    for history in _HISTORIES
    if target not in WITHOUT_TOOLS and not (history == "a tool reference" and target.startswith("anthropic/"))
]


@pytest.mark.parametrize(("target", "history"), _CONTINUED)
def test_history_from_another_provider(dropping: Gateway, target: str, history: str):
    request = _request(target, tools=_tools("weather"), messages=_HISTORIES[history])
    assert _answer(dropping, stream=False, **request).role == "assistant"
    assert not dropping.refused()


@pytest.mark.parametrize("effort", ["low", "medium", "high", "max"])
@pytest.mark.parametrize("target", TARGETS)
def test_thinking_with_an_effort(dropping: Gateway, target: str, effort: str):
    request = _request(
        target,
        messages=[{"role": "user", "content": "Hi"}],
        thinking={"type": "adaptive"},
        output_config={"effort": effort},
    )
    _answer(dropping, stream=True, **request)
    assert not dropping.refused()


@pytest.mark.parametrize("target", TARGETS)
def test_model_availability_check(dropping: Gateway, target: str):
    """Claude Code sends it with the smallest possible limit."""
    _answer(dropping, stream=False, model=target, max_tokens=1, messages=[{"role": "user", "content": "Hi"}])
    assert not dropping.refused()
