"""Conversations of OpenAI's client with models of several providers: text, tool calls, disconnects."""

from typing import Any

import httpx
from openai import OpenAI

from tests.processes import MASTER_KEY

TEXT = "Hällo 世界, how are you? 🙂"
HELLO: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}]
# The fakes call a tool when asked to, with the prompt as a text argument and 1 as a number.
CALL: Any = [{"role": "user", "content": "call it"}]
ARGUMENTS = {"city": "call it", "days": 1}


def weather(name: str = "weather") -> Any:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": "Weather of a city", "parameters": parameters},
    }


TOOL = weather()


def use_tool(client: OpenAI, model: str, *, tool: Any = TOOL, messages: Any = CALL) -> tuple[Any, str]:
    """Returns the model's tool call, and its answer to the result that the weather is sunny."""
    called = client.chat.completions.create(model=model, messages=messages, tools=[tool])
    assert called.choices[0].finish_reason == "tool_calls"
    (call,) = called.choices[0].message.tool_calls or []
    assert call.type == "function"
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    more = [*messages, called.choices[0].message, result]
    answer = client.chat.completions.create(model=model, messages=more, tools=[tool])
    return call, answer.choices[0].message.content or ""


def streamed_call(client: OpenAI, model: str, *, tool: Any = TOOL, messages: Any = CALL) -> Any:
    """Joins the chunks of a stream into one tool call."""
    with client.chat.completions.stream(model=model, messages=messages, tools=[tool]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    (call,) = final.choices[0].message.tool_calls or []
    return call


def raw_stream(url: str, model: str) -> httpx.Response:
    """The raw bytes of a stream."""
    return httpx.post(f"{url}/v1/chat/completions", **_asking_for_a_stream(model))


def leave_in_mid_stream(url: str, model: str, text: str) -> None:
    """Disconnects as soon as the first text has arrived."""
    with httpx.stream("POST", f"{url}/v1/chat/completions", **_asking_for_a_stream(model)) as answer:
        next(line for line in answer.iter_lines() if f'"content":"{text}' in line)


def _asking_for_a_stream(model: str) -> dict[str, Any]:
    return {
        "json": {"model": model, "messages": [{"role": "user", "content": "Hello there"}], "stream": True},
        "headers": {"authorization": f"Bearer {MASTER_KEY}"},
        "timeout": 30,
    }
