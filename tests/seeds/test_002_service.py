"""A service from a Railway template: every LiteLLM provider behind one master key, and curl without a content type."""

import pytest

from tests.fakes.environment import KEYS, pointing_at
from tests.fakes.server import FakeProvider
from tests.processes import ROOT, StartProxy
from tests.seeds.commands import Gateway, run

HOST = "http://litellm.railway.internal:4000"


def test_health_check(gateway: Gateway):
    answer = run("curl http://litellm.railway.internal:4000/health", gateway, host=HOST)
    assert answer.status == 200
    assert answer.json["status"] == "healthy"


def test_model_list(gateway: Gateway):
    command = """
curl http://litellm.railway.internal:4000/v1/models \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY"
"""
    answer = run(command, gateway, host=HOST)
    assert answer.status == 200
    assert {"gpt-4", "gpt-3.5-turbo", "claude-3-opus"} <= {model["id"] for model in answer.json["data"]}


def test_completion(gateway: Gateway, provider: FakeProvider):
    command = """
curl -X POST http://litellm.railway.internal:4000/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -d '{
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
"""
    answer = run(command, gateway, host=HOST)
    assert answer.status == 200
    assert answer.content == "Hello!"
    assert answer.json["model"] == "gpt-4"


@pytest.mark.parametrize(
    ("model", "wire_format", "credential"),
    [
        ("gpt-4", "openai", "OPENAI_API_KEY"),
        ("claude-3-opus", "anthropic", "ANTHROPIC_API_KEY"),
        ("azure/your-deployment-name", "azure", "AZURE_API_KEY"),
    ],
)
def test_each_provider(gateway: Gateway, provider: FakeProvider, model, wire_format, credential):
    """curl sends this as a form, because nothing declares it as JSON."""
    command = """
curl -X POST http://litellm.railway.internal:4000/v1/chat/completions \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -d '{
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Your prompt"}]
  }'
""".replace('"gpt-4"', f'"{model}"')
    answer = run(command, gateway, host=HOST)
    assert answer.status == 200
    assert answer.content == "Your prompt"
    assert [seen.format for seen in provider.requests] == [wire_format]
    assert provider.last.api_key == KEYS[credential]


def test_azure_deployment_and_version(gateway: Gateway, provider: FakeProvider):
    command = """
curl -X POST http://litellm.railway.internal:4000/v1/chat/completions \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -d '{
    "model": "azure/your-deployment-name",
    "messages": [{"role": "user", "content": "Your prompt"}]
  }'
"""
    assert run(command, gateway, host=HOST).json["model"] == "azure/your-deployment-name"
    assert provider.last.path == "/openai/deployments/your-deployment-name/chat/completions"
    assert provider.last.query == {"api-version": "2024-02-15-preview"}


def test_google_vertex_ai(gateway: Gateway, provider: FakeProvider):
    command = """
curl -X POST http://litellm.railway.internal:4000/v1/chat/completions \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -d '{
    "model": "vertex_ai/gemini-pro",
    "messages": [{"role": "user", "content": "Your prompt"}]
  }'
"""
    answer = run(command, gateway, host=HOST)
    assert answer.status == 200
    assert answer.content == "Your prompt"
    assert provider.last.format == "gemini"
    assert provider.last.path.startswith("/v1/projects/fake-project/locations/global/")
    assert provider.last.headers["authorization"].startswith("Bearer ya29.")


def test_credentials_as_a_path(session_proxy: StartProxy, provider: FakeProvider, tmp_path):
    """GOOGLE_APPLICATION_CREDENTIALS=/path/to/credentials.json, with an environment as docker compose provides it."""
    environment = pointing_at(provider)
    credentials = tmp_path / "credentials.json"
    credentials.write_text(environment["GOOGLE_APPLICATION_CREDENTIALS"])
    environment |= {
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        "LITELLM_LOG_LEVEL": "DEBUG",
        "REDIS_PASSWORD": "",
        "COHERE_API_KEY": "",
    }
    proxy = session_proxy(
        ROOT / "litellm_config.yaml", master_key="dev-key", environment=environment, address_in="environment"
    )
    command = f"""
curl {HOST}/v1/chat/completions -H "Authorization: Bearer dev-key" \\
  -d '{{"model": "vertex_ai/gemini-pro", "messages": [{{"role": "user", "content": "Your prompt"}}]}}'
"""
    answer = run(command, Gateway(proxy.url, "dev-key"), host=HOST)
    assert (answer.status, answer.content) == (200, "Your prompt")


def test_replicate_and_cohere_name_the_missing_variable(gateway: Gateway):
    for model, variable in (("replicate-gpt-oss-20b", "REPLICATE_API_KEY"), ("command-r", "COHERE_API_KEY")):
        command = f"""
curl {HOST}/v1/chat/completions -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Your prompt"}}]}}'
"""
        answer = run(command, gateway, host=HOST)
        assert answer.status >= 400
        assert variable in answer.json["error"]["message"]
