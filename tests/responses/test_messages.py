"""Anthropic's client against models served only through the Responses API."""

from typing import Any

import anthropic
import pytest

from tests.fakes.behaviour import Behaviour, Fault
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy

TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL: Any = [{"role": "user", "content": "call it"}]


@pytest.fixture
def claude(gateway: RunningProxy) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key=MASTER_KEY, max_retries=0)


@pytest.mark.parametrize("model", ["pro", "azure", "five"])
def test_tool_and_its_result(claude: anthropic.Anthropic, provider: FakeProvider, model: str):
    called = claude.messages.create(model=model, max_tokens=300, messages=CALL, tools=[TOOL])
    (use,) = [block for block in called.content if block.type == "tool_use"]
    assert (called.stop_reason, use.input) == ("tool_use", {"city": "call it"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    more: Any = [*CALL, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    answer = claude.messages.create(model=model, max_tokens=300, messages=more, tools=[TOOL])
    (text,) = [block for block in answer.content if block.type == "text"]
    assert (text.text, answer.stop_reason) == ("sunny", "end_turn")
    assert provider.last.path.endswith("/responses")
    assert provider.last.body["max_output_tokens"] == 300


@pytest.mark.parametrize("model", ["pro", "codex"])
def test_stream(claude: anthropic.Anthropic, provider: FakeProvider, model: str):
    with claude.messages.stream(model=model, max_tokens=300, messages=CALL, tools=[TOOL]) as stream:
        final = stream.get_final_message()
    (use,) = [block for block in final.content if block.type == "tool_use"]
    assert (final.stop_reason, use.input) == ("tool_use", {"city": "call it"})
    assert final.usage.output_tokens > 0


def test_error_in_mid_stream_does_not_end_the_turn(claude: anthropic.Anthropic, provider: FakeProvider):
    provider.always(Behaviour(fault=Fault.ERROR_MID_STREAM))
    with (
        pytest.raises(anthropic.APIError),
        claude.messages.stream(model="codex", max_tokens=99, messages=CALL) as stream,
    ):
        stream.get_final_message()
