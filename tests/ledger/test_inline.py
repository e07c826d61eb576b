"""What the edge quotes from its catalog is what the proxy would quote."""

import json
from typing import Any

import pytest

from container import catalog
from container.accounting import Tariff
from container.config import Config, load
from container.request.completion import parse
from container.routing.router import Router
from tests.processes import ROOT
from worker.api.models import missing
from worker.ledger import charges
from worker.ledger.estimate import prompt
from worker.ledger.inline import Quoter

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
def test_it_is_the_proxys_quote(config: Config, model: str, fields: dict[str, Any]):
    raw = content(model, **fields)
    request = parse("chat_completions", raw)
    charge = charges.of_body("chat_completions", request.body)
    tariff = Tariff(config, Router(config), default_max_output=LIMIT)
    wanted = tariff.quote(request.body, prompt(request.body), request.route, charge)
    found = quoter(config, ENVIRONMENT).quote("chat_completions", raw)
    assert found is not None
    assert found == (model, wanted)


def test_deployments_that_are_off_are_not_reserved_for(config: Config):
    """claude-sonnet falls back to dearer models: only where those can answer."""
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
def test_what_the_proxy_has_to_be_asked(config: Config, raw: bytes):
    assert quoter(config, ENVIRONMENT).quote("chat_completions", raw) is None


def test_a_model_all_of_whose_deployments_are_off(config: Config):
    assert quoter(config, {}).quote("chat_completions", content("gpt-4")) is None


def test_tokens_stay_within_what_the_ledger_can_count(config: Config):
    found = quoter(config, ENVIRONMENT).quote("chat_completions", content(n=1 << 30, max_tokens=1 << 30))
    assert found is not None
    assert found.quote.tokens <= 1 << 32


@pytest.mark.parametrize(
    ("endpoint", "fields", "charge"),
    [
        ("embeddings", {}, charges.Charge()),
        ("moderations", {}, charges.Charge()),
        ("count_tokens", {}, charges.Charge(free=True)),
        ("messages", {}, charges.Charge(("max_tokens",))),
        ("responses", {}, charges.Charge(("max_output_tokens",), least=16)),
        ("image_generation", {"n": 3}, charges.Charge(units={"image": 3})),
        ("image_generation", {"n": "3"}, charges.Charge(units={"image": 1})),
        ("speech", {"input": "four"}, charges.Charge(units={"character": 4})),
        ("speech", {"input": 4}, charges.Charge(units={"character": 0})),
        ("rerank", {}, charges.Charge(units={"query": 1})),
        ("rerank", {"documents": ["one"] * 100}, charges.Charge(units={"query": 1})),
        ("rerank", {"documents": ["one"] * 101}, charges.Charge(units={"query": 2})),
    ],
)
def test_how_each_endpoint_is_charged(endpoint: str, fields: dict[str, Any], charge: charges.Charge):
    assert charges.of_body(endpoint, fields) == charge


def test_a_free_endpoint_reserves_nothing(config: Config):
    found = quoter(config, ENVIRONMENT).quote("count_tokens", content())
    assert found is not None
    assert (found.quote.amount, found.quote.tokens, found.quote.unpriced) == (0, 0, "")
