"""A thousand concurrent requests under one budget: the budget holds to the nano-dollar, however they end."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.accounting import levels
from tests.accounting.conftest import Ledgered
from tests.accounting.crowd import CLIENT_LEFT, Crowd
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.ledger.postgres_server import NewDatabase
from tests.money import IN, OUT, deployment
from tests.processes import MASTER_KEY, StartProxy, free_tcp_port
from tests.redis_server import RedisServer

REQUESTS, FIT = 1000, 100
USAGE = 20, 10
COST = USAGE[0] * IN + USAGE[1] * OUT
LIMIT = 50

Start = Callable[..., list[Ledgered]]


@pytest.fixture(params=["sqlite", "postgres"])
def gateways(request: pytest.FixtureRequest, proxy: StartProxy, fake: FakeProvider, tmp_path: Path) -> Start:
    """One proxy on SQLite, or two replicas on one PostgreSQL and one Redis."""

    def start(patience: float = 10, **settings: float) -> list[Ledgered]:
        config = {"model_list": [deployment(fake, "gpt")], "litellm_settings": settings}
        config["router_settings"] = {"num_retries": 0, "disable_cooldowns": True}
        environment = {"BUDGET_PATIENCE": str(patience)}
        if request.param == "sqlite":
            return [Ledgered(proxy(config, environment=environment))]
        new: NewDatabase = request.getfixturevalue("new_database")
        redis: RedisServer = request.getfixturevalue("redis")
        environment |= {"DATABASE_URL": new(), "REDIS_URL": redis.url}
        return [Ledgered(proxy(config, environment=environment)) for _ in range(2)]

    return start


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, free_tcp_port()) as server:
        yield server


def _reservation(gateway: Ledgered) -> int:
    """Nano-dollars reserved for each request."""
    probe = gateway.key(max_budget=1)
    assert gateway.ask(probe, max_tokens=LIMIT).status_code == 200
    return _nano(gateway.logs()[0]["reserved"])


def _nano(dollars: float) -> int:
    return round(dollars * 1e9)


async def _watch(gateway: Ledgered, key: str, budget: int) -> None:
    """Polls the key's spend and reservations."""
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.get(f"{gateway.proxy.url}/key/info", params={"key": key}) as answer:
                info = (await answer.json())["info"]
            assert _nano(info["spend"]) + _nano(info["reserved"]) <= budget
            await asyncio.sleep(0.01)


async def test_a_budget_holds_to_the_nano_dollar(gateways: Start, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=USAGE, text="word " * 10, chunks=10, pace=0.02))
    running = await asyncio.to_thread(gateways)
    first = running[0]
    budget = FIT * await asyncio.to_thread(_reservation, first)
    before = first.spend()["spend"]
    key = first.key(max_budget=budget / 1e9)
    urls = [gateway.proxy.url for gateway in running]
    watching = asyncio.create_task(_watch(first, key, budget))
    async with Crowd(urls, key, REQUESTS, streams=50, leaving=50, limit=LIMIT) as crowd:
        counted = await crowd.done()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert sum(counted.values()) == REQUESTS
    assert counted.keys() <= {200, 429, CLIENT_LEFT}, counted
    assert counted[200] + counted[CLIENT_LEFT] >= FIT
    assert counted[CLIENT_LEFT] > 0
    total = await asyncio.to_thread(first.settled, 30)
    found = first.info(key)
    assert 0 < _nano(found["spend"]) <= budget
    assert found["reserved"] == 0
    assert _nano(found["spend"]) == _nano(total["spend"]) - _nano(before)
    lines = first.admin("/spend/logs", size=1000)["data"]
    assert sum(_nano(line["spend"]) for line in lines) == _nano(total["spend"])
    assert len(lines) == counted[200] + counted[CLIENT_LEFT] + 1


async def test_with_settlement_delayed_exactly_as_many_as_fit_are_admitted(gateways: Start, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=USAGE))
    running = await asyncio.to_thread(gateways, patience=0)
    first = running[0]
    reserved = await asyncio.to_thread(_reservation, first)
    budget = FIT * reserved + reserved - 1
    key = first.key(max_budget=budget / 1e9)
    urls = [gateway.proxy.url for gateway in running]
    async with contextlib.AsyncExitStack() as stack:
        with fake.holding():
            crowd = await stack.enter_async_context(Crowd(urls, key, REQUESTS, streams=50, limit=LIMIT))
            await fake.eventually(lambda: sum(crowd.finished.values()) == REQUESTS - FIT, 60)
            assert crowd.finished == {429: REQUESTS - FIT}
            await fake.eventually(lambda: fake.in_flight == FIT, 60)
            assert _nano(first.info(key)["reserved"]) == FIT * reserved
        assert await crowd.done() == {429: REQUESTS - FIT, 200: FIT}
    await asyncio.to_thread(first.settled, 30)
    found = first.info(key)
    assert (_nano(found["spend"]), found["reserved"]) == (FIT * _nano(COST), 0)


async def test_budgets_at_every_level_hold_at_once(gateways: Start, fake: FakeProvider) -> None:
    """A thousand requests with five keys of two teams, with three tags."""
    fake.always(Behaviour(usage=USAGE))
    probe = (await asyncio.to_thread(gateways, patience=0))[0]
    reserved = await asyncio.to_thread(_reservation, probe)
    running = await asyncio.to_thread(gateways, patience=0, max_budget=levels.FITS["global"] * reserved / 1e9)
    urls = [gateway.proxy.url for gateway in running]
    await levels.check(running[0], urls, fake, reserved, _nano(COST), REQUESTS)
