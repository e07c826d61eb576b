"""Gemini on Vertex AI: project, region and token, and the same responses as from AI Studio."""

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import OpenAI

from container.config.deployment import Deployment
from container.formats.anthropic import Anthropic
from container.formats.vertex import Vertex
from container.request.completion import parse
from tests.conversation import ARGUMENTS, HELLO, TEXT, TOOL, use_tool
from tests.fakes.environment import service_account
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

TOKEN = "Bearer ya29.fake-access-token"


@pytest.fixture(scope="session")
def vertex_proxy(session_proxy: StartProxy, providers: FakeProvider, tmp_path_factory) -> RunningProxy:
    key = service_account(providers)
    file: Path = tmp_path_factory.mktemp("google") / "key.json"
    file.write_text(key)

    def model(name: str, model: str, **params: Any) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": f"vertex_ai/{model}", **params}}

    gpt = {"model": "openai/gpt-4o", "api_base": providers.openai_base, "api_key": "sk-provider"}
    broken = json.dumps({**json.loads(key), "token_uri": f"{providers.url}/nothing-here"})
    config = {
        "model_list": [
            model("by-environment", "gemini-3.1-pro-preview"),
            model("old", "gemini-2.5-pro"),
            model("by-file", "gemini-2.5-pro", vertex_credentials=str(file), vertex_location="europe-west4"),
            model("named", "gemini-2.5-pro", vertex_project="other-project", vertex_location="global"),
            model("tuned", "gemini/1234567890"),
            model("behind-a-proxy", "gemini-2.5-pro", api_base=f"{providers.url}/mine/models/own",
                  vertex_credentials="os.environ/GOOGLE_APPLICATION_CREDENTIALS"),
            model("claude", "claude-sonnet-4-6"),
            model("claude-there", "claude-sonnet-4-5@20250929", vertex_location="europe-west1"),
            model("broken", "gemini-2.5-pro", vertex_credentials=broken),
            model("vertex_ai/*", "*"),
            {"model_name": "gpt", "litellm_params": gpt},
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"broken": ["gpt"]}]},
    }  # fmt: skip
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": key, "VERTEXAI_API_BASE": providers.url}
    return session_proxy(config, environment=environment)


@pytest.fixture
def client(vertex_proxy: RunningProxy) -> OpenAI:
    return vertex_proxy.client()


def models_of(provider: FakeProvider) -> list[Any]:
    return [seen for seen in provider.requests if seen.format != "google_token"]


OURS = "/v1/projects/fake-project/locations"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("by-environment", f"{OURS}/global/publishers/google/models/gemini-3.1-pro-preview"),
        ("old", f"{OURS}/us-central1/publishers/google/models/gemini-2.5-pro"),
        ("by-file", f"{OURS}/europe-west4/publishers/google/models/gemini-2.5-pro"),
        ("named", "/v1/projects/other-project/locations/global/publishers/google/models/gemini-2.5-pro"),
        ("behind-a-proxy", "/mine/models/own"),
        ("vertex_ai/gemini-2.5-flash", f"{OURS}/us-central1/publishers/google/models/gemini-2.5-flash"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_project_and_region_are_in_the_address(client: OpenAI, provider: FakeProvider, name, path, stream):
    answer: Any = client.chat.completions.create(model=name, messages=HELLO, stream=stream)
    if stream:
        assert "".join(c.choices[0].delta.content or "" for c in answer if c.choices) == TEXT
    else:
        assert answer.choices[0].message.content == TEXT
        assert answer.model == name
    (seen,) = models_of(provider)
    assert seen.path == f"{path}:{'streamGenerateContent' if stream else 'generateContent'}"
    assert seen.query == ({"alt": "sse"} if stream else {})
    assert seen.headers["authorization"] == TOKEN
    assert "x-goog-api-key" not in seen.headers


def test_tuned_model_is_an_endpoint(client: OpenAI, provider: FakeProvider):
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model="tuned", messages=HELLO)
    (seen,) = models_of(provider)
    assert seen.path == "/v1/projects/fake-project/locations/us-central1/endpoints/1234567890:generateContent"


@pytest.mark.parametrize("model", ["by-environment", "claude"])
def test_tool_and_its_result(client: OpenAI, provider: FakeProvider, model):
    call, answer = use_tool(client, model)
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)
    assert "sunny" in answer


def test_one_token_serves_many_requests(client: OpenAI, provider: FakeProvider):
    for _ in range(5):
        client.chat.completions.create(model="old", messages=HELLO)
    assert len(models_of(provider)) == 5
    assert len(provider.requests) <= 6


