"""The engine as a child process: started beside the fast path, without outgoing calls of its own, and replaced when
it dies."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engine.conftest import THROUGH_THE_ENGINE
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy, StartProxy

HELLO: Any = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def own_config(fake: FakeProvider) -> dict[str, Any]:
    at_openai = {"model": "openai/gpt-4o", "api_base": fake.openai_base, "api_key": "sk-provider"}
    at_anthropic = {
        "model": "anthropic/claude-sonnet-4-6",
        "api_base": fake.url,
        "api_key": "sk-ant-provider",
        **THROUGH_THE_ENGINE,
    }
    return {
        "model_list": [
            {"model_name": "gpt", "litellm_params": at_openai},
            {"model_name": "claude", "litellm_params": at_anthropic},
        ]
    }


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ask(proxy: RunningProxy, model: str) -> httpx.Response:
    request = {"model": model, "messages": HELLO}
    headers = {"authorization": f"Bearer {proxy.master_key}"}
    return httpx.post(f"{proxy.url}/v1/chat/completions", json=request, headers=headers, timeout=60)


def test_start(proxy: StartProxy, own_config: dict[str, Any], fake: FakeProvider):
    """A real process that imports LiteLLM. In other tests the proxy and its engine are forks."""
    gateway = proxy(own_config, fresh=True)
    assert ask(gateway, "gpt").status_code == 200
    assert '"engine_running"' not in gateway.log(), "neither readiness nor the fast path waits for the engine"
    answer = ask(gateway, "claude")  # waits for the engine
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello there"
    time.sleep(1)
    assert [seen.method for seen in fake.requests] == ["POST", "POST"], "the engine called a provider on its own"


def test_no_engine_starts_when_none_is_needed(proxy: StartProxy, own_config: dict[str, Any]):
    del own_config["model_list"][1]
    gateway = proxy(own_config)
    assert ask(gateway, "gpt").status_code == 200
    assert children(gateway.pid) == []


def test_killed_engine_is_replaced(proxy: StartProxy, own_config: dict[str, Any]):
    gateway = proxy(own_config)
    assert ask(gateway, "claude").status_code == 200
    (engine,) = children(gateway.pid)
    os.kill(engine, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (answer := ask(gateway, "claude")).status_code != 200:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "service_unavailable"
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert ask(gateway, "gpt").status_code == 200
    assert children(gateway.pid) != [engine]
