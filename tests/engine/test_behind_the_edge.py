"""The whole path: client → Worker → Durable Object → container → engine → provider with its own wire format."""

from typing import Any

import pytest
from openai import OpenAI

from tests.edge.conftest import Edge, StartEdge, start_module_edge
from tests.edge.money import Money

__all__ = ["start_module_edge"]

MODELS = {"claude": "anthropic", "gemini": "gemini"}


@pytest.fixture(scope="module")
def behind_the_edge(start_module_edge: StartEdge, config: dict[str, Any]) -> Edge:
    return start_module_edge(config)


@pytest.fixture(params=["/v1", ""], ids=["with v1", "without v1"])
def client(request: pytest.FixtureRequest, behind_the_edge: Edge) -> OpenAI:
    base = behind_the_edge.url + request.param
    return OpenAI(base_url=base, api_key=behind_the_edge.master_key, max_retries=0, timeout=90)


@pytest.mark.parametrize("model", MODELS)
def test_plain(client, provider, model):
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello out there"}])
    assert answer.choices[0].message.content == "hello out there"
    assert answer.model == model
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert provider.last.format == MODELS[model]


@pytest.mark.parametrize("model", MODELS)
def test_stream(client, provider, model):
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hello out there"}], stream=True
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "hello out there"
    assert {c.model for c in chunks} == {model}
    assert provider.last.format == MODELS[model]


def test_engine_responses_are_charged(behind_the_edge, provider):
    money = Money(behind_the_edge)
    key = money.key(max_budget=10)
    fields = {"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": "hello out there"}]}
    for stream in (False, True):
        headers = {"authorization": f"Bearer {key}"}
        answer = money.http.post("/v1/messages", json={**fields, "stream": stream}, headers=headers, timeout=90)
        assert answer.status_code == 200
    lines = money.settled(key, 2)
    assert all(line["spend"] > 0 and not line["estimated"] and line["endpoint"] == "messages" for line in lines)
    assert {(line["prompt_tokens"], line["completion_tokens"]) for line in lines} == {(8, 4)}
