"""Budgets and limits hold over all workers, exactly."""

import asyncio
import time

import pytest

from tests.fakes.behaviour import failing
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, deployment, wait_for
from tests.workers.conftest import Start, reached

WORKERS = 4
# What the fake provider's answer to `chat(max_tokens=OUTPUT)` reports at most.
OUTPUT = 10


@pytest.mark.parametrize("ledger", ["file", "memory"])
async def test_a_budget_is_never_exceeded(start: Start, fake: FakeProvider, ledger: str) -> None:
    gateway = start(WORKERS, environment={"LEDGER_PATH": ":memory:"} if ledger == "memory" else {})
    key = gateway.key(max_budget=0.0005)
    statuses = await gateway.burst(150, key, max_tokens=OUTPUT)
    assert set(statuses) == {200, 429}
    gateway.settled()
    info = gateway.info(key)
    assert info["spend"] <= 0.0005
    answered = [line for line in gateway.logs(key) if line["status"] == 200]
    assert len(answered) == statuses.count(200)
    assert info["spend"] == pytest.approx(sum(line["spend"] for line in answered))
    # What is left would not have paid for another request.
    assert 0.0005 - info["spend"] < 60 * IN + OUTPUT * OUT


async def test_requests_per_minute_of_a_key_are_counted_once(start: Start) -> None:
    gateway = start(WORKERS)
    key = gateway.key(rpm_limit=20)
    await _begin_of_a_minute()
    statuses = await gateway.burst(60, key)
    assert (statuses.count(200), statuses.count(429)) == (20, 40)


async def test_parallel_requests_of_a_key_are_counted_once(start: Start, fake: FakeProvider) -> None:
    gateway = start(WORKERS, environment={"BUDGET_PATIENCE": "20"})
    key = gateway.key(max_parallel_requests=3)
    fake.always("delay=0.02")
    assert set(await gateway.burst(60, key)) == {200}
    assert fake.peak_in_flight == 3


async def test_parallel_requests_of_a_deployment_are_counted_once(start: Start, fake: FakeProvider) -> None:
    model = deployment(fake, "gpt")
    model["litellm_params"]["max_parallel_requests"] = 3
    gateway = start(WORKERS, models=[model])
    fake.always("delay=0.05")
    statuses = await gateway.burst(80)
    assert set(statuses) == {200, 503}
    assert fake.peak_in_flight == 3


async def test_requests_per_minute_of_a_deployment_are_counted_once(start: Start, fake: FakeProvider) -> None:
    model = deployment(fake, "gpt")
    model["litellm_params"]["rpm"] = 15
    gateway = start(WORKERS, models=[model], router={"routing_strategy": "usage-based-routing-v2"})
    await _begin_of_a_minute()
    statuses = await gateway.burst(60)
    assert statuses.count(200) == len(fake.requests) == 15


async def test_all_workers_see_a_cooldown(start: Start, fake: FakeProvider) -> None:
    bad, good = deployment(fake, "gpt", "bad"), deployment(fake, "gpt", "good")
    bad["litellm_params"]["weight"], good["litellm_params"]["weight"] = 1_000_000, 1
    router = {"disable_cooldowns": False, "allowed_fails": 0, "cooldown_time": 60, "num_retries": 1}
    gateway = start(WORKERS, models=[bad, good], router=router)
    fake.always(failing(500), model="bad")
    assert gateway.ask().status_code == 200
    assert set(await gateway.burst(40)) == {200}
    assert [request.model for request in fake.requests].count("bad") == 1


async def test_failures_count_whichever_worker_they_come_to(start: Start, fake: FakeProvider) -> None:
    router = {"disable_cooldowns": False, "allowed_fails": 5, "cooldown_time": 60}
    bad, good = deployment(fake, "gpt", "bad"), deployment(fake, "spare", "good")
    gateway = start(WORKERS, models=[bad, good], router={**router, "fallbacks": [{"gpt": ["spare"]}]})
    fake.always(failing(500), model="bad")
    assert await gateway.burst(40, at_once=1) == [200] * 40
    assert [request.model for request in fake.requests].count("bad") == 6


async def test_wrong_keys_are_counted_over_all_workers(start: Start) -> None:
    gateway = start(WORKERS, environment={"FAILED_KEYS_PER_MINUTE": "10"})
    statuses = await gateway.burst(40, "sk-wrong-key-of-somebody")
    assert (statuses.count(401), statuses.count(429)) == (10, 30)


async def test_a_request_that_waits_for_another_workers_is_admitted_when_it_ends(
    start: Start, fake: FakeProvider
) -> None:
    gateway = start(WORKERS)
    key = gateway.key(max_parallel_requests=1)
    with fake.holding():
        tasks = [asyncio.create_task(gateway.burst(1, key)) for _ in range(5)]
        await reached(fake, 1)
    assert await asyncio.gather(*tasks) == [[200]] * 5
    assert fake.peak_in_flight == 1


async def test_a_client_that_leaves_while_it_waits_leaves_nothing_open(start: Start, fake: FakeProvider) -> None:
    gateway = start(2, environment={"BUDGET_PATIENCE": "20"})
    key = gateway.key(max_parallel_requests=1)
    with fake.holding():
        running = asyncio.create_task(gateway.burst(1, key))
        await reached(fake, 1)
        waiting = asyncio.create_task(gateway.burst(4, key))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await running == [200]
    gateway.settled()
    assert gateway.ask(key).status_code == 200
    wait_for(lambda: gateway.metric("litellm_router_ledger_open_reservations"), lambda found: found == 0)


async def _begin_of_a_minute() -> None:
    """Wait if the minute is about to end."""
    left = 60 - time.time() % 60
    if left < 20:
        await asyncio.sleep(left + 0.1)
