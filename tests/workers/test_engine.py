"""The engine, which the hub starts once for all workers. One proxy serves all tests: an engine starts slowly."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.engine.conftest import THROUGH_THE_ENGINE
from tests.fakes.server import FakeProvider
from tests.money import chat, wait_for
from tests.processes import StartProxy
from tests.workers.conftest import Workers

WORKERS = 4
REQUESTS = 'litellm_router_requests_total{endpoint="chat_completions"'

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, providers: FakeProvider) -> Workers:
    """All its requests go through the engine."""
    parameters = {
        "model": "anthropic/claude-sonnet-4-6",
        "api_base": providers.url,
        "api_key": "sk-ant-provider",
        **THROUGH_THE_ENGINE,
    }
    config = {
        "model_list": [{"model_name": "gpt", "litellm_params": parameters}],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    running = Workers(module_proxy(config, environment={"NUM_WORKERS": str(WORKERS)}), WORKERS)
    wait_for(running.workers, lambda found: len(found) == WORKERS)
    assert running.ask().status_code == 200  # waits for the engine
    return running


def engines(gateway: Workers) -> list[int]:
    """The children of all processes but the first one."""
    found = []
    for pid in gateway.processes().values():
        found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


def served(gateway: Workers, key: str) -> set[str]:
    """The workers that have served the key: the second half of an id names the process that made it."""
    gateway.settled()
    return {line["request_id"][16:] for line in gateway.logs(key)}


async def test_one_engine_answers_the_requests_of_all_workers(gateway: Workers, provider: FakeProvider) -> None:
    key, before = gateway.key(), gateway.metric(REQUESTS)
    assert await gateway.burst(40, key) == [200] * 40
    assert len(engines(gateway)) == 1
    assert gateway.log_count("engine_running") == 1
    assert len(served(gateway, key)) == WORKERS
    assert gateway.metric(REQUESTS) == before + 40
    assert gateway.metric('litellm_router_engine_state{state="running"}') == 1
    assert len(provider.requests) == 40


async def test_streams_through_the_engine_are_complete(gateway: Workers, provider: FakeProvider) -> None:
    async def stream(client: httpx.AsyncClient) -> bytes:
        return (await client.post("/v1/chat/completions", json=chat(stream=True))).content

    key = gateway.key()
    async with gateway.client(key) as client:
        answers = await asyncio.gather(*(stream(client) for _ in range(24)))
    assert {answer.rstrip().endswith(b"data: [DONE]") for answer in answers} == {True}
    assert {answer.count(b'"finish_reason":"stop"') for answer in answers} == {1}
    assert len(served(gateway, key)) > 1
    assert [line["status"] for line in gateway.logs(key)] == [200] * 24
    assert sum(line["estimated"] for line in gateway.logs(key)) == 0


async def test_a_new_worker_uses_the_running_engine(gateway: Workers) -> None:
    before, killed = engines(gateway), gateway.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_for(gateway.workers, lambda found: len(found) == WORKERS and not {*found} & {*killed})
    assert await gateway.burst(16) == [200] * 16
    assert engines(gateway) == before


async def test_a_killed_engine_is_replaced_once(gateway: Workers) -> None:
    (engine,) = engines(gateway)
    starts = gateway.log_count("engine_running")
    os.kill(engine, signal.SIGKILL)
    async with asyncio.timeout(120):
        while set(statuses := await gateway.burst(8)) != {200}:
            assert set(statuses) <= {200, 502, 503}
    key = gateway.key()
    assert await gateway.burst(40, key) == [200] * 40
    assert len(served(gateway, key)) == WORKERS
    (replaced,) = engines(gateway)
    assert replaced != engine
    assert gateway.log_count("engine_running") == starts + 1
