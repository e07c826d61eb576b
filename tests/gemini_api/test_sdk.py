"""Google's client against the gateway, with Gemini and other models behind it."""

import json
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.conversation import TEXT
from tests.fakes.answers import count_tokens
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.gemini_api.conftest import FORMATS, MODELS
from tests.processes import RunningProxy

ALL = pytest.mark.parametrize("model", MODELS)
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            description="Weather of a city",
            parameters=types.Schema(
                type=types.Type.OBJECT,
                properties={
                    "city": types.Schema(type=types.Type.STRING),
                    "days": types.Schema(type=types.Type.INTEGER),
                },
                required=["city"],
            ),
        )
    ]
)


def config(**fields: Any) -> types.GenerateContentConfig:
    manual = types.AutomaticFunctionCallingConfig(disable=True)
    return types.GenerateContentConfig(automatic_function_calling=manual, **fields)


@ALL
def test_text(client: genai.Client, provider: FakeProvider, model: str):
    answer = client.models.generate_content(
        model=model, contents=TEXT, config=config(system_instruction="Be brief.", max_output_tokens=100)
    )
    assert answer.text == TEXT
    (candidate,) = answer.candidates or []
    assert (candidate.finish_reason, answer.model_version) == (types.FinishReason.STOP, model)
    used = answer.usage_metadata
    assert used is not None
    assert used.prompt_token_count == count_tokens("Be brief.") + count_tokens(TEXT) + 2 * 4
    assert used.candidates_token_count == count_tokens(TEXT)
    (seen,) = provider.requests
    assert seen.format == FORMATS[model]
    assert seen.api_key in ("sk-ant-provider", "sk-provider", "AIza-provider")


@ALL
def test_stream(client: genai.Client, provider: FakeProvider, model: str):
    chunks = list(client.models.generate_content_stream(model=model, contents=TEXT))
    texts = [chunk.text for chunk in chunks if chunk.text]
    assert len(texts) == 5
    assert "".join(texts) == TEXT
    last = chunks[-1]
    assert last.candidates
    assert last.candidates[0].finish_reason is types.FinishReason.STOP
    assert last.usage_metadata
    assert last.usage_metadata.candidates_token_count == count_tokens(TEXT)
    assert {chunk.model_version for chunk in chunks} == {model}
    assert provider.last.format == FORMATS[model]


@ALL
def test_output_limit(client: genai.Client, provider: FakeProvider, model: str):
    answer = client.models.generate_content(model=model, contents=TEXT, config=config(max_output_tokens=3))
    assert answer.candidates
    assert answer.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS


@ALL
@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_and_its_result(client: genai.Client, provider: FakeProvider, model: str, streamed: bool):
    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text="call it")])]
    if streamed:
        chunks = client.models.generate_content_stream(model=model, contents=contents, config=config(tools=[WEATHER]))
        answer = next(chunk for chunk in chunks if chunk.function_calls)
    else:
        answer = client.models.generate_content(model=model, contents=contents, config=config(tools=[WEATHER]))
    (call,) = answer.function_calls or []
    assert (call.name, call.args) == ("weather", {"city": "call it", "days": 1})
    assert answer.candidates
    result = types.Part.from_function_response(name="weather", response={"output": "sunny"})
    contents += [answer.candidates[0].content, types.Content(role="user", parts=[result])]
    answered = client.models.generate_content(model=model, contents=contents, config=config(tools=[WEATHER]))
    assert "sunny" in (answered.text or "")


@ALL
def test_a_forced_tool(client: genai.Client, provider: FakeProvider, model: str):
    calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["weather"])
    wanted = config(tools=[WEATHER], tool_config=types.ToolConfig(function_calling_config=calling))
    answer = client.models.generate_content(model=model, contents=TEXT, config=wanted)
    assert [(call.name, call.args) for call in answer.function_calls or ()] == [("weather", {"city": TEXT, "days": 1})]


def test_functions_are_called_by_the_client_itself(client: genai.Client, provider: FakeProvider):
    def weather(city: str) -> str:
        """Weather of a city."""
        return f"sunny in {city}"

    answer = client.models.generate_content(
        model="gpt", contents="call it", config=types.GenerateContentConfig(tools=[weather])
    )
    assert "sunny in call it" in (answer.text or "")


