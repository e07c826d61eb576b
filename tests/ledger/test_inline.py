"""The edge's quote from its catalog equals the proxy's quote."""

import json
from typing import Any

import pytest

from container.accounting.reservation import PriceBook
from container.config.load import Config, load
from container.proxy import catalog
from container.request.client_apis import parse_responses
from container.request.completion import parse
from container.routing.router import Router
from tests.processes import ROOT
from worker.core.api.health import missing
from worker.core.pricing import prices
from worker.core.pricing.estimate import prompt
from worker.core.pricing.quote import Quoter

ENVIRONMENT = {"OPENAI_API_KEY": "sk-x", "GEMINI_API_KEY": "x"}
LIMIT = 4096
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://x.example/p.png"}}


@pytest.fixture(scope="module")
def config() -> Config:
    return load(ROOT / "litellm_config.yaml", ENVIRONMENT)


def quoter(config: Config, environment: dict[str, str]) -> Quoter:
    found = json.loads(json.dumps(catalog.catalog(config)))
    return Quoter(
        found["deployments"],
        found["reach"],
        lambda needs: not missing(needs, environment.__contains__),
        LIMIT,
    )


def content(model: str = "gpt-4o", **fields: Any) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}).encode()


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet", "gemini-flash", "mock", "gpt-4"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_tokens": 10},
        {"max_tokens": 10, "max_completion_tokens": 99},
        {"n": 3, "max_completion_tokens": 7},
        {"tools": [TOOL], "service_tier": "priority"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Übergröße 東京"}, PICTURE]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
    ],
    ids=str,
)
def test_the_quote_equals_the_proxys(config: Config, model: str, fields: dict[str, Any]):
    raw = content(model, **fields)
    request = parse("chat_completions", raw)
    charge = prices.charge_of_body("chat_completions", request.body)
    price_book = PriceBook(config, Router(config), default_max_output=LIMIT)
    wanted = price_book.quote(request.body, prompt(request.body), request.route, charge)
    found = quoter(config, ENVIRONMENT).quote("chat_completions", raw)
    assert found is not None
    assert (found.model, found.quote) == (model, wanted)


def test_a_number_that_the_proxy_cannot_read_is_no_limit(config: Config):
    """The proxy parses a whole number beyond 64 bits as a float, and sends the limit that the edge adds."""
    raw = json.dumps({"model": "gpt-4o", "input": "Hi", "max_output_tokens": 1 << 64}).encode()
    request = parse_responses(raw)
    assert "max_output_tokens" not in request.body
    found = quoter(config, ENVIRONMENT).quote("responses", raw)
    assert found is not None
    charge = prices.charge_of_body("responses", request.body)
    price_book = PriceBook(config, Router(config), default_max_output=LIMIT)
    assert found.quote == price_book.quote(request.body, prompt(request.body), request.route, charge)
    assert found.quote.add_limit == LIMIT


def test_disabled_deployments_are_not_reserved(config: Config):
    """claude-sonnet falls back to more expensive models; they count only if they are enabled."""
    everything = {**ENVIRONMENT, "ANTHROPIC_API_KEY": "x"}
    dear = quoter(config, everything).quote("chat_completions", content("claude-sonnet", max_tokens=1000))
    cheap = quoter(config, {"GEMINI_API_KEY": "x"}).quote("chat_completions", content("claude-sonnet", max_tokens=1000))
    assert dear is not None
    assert cheap is not None
    assert (dear.quote.amount or 0) > (cheap.quote.amount or 0) > 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'"text"',
        b"\xff\xfe",
        content("no-such-model"),
        content("azure/gpt-4o"),
        content("claude-sonnet", fallbacks=["gpt-4o"]),
        content("claude-sonnet", disable_fallbacks=True),
        content("gpt-4o").replace(b'"gpt-4o"', b'["gpt-4o"]'),
        b'{"model": "gpt-4o", "messages": ' + b"[" * 100_000,
        b'{"model": "gpt-4o", "max_tokens": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_requests_that_only_the_proxy_can_quote(config: Config, raw: bytes):
    assert quoter(config, ENVIRONMENT).quote("chat_completions", raw) is None


def test_a_model_without_enabled_deployments_has_no_quote(config: Config):
    assert quoter(config, {}).quote("chat_completions", content("gpt-4")) is None


def test_tokens_stay_within_the_ledgers_range(config: Config):
    found = quoter(config, ENVIRONMENT).quote("chat_completions", content(n=1 << 30, max_tokens=1 << 30))
    assert found is not None
    assert found.quote.tokens <= 1 << 32


@pytest.mark.parametrize(
    ("endpoint", "fields", "charge"),
    [
        ("embeddings", {}, prices.Charge()),
        ("moderations", {}, prices.Charge()),
        ("count_tokens", {}, prices.Charge(free=True)),
        ("messages", {}, prices.Charge(("max_tokens",))),
        ("responses", {}, prices.Charge(("max_output_tokens",), least=16)),
        ("image_generation", {"n": 3}, prices.Charge(units={"image": 3})),
        ("image_generation", {"n": "3"}, prices.Charge(units={"image": 1})),
        ("speech", {"input": "four"}, prices.Charge(units={"character": 4})),
        ("speech", {"input": 4}, prices.Charge(units={"character": 0})),
        ("rerank", {}, prices.Charge(units={"query": 1})),
        ("rerank", {"documents": ["one"] * 100}, prices.Charge(units={"query": 1})),
        ("rerank", {"documents": ["one"] * 101}, prices.Charge(units={"query": 2})),
    ],
)
def test_the_charge_of_each_endpoint(endpoint: str, fields: dict[str, Any], charge: prices.Charge):
    assert prices.charge_of_body(endpoint, fields) == charge


def test_a_free_endpoint_reserves_nothing(config: Config):
    found = quoter(config, ENVIRONMENT).quote("count_tokens", content())
    assert found is not None
    assert (found.quote.amount, found.quote.tokens, found.quote.unpriced) == (0, 0, "")
