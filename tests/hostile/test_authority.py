"""Nothing that a client sends decides where our keys go: no field, header or cookie, on any endpoint.

One provider behind both entrances records requests. A second one stands for the attacker's address and must never be
called.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.container.raw import ask
from tests.fakes.server import FakeProvider
from tests.hostile.conftest import AUTHORIZED, CHAT, PROVIDER_KEY, Door, config
from tests.processes import MASTER_KEY, RunningProxy, StartProxy
from worker.core.api.endpoints import TABLE

PLANTED = "planted-by-the-client"
JSON_BODIES: dict[str, dict[str, Any]] = {
    "chat_completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"prompt": "Hi"},
    "embeddings": {"input": "Hi"},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5},
    "count_tokens": {"messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"input": "Hi"},
    "compact": {"input": "Hi"},
    "input_tokens": {"input": "Hi"},
    "image_generation": {"prompt": "Hi"},
    "speech": {"input": "Hi", "voice": "alloy"},
    "rerank": {"query": "Hi", "documents": ["a"]},
    "moderations": {"input": "Hi"},
}
FORMS = ("image_edit", "image_variation", "transcription", "translation")
HEADERS = {
    "x-litellm-api-key": PLANTED,
    "x-litellm-tags": PLANTED,
    "x-litellm-timeout": "0.001",
    "x-litellm-stream-timeout": "0.001",
    "x-litellm-num-retries": "9",
    "x-litellm-end-user-id": PLANTED,
    "x-litellm-spend-logs-metadata": json.dumps({"a": PLANTED}),
    "x-litellm-call-id": PLANTED,
    "x-internal-token": PLANTED,
    "x-internal-grant": json.dumps({"reservation": PLANTED, "amount": 0, "limited": False}),
    "x-internal-no-instance": "1",
    "x-internal-catalog": PLANTED,
    "cookie": f"token={PLANTED}; session={PLANTED}",
    "x-api-key": PLANTED,
    "api-key": PLANTED,
    "x-goog-api-key": PLANTED,
    "openai-organization": PLANTED,
    "openai-project": PLANTED,
    "anthropic-beta": PLANTED,
    "helicone-auth": PLANTED,
    "langfuse_public_key": PLANTED,
    "proxy-authorization": PLANTED,
    "forwarded": f"for={PLANTED}",
    "x-forwarded-host": PLANTED,
    "x-original-url": f"/{PLANTED}",
    "x-rewrite-url": f"/{PLANTED}",
    "traceparent": PLANTED,
}


@pytest.fixture(scope="module")
def attacker() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


def steering(attacker: FakeProvider) -> dict[str, Any]:
    """Fields that would make LiteLLM call another address or change its response."""
    there = attacker.openai_base
    return {
        "api_base": there,
        "base_url": there,
        "api_key": PLANTED,
        "extra_headers": {"authorization": PLANTED},
        "headers": {"x": PLANTED},
        "extra_body": {"api_base": there},
        "extra_query": {"a": PLANTED},
        "user_config": {
            "model_list": [{"model_name": "gpt", "litellm_params": {"model": "openai/x", "api_base": there}}]
        },
        "model_list": [{"model_name": "gpt", "litellm_params": {"model": "openai/x", "api_base": there}}],
        "litellm_params": {"api_base": there},
        "litellm_credential_name": PLANTED,
        "mock_response": PLANTED,
        "mock_tool_calls": [],
        "custom_llm_provider": "openai_like",
        "deployment_id": PLANTED,
        "proxy_server_request": {"url": there},
        "secret_fields": {"raw_headers": {"authorization": PLANTED}},
        "aws_bedrock_runtime_endpoint": there,
        "vertex_credentials": PLANTED,
        "azure_ad_token": PLANTED,
        "organization": PLANTED,
        "callbacks": [there],
        "langfuse_host": there,
        "guardrails": [],
        "client": PLANTED,
        "input_cost_per_token": 0,
        "max_budget": 1e9,
        "_anything": PLANTED,
    }


def path_of(name: str) -> str:
    return "/v1" + next(e.path for e in TABLE.values() if e.name == name)


def test_every_endpoint_with_a_model_is_covered():
    posted = {e.name for e in TABLE.values() if e.billable}
    assert posted == {*JSON_BODIES, *FORMS}


@pytest.mark.parametrize("name", JSON_BODIES)
def test_json_field_cannot_redirect_a_request(door: Door, attacker: FakeProvider, name: str):
    for field, value in steering(attacker).items():
        body = json.dumps({"model": "gpt", **JSON_BODIES[name], field: value}).encode()
        answer = door.ask("POST", path_of(name), body)
        assert (answer.status, answer.json["error"]["param"]) == (400, field), answer
    assert door.provider.requests == []
    assert attacker.requests == []


@pytest.mark.parametrize("name", FORMS)
def test_form_field_cannot_redirect_a_request(door: Door, attacker: FakeProvider, name: str):
    for field in steering(attacker):
        for written in (field, f"{field}[]", f"{field}[a]"):
            part = '--x\r\ncontent-disposition: form-data; name="{}"\r\n\r\n{}\r\n'
            body = f"{part.format('model', 'gpt')}{part.format(written, attacker.openai_base)}--x--\r\n".encode()
            answer = door.ask("POST", path_of(name), body, content_type="multipart/form-data; boundary=x")
            assert answer.status == 400, (written, answer)
            if door.name == "edge":
                break  # only the proxy knows the spellings in forms
    assert door.provider.requests == []
    assert attacker.requests == []


def test_query_cannot_redirect_a_request(door: Door, attacker: FakeProvider):
    body = json.dumps({"model": "gpt", **JSON_BODIES["chat_completions"]}).encode()
    there = attacker.openai_base
    query = f"?api_base={there}&base_url={there}&api_key={PLANTED}&user_config={PLANTED}&key={PLANTED}&model=x"
    assert door.ask("POST", CHAT + query, body).status == 200
    seen = door.provider.last
    assert (seen.query_string, seen.api_key) == ("", PROVIDER_KEY)
    assert attacker.requests == []


@pytest.mark.parametrize("name", ["chat_completions", "completions", "embeddings"])
def test_clients_headers_and_cookies_do_not_reach_a_provider(door: Door, name: str):
    body = json.dumps({"model": "gpt", **JSON_BODIES[name]}).encode()
    answer = ask(door.port, "POST", path_of(name), {**AUTHORIZED, **HEADERS}, body)
    assert answer.status == 200, answer
    seen = door.provider.last
    assert seen.api_key == PROVIDER_KEY
    assert PLANTED not in str(dict(seen.headers)) + seen.path + seen.query_string
    assert PLANTED.encode() not in seen.raw
    assert MASTER_KEY not in str(dict(seen.headers))
    assert PLANTED not in str(answer.headers)


@pytest.fixture(scope="module")
def through_the_engine(module_proxy: StartProxy, behind: FakeProvider) -> RunningProxy:
    return module_proxy(config(behind))


@pytest.mark.parametrize("name", [name for name in JSON_BODIES if TABLE[path_of(name)[3:]].engine])
def test_clients_headers_and_cookies_do_not_reach_a_provider_through_the_engine(
    through_the_engine: RunningProxy, behind: FakeProvider, attacker: FakeProvider, name: str
):
    behind.reset()
    body = json.dumps({"model": "gpt", **JSON_BODIES[name]}).encode()
    answer = httpx.post(
        through_the_engine.url + path_of(name), content=body, headers={**AUTHORIZED, **HEADERS}, timeout=90
    )
    # LiteLLM does not support some of these with such a provider. Only the provider's requests matter here.
    assert answer.status_code != 401, answer.text
    for seen in behind.requests:
        assert seen.api_key == PROVIDER_KEY
        assert PLANTED not in str(dict(seen.headers)) + seen.path + seen.query_string
        assert PLANTED.encode() not in seen.raw
        assert MASTER_KEY not in str(dict(seen.headers)) + seen.raw.decode("utf-8", "replace")
    assert PLANTED not in answer.text
    assert attacker.requests == []