def test_missing_token_falls_back(client: OpenAI, provider: FakeProvider):
    completion = client.chat.completions.create(model="broken", messages=HELLO)
    assert completion.model == "gpt"


def test_credentials_stay_secret(vertex_proxy: RunningProxy, client: OpenAI, provider: FakeProvider):
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model="broken", messages=HELLO, extra_body={"disable_fallbacks": True})
    for text in (raised.value.response.text, vertex_proxy.log()):
        assert "PRIVATE KEY" not in text
        assert "ya29" not in text


# Claude


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("claude", f"{OURS}/global/publishers/anthropic/models/claude-sonnet-4-6"),
        ("claude-there", f"{OURS}/europe-west1/publishers/anthropic/models/claude-sonnet-4-5@20250929"),
        ("vertex_ai/claude-haiku-4-5", f"{OURS}/global/publishers/anthropic/models/claude-haiku-4-5"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_claude(client: OpenAI, provider: FakeProvider, name, path, stream):
    answer: Any = client.chat.completions.create(model=name, messages=HELLO, stream=stream, max_tokens=100)
    if stream:
        chunks = list(answer)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
        assert {c.model for c in chunks} == {name}
    else:
        assert (answer.choices[0].message.content, answer.model) == (TEXT, name)
    (seen,) = models_of(provider)
    assert seen.path == f"{path}:{'streamRawPredict' if stream else 'rawPredict'}"
    assert seen.headers["authorization"] == TOKEN
    assert "model" not in seen.body
    assert seen.body["anthropic_version"] == "vertex-2023-10-16"
    assert seen.body["max_tokens"] == 100


def test_claudes_json_schema_becomes_a_call(client: OpenAI, provider: FakeProvider):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    format: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer = client.chat.completions.create(model="claude", messages=HELLO, response_format=format)
    assert json.loads(answer.choices[0].message.content or "") == {"city": TEXT}
    assert answer.choices[0].finish_reason == "stop"
    assert "output_format" not in models_of(provider)[0].body


def test_claude_gets_no_urls(client: OpenAI, provider: FakeProvider):
    content: Any = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="claude", messages=[{"role": "user", "content": content}])
    assert raised.value.param == "messages"
    assert provider.requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_overloaded_claude(client: OpenAI, provider: FakeProvider, stream):
    provider.always("529")
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="claude", messages=HELLO, stream=stream)
    assert raised.value.status_code == 529


def test_claude_gets_the_same_body_as_at_anthropic():
    """Except for the model, which is in the address, and the version, which is in the body."""
    request = parse("chat_completions", orjson.dumps({"model": "m", "messages": HELLO, "tools": [TOOL], "top_k": 3}))
    deployment = Deployment("d", "m", "anthropic", "claude-sonnet-4-6", "direct", (), ())
    model = "claude-sonnet-4-6"
    home = orjson.loads(Anthropic(drop_params=False).request(deployment, model, request).body)
    there = orjson.loads(Vertex(drop_params=False).request(deployment, model, request).body)
    assert home.pop("model") == model
    assert there.pop("anthropic_version") == "vertex-2023-10-16"
    assert there == home


@pytest.mark.parametrize(
    ("method", "stream"), [("generateContent", False), ("streamGenerateContent", True), ("countTokens", False)]
)
def test_googles_clients_reach_vertex_ai_as_they_are(
    vertex_proxy: RunningProxy, provider: FakeProvider, method: str, stream: bool
):
    body = {"contents": [{"role": "user", "parts": [{"text": TEXT}]}], "systemInstruction": {"parts": [{"text": "Hi"}]}}
    answer = httpx.post(
        f"{vertex_proxy.url}/v1beta/models/by-file:{method}", json=body, headers={"x-goog-api-key": MASTER_KEY}
    )
    assert answer.status_code == 200, answer.text
    seen = provider.requests[-1]
    assert seen.path.endswith(f"/locations/europe-west4/publishers/google/models/gemini-2.5-pro:{method}")
    assert seen.headers["authorization"] == TOKEN
    assert seen.body == body
    assert isinstance(answer.json(), list) is stream


def test_googles_clients_reach_claude_on_vertex_ai_translated(vertex_proxy: RunningProxy, provider: FakeProvider):
    body = {"contents": [{"parts": [{"text": TEXT}]}]}
    url = f"{vertex_proxy.url}/v1beta/models/claude:generateContent"
    answer = httpx.post(url, json=body, headers={"x-goog-api-key": MASTER_KEY})
    assert answer.json()["candidates"][0]["content"]["parts"] == [{"text": TEXT}]
    assert provider.requests[-1].path.endswith(":rawPredict")
