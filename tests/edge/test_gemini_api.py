"""Gemini's API at the edge: keys, quotes and refusals before a container, and the request through to its answer."""

import json

import httpx
import pytest

from tests.edge.conftest import Edge, StartEdge, start_module_edge
from tests.fakes.server import FakeProvider

__all__ = ["start_module_edge"]

HELLO = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
CONTENT = "/v1beta/models/gemini:generateContent"
STREAM = "/v1beta/models/gemini:streamGenerateContent"


@pytest.fixture(scope="module")
def gateway(start_module_edge: StartEdge, providers: FakeProvider) -> Edge:
    gemini = {
        "model": "gemini/gemini-2.5-flash",
        "api_base": providers.gemini_base,
        "api_key": "AIza-provider",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 1e-6,
    }
    gpt = {"model": "openai/gpt-4o", "api_base": providers.openai_base, "api_key": "sk-provider"}
    models = [
        {"model_name": "gemini", "litellm_params": gemini},
        {"model_name": "azure/gpt", "litellm_params": gpt},
        {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}},
    ]
    return start_module_edge({"model_list": models, "router_settings": {"num_retries": 0}}, local=False)


@pytest.fixture(scope="module")
def stranger(gateway: Edge) -> httpx.Client:
    """Sends no key by itself."""
    return httpx.Client(base_url=gateway.url, timeout=30)


def a_key(gateway: Edge, **fields: object) -> str:
    answer = gateway.client.post("/key/generate", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["key"]


def spent(gateway: Edge, key: str) -> float:
    return gateway.client.get("/key/info", params={"key": key}).json()["info"]["spend"]


def test_content_with_googles_key_header(gateway: Edge, stranger: httpx.Client, provider: FakeProvider):
    key = a_key(gateway, max_budget=1)
    answer = stranger.post(CONTENT, json=HELLO, headers={"x-goog-api-key": key})
    assert answer.status_code == 200, answer.text
    assert answer.json()["candidates"][0]["content"]["parts"] == [{"text": "Hello"}]
    assert answer.json()["modelVersion"] == "gemini"
    assert provider.last.api_key == "AIza-provider"
    assert provider.last.body["generationConfig"]["maxOutputTokens"] > 0
    used = answer.json()["usageMetadata"]["totalTokenCount"]
    assert spent(gateway, key) == pytest.approx(used * 1e-6)


def test_the_key_in_the_query_goes_nowhere(gateway: Edge, stranger: httpx.Client, provider: FakeProvider):
    key = a_key(gateway, models=["gemini"])
    answer = stranger.post(f"{STREAM}?alt=sse&key={key}", json=HELLO)
    assert answer.status_code == 200, answer.text
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    assert "".join(e["candidates"][0]["content"]["parts"][0]["text"] for e in events) == "Hello"
    assert key not in str(provider.last.headers) + provider.last.query_string
    assert not [line for line in gateway.lines if key in line]


def test_a_stream_is_an_array_without_alt(gateway: Edge, provider: FakeProvider):
    answer = gateway.client.post(STREAM, json=HELLO)
    assert answer.headers["content-type"] == "application/json"
    texts = [e["candidates"][0]["content"]["parts"][0]["text"] for e in answer.json()]
    assert "".join(texts) == "Hello"


def test_a_large_body_is_parked(gateway: Edge, provider: FakeProvider):
    long = {"contents": [{"parts": [{"text": "word " * 20_000}]}]}
    answer = gateway.client.post(f"{STREAM}?alt=sse", json=long)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(gateway.client.post(STREAM, json=long).json()) >= 1


def test_the_model_in_the_path_may_contain_a_slash(gateway: Edge, provider: FakeProvider):
    for path in ("azure/gpt", "azure%2Fgpt"):
        answer = gateway.client.post(f"/v1beta/models/{path}:generateContent", json=HELLO)
        assert answer.status_code == 200, answer.text
        assert provider.last.body["model"] == "gpt-4o"


def test_models(gateway: Edge, stranger: httpx.Client):
    key = a_key(gateway, models=["mock"])
    listed = stranger.get("/v1beta/models", params={"key": key}).json()["models"]
    assert [model["name"] for model in listed] == ["models/mock"]
    assert stranger.get(f"/v1beta/models/mock?key={key}").json()["name"] == "models/mock"
    assert stranger.get(f"/v1beta/models/gemini?key={key}").json()["error"]["status"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("path", "key", "body", "code", "status"),
    [
        (CONTENT, None, HELLO, 401, "UNAUTHENTICATED"),
        (CONTENT, "sk-wrong", HELLO, 401, "UNAUTHENTICATED"),
        (f"{CONTENT}?key=sk-wrong", None, HELLO, 401, "UNAUTHENTICATED"),
        ("/v1beta/nothing", None, HELLO, 404, "NOT_FOUND"),
        ("/v1beta/models/nothing:generateContent", "master", HELLO, 404, "NOT_FOUND"),
        (CONTENT, "master", {"contents": []}, 400, "INVALID_ARGUMENT"),
        (CONTENT, "master", {"contents": "text"}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_refusals_are_in_googles_format(gateway: Edge, stranger: httpx.Client, path, key, body, code, status):
    key = gateway.master_key if key == "master" else key
    answer = stranger.post(path, json=body, headers={"x-goog-api-key": key} if key else {})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (code, code, status)


def test_a_budget_holds(gateway: Edge, stranger: httpx.Client, provider: FakeProvider):
    key = a_key(gateway, max_budget=0.000001)
    answer = stranger.post(CONTENT, json=HELLO, headers={"x-goog-api-key": key})
    assert answer.status_code == 429, answer.text
    assert answer.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert not provider.requests


def test_a_limit_names_the_delay(gateway: Edge, stranger: httpx.Client, provider: FakeProvider):
    key = a_key(gateway, rpm_limit=1)
    first, second = (stranger.post(CONTENT, json=HELLO, headers={"x-goog-api-key": key}) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 429)
    (delay,) = [d["retryDelay"] for d in second.json()["error"]["details"] if "retryDelay" in d]
    assert delay == f"{second.headers['retry-after']}s"


def test_a_key_may_not_use_other_models(gateway: Edge, stranger: httpx.Client, provider: FakeProvider):
    key = a_key(gateway, models=["mock"])
    answer = stranger.post(CONTENT, json=HELLO, headers={"x-goog-api-key": key})
    assert (answer.status_code, answer.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