def test_gemini_gets_the_original_request(client: genai.Client, provider: FakeProvider):
    client.models.generate_content(
        model="gemini",
        contents=[types.Part(text="What is it?"), types.Part.from_bytes(data=b"png", mime_type="image/png")],
        config=config(
            system_instruction="Be brief.",
            tools=[WEATHER],
            temperature=0.2,
            top_k=3,
            stop_sequences=["x"],
            candidate_count=1,
            safety_settings=[
                types.SafetySetting(
                    category=types.HarmCategory.HARM_CATEGORY_HARASSMENT, threshold=types.HarmBlockThreshold.BLOCK_NONE
                )
            ],
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=512),
            response_mime_type="application/json",
            response_schema=types.Schema(type=types.Type.STRING),
        ),
    )
    body = provider.last.body
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "What is it?"}, {"inlineData": {"data": "cG5n", "mimeType": "image/png"}}]}
    ]
    assert body["generationConfig"] == {
        "temperature": 0.2,
        "topK": 3,
        "stopSequences": ["x"],
        "candidateCount": 1,
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 512},
        "responseMimeType": "application/json",
        "responseSchema": {"type": "STRING"},
    }
    assert body["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert body["tools"][0]["functionDeclarations"][0]["parameters"]["type"] == "OBJECT"
    assert body.keys() == {"contents", "generationConfig", "safetySettings", "systemInstruction", "tools"}


def test_presets_apply_where_the_client_sets_nothing(client: genai.Client, provider: FakeProvider):
    client.models.generate_content(model="preset", contents=TEXT, config=config(temperature=1.0))
    assert provider.last.body["generationConfig"] == {
        "temperature": 1.0,
        "stopSequences": ["END"],
        "maxOutputTokens": 50,
    }


def test_the_model_may_contain_a_slash(client: genai.Client, provider: FakeProvider):
    assert client.models.generate_content(model="azure/gpt", contents=TEXT).text == TEXT


@ALL
def test_structured_output(client: genai.Client, provider: FakeProvider, model: str):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    provider.queue(Behaviour(text='{"city": "Oslo"}'))
    answer = client.models.generate_content(
        model=model,
        contents=TEXT,
        config=config(response_mime_type="application/json", response_json_schema=schema),
    )
    assert json.loads(answer.text or "") == {"city": "Oslo"}
    body = provider.last.body
    if model == "gpt":
        assert body["response_format"]["json_schema"]["schema"] == schema
    elif model == "claude":
        assert body["output_config"]["format"]["schema"]["properties"] == schema["properties"]
    else:
        assert body["generationConfig"]["responseJsonSchema"] == schema


def test_tokens_are_counted_by_gemini(client: genai.Client, provider: FakeProvider):
    counted = client.models.count_tokens(model="gemini", contents=TEXT)
    assert counted.total_tokens == count_tokens(TEXT) + 4
    assert provider.last.path.endswith("/models/gemini-2.5-flash:countTokens")


@pytest.mark.parametrize("model", ["gpt", "claude", "mock"])
def test_tokens_are_estimated_for_other_models(client: genai.Client, provider: FakeProvider, model: str):
    short = client.models.count_tokens(model=model, contents="Hello").total_tokens
    long = client.models.count_tokens(model=model, contents="Hello " * 100).total_tokens
    assert short
    assert long
    assert 0 < short < 30 < long < 300
    assert not provider.requests


def test_embeddings(client: genai.Client, provider: FakeProvider):
    answer = client.models.embed_content(
        model="vectors", contents=["one", "two"], config=types.EmbedContentConfig(output_dimensionality=8)
    )
    assert [len(one.values or ()) for one in answer.embeddings or ()] == [8, 8]
    assert provider.last.body["input"] == ["one", "two"]


def test_geminis_own_embeddings_need_no_engine(client: genai.Client, provider: FakeProvider):
    provider.queue(Behaviour())
    config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=8)
    answer = client.models.embed_content(model="embedding", contents=["one", "two"], config=config)
    assert [one.values for one in answer.embeddings or ()] == [[0.5], [0.5]]
    assert provider.last.path.endswith("/models/gemini-embedding-001:batchEmbedContents")
    first, second = provider.last.body["requests"]
    assert first == {
        "model": "models/gemini-embedding-001",
        "content": {"role": "user", "parts": [{"text": "one"}]},
        "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 8,
    }
    assert second["content"]["parts"] == [{"text": "two"}]


def test_a_mock_answers(client: genai.Client):
    answer = client.models.generate_content(model="mock", contents=TEXT)
    assert (answer.text, answer.model_version) == ("I am only a mock.", "mock")
    streamed = list(client.models.generate_content_stream(model="mock", contents=TEXT))
    assert "".join(chunk.text or "" for chunk in streamed) == "I am only a mock."
    assert streamed[-1].usage_metadata
    embedded = client.models.embed_content(model="mock", contents="x").embeddings or []
    assert len(embedded[0].values or ()) == 1536


def test_models_are_listed(client: genai.Client):
    found = {model.name: model for model in client.models.list(config={"page_size": 3})}
    assert {"models/gemini", "models/azure/gpt", "models/mock"} <= found.keys()
    gemini = found["models/gemini"]
    assert gemini.input_token_limit == 1048576
    assert "generateContent" in (gemini.supported_actions or ())
    assert client.models.get(model="azure/gpt").name == "models/azure/gpt"
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="nothing")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_a_fallback_answers(client: genai.Client, provider: FakeProvider):
    provider.queue(failing(503), model="frail")
    answer = client.models.generate_content(model="frail", contents=TEXT)
    assert (answer.text, answer.model_version) == (TEXT, "gpt")


@ALL
def test_a_providers_error(client: genai.Client, provider: FakeProvider, model: str):
    provider.queue(failing(429))
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=model, contents=TEXT)
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


@ALL
def test_an_error_in_the_middle_of_a_stream(client: genai.Client, provider: FakeProvider, model: str):
    provider.queue(Behaviour(fault=Fault.ERROR_MID_STREAM))
    chunks = []
    with pytest.raises(errors.APIError) as caught:
        chunks += list(client.models.generate_content_stream(model=model, contents=TEXT))
    assert caught.value.code == 502


def test_a_wrong_key(gateway: RunningProxy):
    stranger = genai.Client(api_key="sk-wrong", http_options=types.HttpOptions(base_url=gateway.url))
    with pytest.raises(errors.ClientError) as caught:
        stranger.models.generate_content(model="mock", contents=TEXT)
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")
