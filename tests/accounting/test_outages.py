"""Failures under load: the proxy is killed, the disk is full, PostgreSQL goes away.

No acknowledged request is lost, none is served without a charge, and the service recovers by itself.
"""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from container.accounting.accounting import LEASE_MS
from container.stores import PostgresStore, SqliteStore, Store
from tests.accounting.clock import Clock
from tests.accounting.conftest import Ledgered
from tests.accounting.crowd import CLIENT_LEFT, NO_ANSWER, Crowd
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.ledger.postgres_server import PostgresServer
from tests.ledger.support import check_balance
from tests.money import IN, OUT, deployment, wait_for
from tests.processes import RunningProxy, StartProxy, free_tcp_port
from tests.redis_server import RedisServer

USAGE = 20, 10
COST = round((USAGE[0] * IN + USAGE[1] * OUT) * 1e9)  # nano-dollars
SLOW = Behaviour(usage=USAGE, text="word " * 10, chunks=10, pace=0.05, delay=0.05)
QUICK = Behaviour(usage=USAGE)


def config(fake: FakeProvider) -> dict:
    return {
        "model_list": [deployment(fake, "gpt")],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {"max_budget": 1},
    }


def nano(dollars: float) -> int:
    return round(dollars * 1e9)


async def balances(store: Store) -> None:
    await store.open()
    await check_balance(store)
    await store.close()


# kill -9


@pytest.fixture
def killed(tmp_path: Path, fake: FakeProvider) -> Iterator[Callable[..., Ledgered]]:
    """Starts a proxy that the test may kill."""
    started: list[RunningProxy] = []

    def start(**environment: str) -> Ledgered:
        directory = tmp_path / "killed"
        directory.mkdir()
        proxy = RunningProxy(config(fake), directory, environment=environment)
        started.append(proxy)
        proxy.__enter__()
        return Ledgered(proxy)

    yield start
    for proxy in started:
        proxy.kill()


async def test_after_kill_minus_nine_under_load_the_ledger_balances(
    killed: Callable[..., Ledgered], proxy: StartProxy, fake: FakeProvider, tmp_path: Path
) -> None:
    fake.always(SLOW)
    place = {"LEDGER_PATH": str(tmp_path / "kept.db")}
    first = await asyncio.to_thread(killed, **place)
    key = first.key(max_budget=0.5)
    async with Crowd([first.proxy.url], key, 400, streams=50, leaving=50) as crowd:
        await fake.eventually(lambda: crowd.finished[200] >= 50 and crowd.finished[CLIENT_LEFT] >= 5, 60)
        first.proxy.kill()
        counted = await crowd.done()
    assert counted[NO_ANSWER] > 0, "it was killed too late to prove anything"
    again = Ledgered(await asyncio.to_thread(proxy, config(fake), environment=place))
    total = await asyncio.to_thread(again.settled, 20)
    assert (total["reserved"], again.info(key)["reserved"]) == (0, 0)
    assert counted[200] * COST <= nano(total["spend"]) <= nano(0.5)
    assert again.ask(key, max_tokens=5).status_code == 200
    again.proxy.stop()
    await balances(SqliteStore(tmp_path / "kept.db"))


# A full disk


async def test_a_full_disk_refuses_requests_and_loses_nothing(
    proxy: StartProxy, fake: FakeProvider, tmp_path: Path
) -> None:
    """A resource limit stops the files of the running process from growing."""
    fake.always(QUICK)
    database = tmp_path / "kept.db"
    gateway = Ledgered(await asyncio.to_thread(proxy, config(fake), environment={"LEDGER_PATH": str(database)}))
    key = gateway.key(max_budget=0.5)
    assert gateway.ask(key, max_tokens=5).status_code == 200
    _, hard = resource.prlimit(gateway.proxy.pid, resource.RLIMIT_FSIZE)
    async with Crowd([gateway.proxy.url], key, 1500, at_once=50) as crowd:
        await fake.eventually(lambda: crowd.finished[200] >= 100, 60)
        resource.prlimit(gateway.proxy.pid, resource.RLIMIT_FSIZE, (1, hard))
        counted = await crowd.done()
    assert counted.keys() == {200, 503}, counted
    asked = len(fake.requests)
    refused = gateway.ask(key, max_tokens=5)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert len(fake.requests) == asked
    assert gateway.http.get("/health/liveliness").status_code == 200

    resource.prlimit(gateway.proxy.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert gateway.ask(key, max_tokens=5).status_code == 200
    total = await asyncio.to_thread(gateway.settled, 20)
    assert nano(total["spend"]) == COST * (counted[200] + 2)
    gateway.proxy.stop()
    await balances(SqliteStore(database))


# PostgreSQL


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresServer]:
    """A PostgreSQL server of this test only, which it can stop."""
    server = PostgresServer()
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        server.remove()


