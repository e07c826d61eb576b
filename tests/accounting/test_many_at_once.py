"""A budget under many requests at once: it holds to the nano-dollar, whatever becomes of them."""

import asyncio
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from tests.accounting.conftest import IN, OUT, Ledgered, chat, deployment
from tests.fakes import Behaviour, FakeProvider
from tests.ledger.conftest import NewDatabase
from tests.processes import StartProxy

REQUESTS = 200
USAGE = 20, 10
COST = USAGE[0] * IN + USAGE[1] * OUT
LIMIT = 50

Start = Callable[..., list[Ledgered]]


@pytest.fixture(params=["sqlite", "postgres"])
def gateways(request: pytest.FixtureRequest, proxy: StartProxy, fake: FakeProvider) -> Start:
    """One proxy on SQLite, or two replicas on one PostgreSQL."""

    def start(**settings: float) -> list[Ledgered]:
        config = {"model_list": [deployment(fake, "gpt")], "litellm_settings": settings}
        config["router_settings"] = {"num_retries": 0, "disable_cooldowns": True}
        if request.param == "sqlite":
            return [Ledgered(proxy(config))]
        new: NewDatabase = request.getfixturevalue("new_database")
        environment = {"DATABASE_URL": new()}
        return [Ledgered(proxy(config, environment=environment)) for _ in range(2)]

    return start


async def _ask(client: httpx.AsyncClient, key: str, index: int) -> int:
    """Every second request is a stream, every fourth leaves in the middle of its answer."""
    body = chat(max_tokens=LIMIT, stream=index % 2 == 1)
    headers = {"authorization": f"Bearer {key}"}
    async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        if answer.status_code == 200 and index % 4 == 3:
            async for _ in answer.aiter_raw():
                break
            return 499
        await answer.aread()
        return answer.status_code


async def _all_at_once(gateways: list[Ledgered], key: str) -> Counter[int]:
    limits = httpx.Limits(max_connections=None)
    clients = [httpx.AsyncClient(base_url=g.proxy.url, timeout=60, limits=limits) for g in gateways]
    try:
        work = (_ask(clients[index % len(clients)], key, index) for index in range(REQUESTS))
        return Counter(await asyncio.gather(*work))
    finally:
        for client in clients:
            await client.aclose()


def _reservation(gateway: Ledgered, fake: FakeProvider) -> float:
    """US dollars that are set aside for one of the requests."""
    probe = gateway.key(max_budget=1)
    assert gateway.ask(probe, max_tokens=LIMIT).status_code == 200
    return gateway.logs()[0]["reserved"]


async def test_a_budget_holds_exactly(gateways: Start, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=USAGE, text="word " * 10, chunks=10, pace=0.02))
    running = await asyncio.to_thread(gateways)
    first = running[0]
    budget = round(40 * await asyncio.to_thread(_reservation, first, fake), 9)
    before = first.spend()["spend"]
    key = first.key(max_budget=budget)
    counted = await _all_at_once(running, key)
    assert counted.keys() <= {200, 429, 499}
    assert counted[200] + counted[499] >= 40
    total = await asyncio.to_thread(first.settled, 20)
    found = first.info(key)
    assert 0 < found["spend"] <= budget
    assert found["spend"] == pytest.approx(total["spend"] - before, abs=1e-12)
    lines = first.admin("/spend/logs", size=1000)["data"]
    assert sum(line["spend"] for line in lines) == pytest.approx(total["spend"], abs=1e-12)


async def test_with_settlement_held_back_as_many_as_fit(gateways: Start, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=USAGE))
    running = await asyncio.to_thread(gateways)
    reserved = await asyncio.to_thread(_reservation, running[0], fake)
    key = running[0].key(max_budget=round(30 * reserved + reserved / 2, 9))
    fake.always(Behaviour(usage=USAGE, delay=6.0))  # until all have been admitted or refused
    counted = await _all_at_once_plain(running, key)
    assert counted == {200: 30, 429: REQUESTS - 30}
    assert running[0].info(key)["spend"] == pytest.approx(30 * COST)


async def _all_at_once_plain(gateways: list[Ledgered], key: str) -> Counter[int]:
    async def ask(client: httpx.AsyncClient) -> int:
        headers = {"authorization": f"Bearer {key}"}
        answer = await client.post("/v1/chat/completions", json=chat(max_tokens=LIMIT), headers=headers)
        return answer.status_code

    limits = httpx.Limits(max_connections=None)
    clients = [httpx.AsyncClient(base_url=g.proxy.url, timeout=60, limits=limits) for g in gateways]
    try:
        return Counter(await asyncio.gather(*(ask(clients[i % len(clients)]) for i in range(REQUESTS))))
    finally:
        for client in clients:
            await client.aclose()
