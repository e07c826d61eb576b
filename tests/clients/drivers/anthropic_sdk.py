"""Anthropic's package for Python."""

from anthropic import Anthropic
from scenarios import CALL, DESCRIPTION, HELLO, KEY, PARAMETERS, REPORT, RESULT, URL, Report, run, same, says, streamed

client = Anthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=60)
TOOLS = [{"name": "weather", "description": DESCRIPTION, "input_schema": PARAMETERS}]


def plain(model: str) -> None:
    answer = client.messages.create(model=model, max_tokens=1000, messages=[{"role": "user", "content": HELLO}])
    same(answer.stop_reason, "end_turn")
    says(answer.content[0].text, HELLO)
    assert answer.usage.input_tokens > 0 < answer.usage.output_tokens


def stream(model: str) -> None:
    messages = [{"role": "user", "content": HELLO}]
    with client.messages.stream(model=model, max_tokens=1000, messages=messages) as events:
        streamed(list(events.text_stream))
        answer = events.get_final_message()
    same(answer.stop_reason, "end_turn")
    assert answer.usage.output_tokens > 0


def tool(model: str) -> None:
    messages = [{"role": "user", "content": CALL}]
    request = {"model": model, "max_tokens": 4000, "tools": TOOLS}
    with client.messages.stream(messages=messages, **request) as events:
        answer = events.get_final_message()
    same(answer.stop_reason, "tool_use")
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    same((call.name, call.input), ("weather", {"city": "Ulm"}))
    result = {"type": "tool_result", "tool_use_id": call.id, "content": RESULT}
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    says(client.messages.create(messages=messages, **request).content[-1].text, RESULT)


def structured(model: str) -> None:
    messages = [{"role": "user", "content": HELLO}]
    answer = client.messages.parse(model=model, max_tokens=1000, messages=messages, output_format=Report)
    same(answer.parsed_output, REPORT)


run(plain=plain, stream=stream, tool=tool, structured=structured)
