"""Gemini's API at the proxy alone: keys, charges, limits, streams that clients leave, and silence."""

import json
from typing import Any

import httpx
import pytest

from tests.accounting.conftest import Ledgered
from tests.fakes.behaviour import Behaviour, Fault
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy

HELLO: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
PRICES = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
LONG = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def money(module_proxy: StartProxy, providers: FakeProvider) -> Ledgered:
    gemini = {"api_base": providers.gemini_base, "api_key": "AIza-provider"}
    gpt = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    models = {
        "gemini": {"model": "gemini/gemini-2.5-flash", **gemini},
        "gpt": {"model": "openai/gpt-4o", **gpt},
        "vectors": {"model": "openai/text-embedding-3-small", **gpt},
    }
    config = {
        "model_list": [{"model_name": name, "litellm_params": {**p, **PRICES}} for name, p in models.items()],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"request_logging": True},
    }
    return Ledgered(module_proxy(config, environment={"STREAM_KEEPALIVE": "0.2", "FAILED_KEYS_PER_MINUTE": "3"}))


@pytest.fixture
def stranger(money: Ledgered) -> httpx.Client:
    """Sends no key by itself."""
    return httpx.Client(base_url=money.proxy.url, timeout=30)


def content(model: str, query: str = "", *, stream: bool = False) -> str:
    return f"/v1beta/models/{model}:{'streamGenerateContent' if stream else 'generateContent'}{query}"


def line(money: Ledgered, key: str) -> dict[str, Any]:
    money.settled()
    found = money.logs(key)
    assert len(found) == 1, found
    return found[0]


def test_the_key_in_the_query_is_a_key_and_is_not_logged(
    money: Ledgered, stranger: httpx.Client, provider: FakeProvider
):
    key = money.key(models=["gemini"])
    assert stranger.post(content("gemini", f"?key={key}"), json=HELLO).status_code == 200
    assert stranger.get(f"/v1beta/models?key={key}").json()["models"][0]["name"] == "models/gemini"
    assert stranger.post(f"/v1/chat/completions?key={key}", json={}).status_code == 401
    assert key not in money.proxy.log()
    assert key not in str(provider.last.headers) + provider.last.query_string


def test_wrong_keys_in_the_query_are_counted(money: Ledgered, stranger: httpx.Client):
    codes = [stranger.post(content("gemini", f"?key=sk-wrong-{n}"), json=HELLO).status_code for n in range(4)]
    assert codes == [401, 401, 401, 429]
    key = money.key()
    assert stranger.post(content("gemini"), json=HELLO, headers={"x-goog-api-key": key}).status_code == 200


