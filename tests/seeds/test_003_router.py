"""The Cloudflare Worker: the well-known key on a development machine, and the same commands against the proxy alone."""

import pytest
from openai import OpenAI

from tests.fakes.answers import embedding
from tests.fakes.server import FakeProvider
from tests.processes import ROOT, StartProxy
from tests.seeds.commands import Gateway, run

HOST = "http://localhost:8787"
MODELS = {"gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "claude-3-opus", "claude-3-sonnet", "claude-3-haiku"}


@pytest.fixture(scope="session")
def developers_own(session_proxy: StartProxy, environment: dict[str, str]) -> Gateway:
    """The proxy alone, with the well-known key and its related settings."""
    variables = {**environment, "LOCAL_DEVELOPMENT": "true"}
    return Gateway(
        session_proxy(ROOT / "litellm_config.yaml", master_key="sk-1234", environment=variables).url, "sk-1234"
    )


@pytest.fixture(params=["at_the_edge", "developers_own"])
def gateway(request: pytest.FixtureRequest) -> Gateway:
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(gateway: Gateway) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-1234", max_retries=0)


@pytest.mark.parametrize("path", ["/", "/health"])
def test_health_check(gateway: Gateway, path):
    answer = run("curl http://localhost:8787/health".replace("/health", path), gateway, host=HOST)
    assert answer.status == 200
    assert answer.json["status"] == "healthy"


def test_model_list_without_a_key(gateway: Gateway):
    answer = run("curl http://localhost:8787/v1/models", gateway, host=HOST)
    assert answer.status == 200
    assert {model["id"] for model in answer.json["data"]} >= MODELS


def test_chat_completion(gateway: Gateway, provider: FakeProvider):
    command = """
curl -X POST http://localhost:8787/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer sk-1234" \\
  -d '{
    "model": "gpt-3.5-turbo",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
"""
    answer = run(command, gateway, host=HOST)
    assert answer.status == 200
    assert answer.content == "Hello!"
    assert answer.json["model"] == "gpt-3.5-turbo"
    assert provider.last.api_key == "sk-proj-fake"


@pytest.mark.parametrize("model", sorted(MODELS))
def test_supported_models(client: OpenAI, provider: FakeProvider, model):
    completion = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello!"}])
    assert completion.choices[0].message.content == "Hello!"
    assert provider.last.format == ("anthropic" if model.startswith("claude") else "openai")


def test_streaming(client: OpenAI, provider: FakeProvider):
    stream = client.chat.completions.create(
        model="gpt-3.5-turbo", messages=[{"role": "user", "content": "Hello there"}], stream=True
    )
    texts = [chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    assert len(texts) == 5
    assert "".join(texts) == "Hello there"


def test_legacy_completions(client: OpenAI, provider: FakeProvider):
    completion = client.completions.create(model="gpt-3.5-turbo", prompt="Once upon a time")
    assert completion.choices[0].text == "Once upon a time"


def test_text_embeddings(client: OpenAI, provider: FakeProvider):
    answer = client.embeddings.create(model="text-embedding-3-small", input="one", dimensions=8)
    assert answer.data[0].embedding == pytest.approx(embedding("one", 8))


def test_other_keys_are_rejected(gateway: Gateway):
    command = """curl http://localhost:8787/v1/chat/completions -H "Authorization: Bearer sk-12345" -d '{}'"""
    answer = run(command, gateway, host=HOST)
    assert answer.status == 401
    assert answer.json["error"]["code"] == "invalid_api_key"