async def test_postgres_killed_under_load_refuses_loses_nothing_and_comes_back(
    proxy: StartProxy, fake: FakeProvider, postgres: PostgresServer
) -> None:
    fake.always(SLOW)
    url = postgres.new_database()
    replicas = [
        Ledgered(await asyncio.to_thread(proxy, config(fake), environment={"DATABASE_URL": url})) for _ in range(2)
    ]
    urls = [replica.proxy.url for replica in replicas]
    key = replicas[0].key(max_budget=0.5)
    async with Crowd(urls, key, 700, streams=50, at_once=50, pause=0.2) as crowd:
        await fake.eventually(lambda: crowd.finished[200] >= 30, 60)
        await asyncio.to_thread(postgres.kill)
        await fake.eventually(lambda: crowd.finished[503] >= 50, 60)
        asked = len(fake.requests)
        refused = await asyncio.to_thread(replicas[0].ask, key, max_tokens=5)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")
        assert len(fake.requests) == asked
        await asyncio.to_thread(postgres.start)
        counted = await crowd.done()
    assert (counted.keys(), crowd.unstated) == ({200, 503}, 0), counted
    for replica in replicas:
        await asyncio.to_thread(recovered, replica, key)
    total = await asyncio.to_thread(replicas[0].settled, 60)
    assert nano(total["spend"]) == COST * (counted[200] + len(replicas))
    assert nano(replicas[1].info(key)["spend"]) == nano(total["spend"])
    for replica in replicas:
        replica.proxy.stop()
    await balances(PostgresStore(url))


def recovered(replica: Ledgered, key: str) -> None:
    wait_for(lambda: replica.ask(key, max_tokens=5).status_code, lambda status: status == 200, 30)


async def test_after_a_replica_and_redis_are_killed_the_other_replica_is_correct(
    proxy: StartProxy,
    killed: Callable[..., Ledgered],
    fake: FakeProvider,
    new_database: Callable[[], str],
    tmp_path: Path,
) -> None:
    """The dead replica's open requests end when their leases expire; the other one's clock is set forward for that."""
    fake.always(SLOW)
    url, clock = new_database(), Clock(tmp_path / "clock")
    with RedisServer(tmp_path, free_tcp_port()) as redis:
        shared = {"DATABASE_URL": url, "REDIS_URL": redis.url, **clock.environment}
        dying = await asyncio.to_thread(killed, **shared)
        staying = Ledgered(await asyncio.to_thread(proxy, config(fake), environment=shared))
        key = staying.key(max_budget=0.5)

        async with Crowd([staying.proxy.url, dying.proxy.url], key, 350, streams=50, at_once=24, pause=0.2) as crowd:
            await fake.eventually(lambda: crowd.finished[200] >= 30, 60)
            await asyncio.to_thread(redis.kill)
            dying.proxy.kill()
            before = crowd.finished[200]
            await fake.eventually(lambda: crowd.finished[200] >= before + 30, 60)
            await asyncio.to_thread(redis.start)
            counted = await crowd.done()
        assert (counted.keys(), crowd.unstated) == ({200, NO_ANSWER}, 0), counted
        left = await asyncio.to_thread(staying.spend)
        assert left["running_requests"] > 0, "the dead one had some open"
        clock.jump(2 * LEASE_MS / 1000)
        total = await asyncio.to_thread(staying.settled, 20)
        assert total["reserved"] == 0
        assert COST * counted[200] <= nano(total["spend"]) <= nano(0.5)
        assert staying.ask(key, max_tokens=5).status_code == 200
        staying.proxy.stop()
    await balances(PostgresStore(url))


async def test_a_key_change_applies_to_every_replica_at_once(
    proxy: StartProxy, fake: FakeProvider, new_database: Callable[[], str]
) -> None:
    fake.always(QUICK)
    url = new_database()
    one, other = [
        Ledgered(await asyncio.to_thread(proxy, config(fake), environment={"DATABASE_URL": url})) for _ in range(2)
    ]

    def statuses(*keys: str) -> list[int]:
        return [gateway.ask(key, max_tokens=5).status_code for key in keys for gateway in (one, other)]

    key = one.key(key_alias="bot")
    assert statuses(key) == [200, 200]
    other.admin("/key/block", {"key": key})
    assert statuses(key) == [401, 401]
    one.admin("/key/unblock", {"key": key})
    assert statuses(key) == [200, 200]
    token = one.info(key)["token"]
    new = other.admin(f"/key/{token}/regenerate", {"grace_period": "1h"})["key"]
    assert statuses(key, new) == [200] * 4
    newest = one.admin(f"/key/{new}/regenerate", {})["key"]
    assert statuses(key, new, newest) == [401, 401, 401, 401, 200, 200]
