"""LiteLLM between workers and OpenRouter, with OpenAI as the fallback. Clients know LLM_API_BASE and LLM_API_KEY."""

import pytest
from openai import OpenAI

from tests.fakes.server import FakeProvider
from tests.seeds.commands import Gateway, run

HOST = "https://juggernaut-litellm-production.up.railway.app"
MODEL = "openrouter-gpt-4o-mini"


def worker(gateway: Gateway) -> OpenAI:
    """A worker with LLM_API_BASE=http://juggernaut-litellm.railway.internal:4000/v1 and LLM_API_KEY=<master key>."""
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)


def test_verify_health(gateway: Gateway):
    answer = run("curl https://juggernaut-litellm-production.up.railway.app/health", gateway, host=HOST)
    assert answer.status == 200
    assert answer.json["status"] == "healthy"


def test_check_model_routing(gateway: Gateway):
    command = """
curl https://juggernaut-litellm-production.up.railway.app/v1/models \\
  -H "Authorization: Bearer <LITELLM_MASTER_KEY>"
""".replace("<LITELLM_MASTER_KEY>", "$LITELLM_MASTER_KEY")
    answer = run(command, gateway, host=HOST)
    assert answer.status == 200
    assert MODEL in [model["id"] for model in answer.json["data"]]


@pytest.mark.parametrize("authorization", ["", '-H "Authorization: Bearer wrong"'])
def test_workers_without_the_key_are_rejected(gateway: Gateway, authorization):
    command = f"""curl {HOST}/v1/chat/completions {authorization} -d '{{"model": "{MODEL}", "messages": []}}'"""
    answer = run(command, gateway, host=HOST)
    assert answer.status == 401
    assert answer.json["error"]["type"] == "authentication_error"


def test_workers_reach_openrouter(gateway: Gateway, provider: FakeProvider):
    completion = worker(gateway).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Plan the day"}]
    )
    assert completion.choices[0].message.content == "Plan the day"
    assert completion.model == MODEL
    assert provider.last.path == "/api/v1/chat/completions"
    assert provider.last.api_key == "sk-or-fake"
    assert provider.last.model == "openai/gpt-4o-mini"


@pytest.mark.parametrize("trouble", ["503", "429,retry_after=30", "reset_before_headers"])
def test_openai_responds_when_openrouter_is_down_or_rate_limited(gateway: Gateway, provider: FakeProvider, trouble):
    """At most two retries at OpenRouter, then OpenAI."""
    provider.always(trouble, api_key="sk-or-fake")
    completion = worker(gateway).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Plan the day"}]
    )
    assert completion.choices[0].message.content == "Plan the day"
    at_openrouter = [seen for seen in provider.requests if seen.api_key == "sk-or-fake"]
    assert len(at_openrouter) <= 3
    assert provider.last.path == "/v1/chat/completions"
    assert provider.last.api_key == "sk-proj-fake"
