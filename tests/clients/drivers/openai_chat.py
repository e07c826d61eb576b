"""OpenAI's package for Python, chat completions."""

from openai import OpenAI
from scenarios import CALL, DESCRIPTION, HELLO, KEY, PARAMETERS, REPORT, RESULT, URL, Report, run, same, says, streamed

client = OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=60)
TOOLS = [{"type": "function", "function": {"name": "weather", "description": DESCRIPTION, "parameters": PARAMETERS}}]


def plain(model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": HELLO}])
    same(answer.choices[0].finish_reason, "stop")
    says(answer.choices[0].message.content, HELLO)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def stream(model: str) -> None:
    messages = [{"role": "user", "content": HELLO}]
    pieces = []
    options = {"include_usage": True}
    with client.chat.completions.stream(model=model, messages=messages, stream_options=options) as events:
        pieces = [event.delta for event in events if event.type == "content.delta"]
        answer = events.get_final_completion()
    streamed(pieces)
    same(answer.choices[0].finish_reason, "stop")
    assert answer.usage.completion_tokens > 0


def tool(model: str) -> None:
    messages = [{"role": "user", "content": CALL}]
    with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as events:
        answer = events.get_final_completion().choices[0]
    same(answer.finish_reason, "tool_calls")
    (call,) = answer.message.tool_calls
    same((call.function.name, call.function.arguments.replace(" ", "")), ("weather", '{"city":"Ulm"}'))
    messages += [answer.message, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    says(answer.choices[0].message.content, RESULT)


def structured(model: str) -> None:
    messages = [{"role": "user", "content": HELLO}]
    answer = client.chat.completions.parse(model=model, messages=messages, response_format=Report)
    same(answer.choices[0].message.parsed, REPORT)


run(plain=plain, stream=stream, tool=tool, structured=structured)
