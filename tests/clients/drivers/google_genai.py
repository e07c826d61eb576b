"""Google's package for Python."""

from google import genai
from google.genai import types
from scenarios import CALL, DESCRIPTION, HELLO, KEY, PARAMETERS, REPORT, RESULT, URL, Report, run, same, says, streamed

client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=URL, timeout=60_000))
FUNCTION = types.FunctionDeclaration(name="weather", description=DESCRIPTION, parameters_json_schema=PARAMETERS)
TOOLS = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[FUNCTION])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


def plain(model: str) -> None:
    answer = client.models.generate_content(model=model, contents=HELLO)
    same(answer.candidates[0].finish_reason, types.FinishReason.STOP)
    says(answer.text, HELLO)
    assert answer.usage_metadata.total_token_count > 0


def stream(model: str) -> None:
    chunks = list(client.models.generate_content_stream(model=model, contents=HELLO))
    streamed([chunk.text for chunk in chunks if chunk.text])
    same(chunks[-1].candidates[0].finish_reason, types.FinishReason.STOP)
    assert chunks[-1].usage_metadata.candidates_token_count > 0


def tool(model: str) -> None:
    asked = types.Content(role="user", parts=[types.Part(text=CALL)])
    answer = client.models.generate_content(model=model, contents=[asked], config=TOOLS)
    (call,) = answer.function_calls
    same((call.name, call.args), ("weather", {"city": "Ulm"}))
    result = types.Part.from_function_response(name="weather", response={"result": RESULT})
    contents = [asked, answer.candidates[0].content, types.Content(role="user", parts=[result])]
    says(client.models.generate_content(model=model, contents=contents, config=TOOLS).text, RESULT)


def structured(model: str) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Report)
    same(client.models.generate_content(model=model, contents=HELLO, config=config).parsed, REPORT)


run(plain=plain, stream=stream, tool=tool, structured=structured)