@pytest.mark.parametrize("model", ["gemini", "gpt"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_reported_usage_is_charged(money: Ledgered, stranger: httpx.Client, provider: FakeProvider, model, stream):
    key = money.key(max_budget=1, metadata={})
    provider.queue(Behaviour(text="Hi", usage=(100, 20)))
    body = {**HELLO, "metadata": {"tags": ["job:1"]}}
    answer = stranger.post(content(model, stream=stream), json=body, headers={"x-goog-api-key": key})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said[-1] if stream else said)["usageMetadata"]["totalTokenCount"] == 120
    logged = line(money, key)
    assert (logged["prompt_tokens"], logged["completion_tokens"], logged["request_tags"]) == (100, 20, ["job:1"])
    assert logged["spend"] == pytest.approx(120e-6)


@pytest.mark.parametrize("model", ["gemini", "gpt"])
def test_a_budget_adds_an_output_limit(money: Ledgered, stranger: httpx.Client, provider: FakeProvider, model: str):
    key = money.key(max_budget=1)
    assert stranger.post(content(model), json=HELLO, headers={"x-goog-api-key": key}).status_code == 200
    body = provider.last.body
    limit = body["generationConfig"]["maxOutputTokens"] if model == "gemini" else body["max_tokens"]
    assert limit == (65536 if model == "gemini" else 16384)


@pytest.mark.parametrize("model", ["gemini", "gpt"])
def test_a_limit_that_does_not_fit_the_budget_is_lowered(
    money: Ledgered, stranger: httpx.Client, provider: FakeProvider, model: str
):
    key = money.key(max_budget=0.005)
    body = {**HELLO, "generationConfig": {"maxOutputTokens": 16_000}}
    answer = stranger.post(content(model), json=body, headers={"x-goog-api-key": key})
    assert answer.status_code == 200, answer.text
    sent = provider.last.body
    limit = sent["generationConfig"]["maxOutputTokens"] if model == "gemini" else sent["max_tokens"]
    assert 1024 <= limit < 5000
    assert answer.headers["x-litellm-output-limit"] == str(limit)


def test_a_lowered_limit_stays_above_the_thinking_budget(
    money: Ledgered, stranger: httpx.Client, provider: FakeProvider
):
    key = money.key(max_budget=0.005)
    generation = {"maxOutputTokens": 16_000, "thinkingConfig": {"thinkingBudget": 8000}}
    body = {**HELLO, "generationConfig": generation}
    answer = stranger.post(content("gemini"), json=body, headers={"x-goog-api-key": key})
    assert answer.status_code == 429
    assert not provider.requests


def test_the_clients_limit_is_kept(money: Ledgered, stranger: httpx.Client, provider: FakeProvider):
    key = money.key(max_budget=1)
    body = {**HELLO, "generation_config": {"max_output_tokens": 7}}
    assert stranger.post(content("gemini"), json=body, headers={"x-goog-api-key": key}).status_code == 200
    assert provider.last.body["generationConfig"] == {"maxOutputTokens": 7}


@pytest.mark.parametrize(
    "body",
    [
        {**HELLO, "tools": [{"googleSearch": {}}]},
        {"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}]}]},
        {**HELLO, "generationConfig": {"maxOutputTokens": 2_000_000}},
        {**HELLO, "generationConfig": {"maxOutputTokens": 60_000, "candidateCount": 8}},
    ],
)
def test_what_does_not_fit_the_budget_is_not_sent(
    money: Ledgered, stranger: httpx.Client, provider: FakeProvider, body: dict[str, Any]
):
    key = money.key(max_budget=0.001)
    answer = stranger.post(content("gemini"), json=body, headers={"x-goog-api-key": key})
    assert answer.status_code in (400, 429), answer.text
    assert answer.json()["error"]["status"] in ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
    assert not provider.requests


@pytest.mark.parametrize("model", ["gemini", "gpt"])
def test_a_stream_that_the_client_leaves_is_charged(
    money: Ledgered, stranger: httpx.Client, provider: FakeProvider, model: str
):
    key = money.key(max_budget=1)
    provider.queue(Behaviour(text=LONG, chunks=10, pace=0.05, usage_in="never"))
    url, headers = content(model, "?alt=sse", stream=True), {"x-goog-api-key": key}
    with stranger.stream("POST", url, json=HELLO, headers=headers) as answer:
        for _, text in zip(range(4), answer.iter_lines(), strict=False):
            assert not text or text.startswith("data: ")
    logged = line(money, key)
    # Gemini may have reasoned without saying so, up to the limit that was added.
    assert 0 < logged["completion_tokens"] <= (65536 if model == "gemini" else 200)
    assert logged["status"] in (499, "499", "failure")


def test_a_long_silence_is_bridged_by_blank_lines(money: Ledgered, stranger: httpx.Client, provider: FakeProvider):
    key = money.key()
    for query in ("?alt=sse", ""):
        provider.queue(Behaviour(text=LONG, chunks=2, pace=0.7))
        answer = stranger.post(content("gpt", query, stream=True), json=HELLO, headers={"x-goog-api-key": key})
        assert ": keep-alive" not in answer.text
        assert "\n\n\n" in answer.text if query else json.loads(answer.text)


def test_a_failure_ends_an_array_with_the_error(money: Ledgered, stranger: httpx.Client, provider: FakeProvider):
    key = money.key()
    for model in ("gemini", "gpt"):
        provider.queue(Behaviour(text=LONG, fault=Fault.RESET_MID_STREAM))
        said = stranger.post(content(model, stream=True), json=HELLO, headers={"x-goog-api-key": key}).json()
        assert said[-1]["error"]["code"] == 502
        assert said[0]["candidates"]


def test_embeddings_are_charged(money: Ledgered, stranger: httpx.Client, provider: FakeProvider):
    key = money.key(max_budget=1)
    one = {"content": {"parts": [{"text": "word"}]}}
    body = {"requests": [{**one, "model": "models/vectors"}, one]}
    url = "/v1beta/models/vectors:batchEmbedContents"
    answer = stranger.post(url, json=body, headers={"x-goog-api-key": key})
    assert len(answer.json()["embeddings"]) == 2
    assert line(money, key)["spend"] > 0
