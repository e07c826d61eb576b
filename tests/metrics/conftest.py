"""Fixtures: a standalone proxy whose metrics are parsed with Prometheus' own parser."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from tests.fakes.server import FakeProvider
from tests.money import deployment
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

MASTER = {"authorization": f"Bearer {MASTER_KEY}"}


class Scraped:
    """One scrape. `scraped["litellm_router_…", "model=gpt"]` is the sum of the samples with these labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in parsed(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def __getitem__(self, wanted: str | tuple[str, ...]) -> float:
        name, *conditions = (wanted,) if isinstance(wanted, str) else wanted
        labels = dict(condition.split("=", 1) for condition in conditions)
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())


class Watched:
    def __init__(self, proxy: RunningProxy) -> None:
        self.proxy = proxy
        self.http = httpx.Client(base_url=proxy.url, timeout=30)

    def scrape(self, headers: Mapping[str, str] = MASTER) -> Scraped:
        answer = self.http.get("/metrics", headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scraped(answer.text)

    def chat(self, model: str = "gpt", key: str = MASTER_KEY, **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello there, world"}], **fields}
        return self.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


@pytest.fixture
def watched(proxy: StartProxy, fake: FakeProvider, second_fake: FakeProvider) -> Watched:
    """`gpt` with the fallback `spare`, a wildcard and a mock."""
    spare = deployment(second_fake, "spare")
    wild = deployment(fake, "wild/*", "*")
    mock = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}}
    config = {
        "model_list": [deployment(fake, "gpt"), spare, wild, mock],
        "router_settings": {"num_retries": 1, "fallbacks": [{"gpt": ["spare"]}], "allowed_fails": 0},
    }
    return Watched(proxy(config))
