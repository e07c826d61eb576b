"""LiteLLM's SDK, with its provider for gateways, `litellm_proxy/`."""

import litellm
from scenarios import CALL, DESCRIPTION, HELLO, KEY, PARAMETERS, REPORT, RESULT, URL, Report, run, same, says, streamed

litellm.suppress_debug_info = True
TOOLS = [{"type": "function", "function": {"name": "weather", "description": DESCRIPTION, "parameters": PARAMETERS}}]


def complete(model: str, messages: list, **more):
    return litellm.completion(f"litellm_proxy/{model}", messages, api_base=URL, api_key=KEY, num_retries=0, **more)


def plain(model: str) -> None:
    answer = complete(model, [{"role": "user", "content": HELLO}])
    same(answer.choices[0].finish_reason, "stop")
    says(answer.choices[0].message.content, HELLO)
    assert answer.usage.total_tokens > 0


def stream(model: str) -> None:
    chunks = complete(model, [{"role": "user", "content": HELLO}], stream=True)
    streamed([chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content])


def tool(model: str) -> None:
    messages = [{"role": "user", "content": CALL}]
    answer = complete(model, messages, tools=TOOLS).choices[0]
    same(answer.finish_reason, "tool_calls")
    (call,) = answer.message.tool_calls
    same((call.function.name, call.function.arguments.replace(" ", "")), ("weather", '{"city":"Ulm"}'))
    messages += [answer.message, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    says(complete(model, messages, tools=TOOLS).choices[0].message.content, RESULT)


def structured(model: str) -> None:
    answer = complete(model, [{"role": "user", "content": HELLO}], response_format=Report)
    same(Report.model_validate_json(answer.choices[0].message.content), REPORT)


run(plain=plain, stream=stream, tool=tool, structured=structured)
