"""Fixtures: a proxy that sends its traces to the tests' collector."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.server import FakeProvider
from tests.money import deployment
from tests.processes import MASTER_KEY, RunningProxy, StartProxy
from tests.tracing.collector import Collector

MASTER = {"authorization": f"Bearer {MASTER_KEY}"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as one:
        yield one


def config(fake: FakeProvider, *spares: FakeProvider, retries: int = 0) -> dict[str, Any]:
    """`gpt`, with the fallback `spare` if given, and a mock."""
    mock = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}}
    return {
        "model_list": [deployment(fake, "gpt", "gpt-4o"), mock, *(deployment(one, "spare") for one in spares)],
        "router_settings": {
            "num_retries": retries,
            "disable_cooldowns": True,
            "fallbacks": [{"gpt": ["spare"]}] if spares else [],
        },
    }


def traced(collector: Collector, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}


@pytest.fixture
def gateway(proxy: StartProxy, fake: FakeProvider, collector: Collector) -> RunningProxy:
    return proxy(config(fake), environment=traced(collector))


def ask(
    gateway: RunningProxy, model: str = "gpt", *, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Say the-canary-sings"}], **fields}
    return httpx.post(
        f"{gateway.url}/v1/chat/completions", json=body, headers={**MASTER, **(headers or {})}, timeout=30
    )
