"""OpenAI's package for Python, Responses."""

from openai import OpenAI
from scenarios import CALL, DESCRIPTION, HELLO, KEY, PARAMETERS, REPORT, RESULT, URL, Report, run, same, says, streamed

client = OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=60)
TOOLS = [
    {"type": "function", "name": "weather", "description": DESCRIPTION, "parameters": PARAMETERS, "strict": True},
]


def plain(model: str) -> None:
    answer = client.responses.create(model=model, input=HELLO, store=False)
    same(answer.status, "completed")
    says(answer.output_text, HELLO)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


def stream(model: str) -> None:
    with client.responses.stream(model=model, input=HELLO, store=False) as events:
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        answer = events.get_final_response()
    streamed(pieces)
    same(answer.status, "completed")
    assert answer.usage.output_tokens > 0


def tool(model: str) -> None:
    items = [{"role": "user", "content": CALL}]
    request = {"model": model, "tools": TOOLS, "store": False}
    if model.startswith("gpt-5"):  # reasons, and has to get its reasoning back
        request["include"] = ["reasoning.encrypted_content"]
    with client.responses.stream(input=items, **request) as events:
        answer = events.get_final_response()
    (call,) = [item for item in answer.output if item.type == "function_call"]
    same((call.name, call.arguments.replace(" ", "")), ("weather", '{"city":"Ulm"}'))
    items += [item.to_dict() for item in answer.output]
    for item in items:
        item.pop("parsed_arguments", None)  # the package's own
        for part in item["content"] if isinstance(item.get("content"), list) else ():
            part.pop("parsed", None)
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": RESULT})
    says(client.responses.create(input=items, **request).output_text, RESULT)


def structured(model: str) -> None:
    answer = client.responses.parse(model=model, input=HELLO, text_format=Report, store=False)
    same(answer.output_parsed, REPORT)


run(plain=plain, stream=stream, tool=tool, structured=structured)
