"""A request of Gemini CLI (its texts and tools shortened), after a tool has run, to every kind of model."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.server import FakeProvider
from tests.gemini_api.conftest import FORMATS
from tests.processes import MASTER_KEY, RunningProxy

REQUEST: dict[str, Any] = json.loads((Path(__file__).parent / "gemini_cli.json").read_text())
RESULT = "the secret word is plum\n"


def ask(gateway: RunningProxy, model: str) -> str:
    """Returns the text of the streamed answer."""
    url = f"{gateway.url}/v1beta/models/{model}:streamGenerateContent?alt=sse"
    answer = httpx.post(url, json=REQUEST, headers={"x-goog-api-key": MASTER_KEY}, timeout=30)
    assert answer.status_code == 200, answer.text
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    return "".join(part.get("text", "") for e in events for part in e["candidates"][0]["content"]["parts"])


@pytest.mark.parametrize("model", [*FORMATS, "thinker", "mock"])
def test_the_conversation_goes_on(gateway: RunningProxy, provider: FakeProvider, model: str):
    assert ("plum" if model != "mock" else "mock") in ask(gateway, model)


def test_gemini_gets_it_unchanged(gateway: RunningProxy, provider: FakeProvider):
    ask(gateway, "gemini")
    assert provider.last.body == REQUEST


def test_another_models_reasoning_is_not_sent_to_gemini(gateway: RunningProxy, provider: FakeProvider):
    ask(gateway, "new")
    call = provider.last.body["contents"][1]["parts"][1]
    assert call["thoughtSignature"] == REQUEST["contents"][1]["parts"][1]["thoughtSignature"]


def test_openai_gets_a_chat(gateway: RunningProxy, provider: FakeProvider):
    ask(gateway, "gpt")
    body = provider.last.body
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool"]
    (call,) = body["messages"][2]["tool_calls"]
    assert call == {
        "id": "run_shell_command_1_0",
        "type": "function",
        "function": {"name": "run_shell_command", "arguments": '{"command":"cat notes.txt"}'},
    }
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "run_shell_command_1_0", "content": RESULT}
    assert {tool["function"]["name"] for tool in body["tools"]} == {"read_file", "grep_search", "run_shell_command"}
    assert (body["temperature"], body["top_p"]) == (1, 0.95)
    assert not body.keys() & {"top_k", "reasoning_effort"}


def test_claude_gets_a_conversation_of_its_own(gateway: RunningProxy, provider: FakeProvider):
    ask(gateway, "claude")
    body = provider.last.body
    (result,) = body["messages"][2]["content"]
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "run_shell_command_1_0")
    assert body["thinking"]["type"] in ("adaptive", "enabled")
    assert "top_p" not in body
