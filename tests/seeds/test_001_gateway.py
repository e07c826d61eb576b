"""A keyless gateway on Railway: four models, and claude-sonnet falls back to gpt-4o, then gemini-pro."""

from typing import Any

import pytest
import yaml
from openai import APIStatusError, OpenAI

from tests.fakes.environment import KEYS
from tests.fakes.server import FakeProvider
from tests.processes import ROOT, StartProxy
from tests.seeds.commands import Gateway, run

HOST = "https://litellm-gateway-<project-id>.railway.app"
LOCAL = "http://localhost:4000"
MODELS = ["claude-sonnet", "gpt-4o", "gemini-pro", "gemini-flash"]


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, environment: dict[str, str]) -> Gateway:
    """The four models of the shipped config, in the description's order, without a key."""
    config: Any = yaml.safe_load((ROOT / "litellm_config.yaml").read_text())
    models = {entry["model_name"]: entry for entry in config["model_list"]}
    config["model_list"] = [models[name] for name in MODELS]
    chains = config["router_settings"]["fallbacks"]
    # No cooldowns between the tests, most of which break a provider.
    config["router_settings"] |= {
        "fallbacks": [chain for chain in chains if set(chain) <= set(MODELS)],
        "disable_cooldowns": True,
    }
    return Gateway(module_proxy(config, master_key=None, environment=environment).url, None)


def chat_client(gateway: Gateway) -> OpenAI:
    client = OpenAI(
        base_url=gateway.url,
        api_key="dummy",  # Not required for self-hosted
    )
    return client.with_options(max_retries=0)


def test_health(gateway: Gateway):
    answer = run("curl https://litellm-gateway-<project-id>.railway.app/health", gateway, host=HOST)
    assert answer.status == 200
    assert answer.json["status"] == "healthy"
    assert answer.json["models"] == ["claude-sonnet", "gpt-4o", "gemini-pro", "gemini-flash"]


def test_local_model_list(gateway: Gateway):
    answer = run("curl http://localhost:4000/v1/models", gateway, host=LOCAL)
    assert answer.status == 200
    assert answer.json["object"] == "list"
    assert [model["id"] for model in answer.json["data"]] == MODELS


def test_openai_sdk(gateway: Gateway, provider: FakeProvider):
    client = chat_client(gateway)

    # Use any model
    response = client.chat.completions.create(
        model="claude-sonnet",  # or "gpt-4o", "gemini-pro"
        messages=[{"role": "user", "content": "Hello!"}],
    )

    assert response.choices[0].message.content == "Hello!"
    assert provider.last.format == "anthropic"
    assert provider.last.api_key == KEYS["ANTHROPIC_API_KEY"]


@pytest.mark.parametrize(
    ("model", "wire_format"),
    [("claude-sonnet", "anthropic"), ("gpt-4o", "openai"), ("gemini-pro", "gemini"), ("gemini-flash", "gemini")],
)
def test_every_model_reaches_its_provider(gateway: Gateway, provider: FakeProvider, model, wire_format):
    response = chat_client(gateway).chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello!"}]
    )
    assert response.choices[0].message.content == "Hello!"
    assert response.model == model
    assert [seen.format for seen in provider.requests] == [wire_format]


def test_curl(gateway: Gateway, provider: FakeProvider):
    command = """
curl -X POST https://litellm-gateway-<project-id>.railway.app/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "claude-sonnet",
    "messages": [{"role": "user", "content": "Write a tweet about AI safety"}]
  }'
"""
    answer = run(command, gateway, host=HOST)
    assert answer.status == 200
    assert answer.content == "Write a tweet about AI safety"


@pytest.mark.parametrize("trouble", ["429", "500", "503"])
def test_first_fallback(gateway: Gateway, provider: FakeProvider, trouble):
    provider.always(trouble, api_key=KEYS["ANTHROPIC_API_KEY"])
    response = chat_client(gateway).chat.completions.create(
        model="claude-sonnet", messages=[{"role": "user", "content": "Hello!"}]
    )
    assert response.choices[0].message.content == "Hello!"
    assert response.model == "gpt-4o"
    assert provider.last.format == "openai"


def test_second_fallback(gateway: Gateway, provider: FakeProvider):
    provider.always("503", api_key=KEYS["ANTHROPIC_API_KEY"])
    provider.always("429", api_key=KEYS["OPENAI_API_KEY"])
    response = chat_client(gateway).chat.completions.create(
        model="claude-sonnet", messages=[{"role": "user", "content": "Hello!"}]
    )
    assert response.choices[0].message.content == "Hello!"
    assert response.model == "gemini-pro"


def test_all_models_failed(gateway: Gateway, provider: FakeProvider):
    provider.always("503")
    with pytest.raises(APIStatusError) as raised:
        chat_client(gateway).chat.completions.create(
            model="claude-sonnet", messages=[{"role": "user", "content": "Hello!"}]
        )
    assert raised.value.status_code == 503
    assert {seen.format for seen in provider.requests} == {"anthropic", "openai", "gemini"}


def test_model_not_found(gateway: Gateway):
    message = '{"role": "user", "content": "Hello!"}'
    command = f"""curl {HOST}/v1/chat/completions -d '{{"model": "claude", "messages": [{message}]}}'"""
    answer = run(command, gateway, host=HOST)
    assert answer.status == 404
    assert answer.json["error"]["code"] == "model_not_found"
    assert all(name in answer.json["error"]["message"] for name in MODELS)
