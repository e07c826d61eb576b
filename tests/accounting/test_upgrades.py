"""A proxy of the previous schema serves while the new one starts on the same ledger and migrates it."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from container.stores import PostgresStore, SqliteStore, Store
from tests.accounting.conftest import Ledgered
from tests.accounting.crowd import CLIENT_LEFT
from tests.checkouts import checkout
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.ledger.postgres_server import NewDatabase
from tests.ledger.support import check_balance, query
from tests.money import IN, OUT, chat, deployment
from tests.processes import StartProxy
from worker.core.ledger import schema
from worker.core.ledger.settle import SETTLED

# The last commit with schema 6.
BEFORE = "0e5dcc3c839c767bdd62d4355d68958572c0c706"
LIMIT = 20
USAGE = 20, 10
COST = round((USAGE[0] * IN + USAGE[1] * OUT) * 1e9)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(BEFORE, tmp_path_factory.mktemp("before"), "container", "worker")


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], Callable[[], Store]]:
    """The variables that name a new ledger, and what opens it."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.db"
        return {"LEDGER_PATH": str(path)}, lambda: SqliteStore(path)
    new: NewDatabase = request.getfixturevalue("new_database")
    url = new()
    return {"DATABASE_URL": url}, lambda: PostgresStore(url)


class Clients:
    """`count` clients with a key, each of which sends one request after the other to any of `urls` until the end.
    Some of the requests are streams, and of some of those the client leaves. `urls` may change."""

    def __init__(self, urls: list[str], key: str, count: int) -> None:
        self.answered: Counter[int] = Counter()
        self._refused_in_a_row = 0
        self._urls, self._count, self._number = urls, count, itertools.count()
        self._session = aiohttp.ClientSession(
            headers={"authorization": f"Bearer {key}"}, connector=aiohttp.TCPConnector(limit=0)
        )
        self._over = False

    async def __aenter__(self) -> "Clients":
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self._count)]
        return self

    async def done(self) -> Counter[int]:
        self._over = True
        await asyncio.gather(*self._tasks)
        return self.answered

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _ask(self) -> None:
        while not self._over:
            number = next(self._number)
            url = self._urls[number % len(self._urls)]
            body = chat(max_tokens=LIMIT, stream=number % 5 == 0)
            async with self._session.post(f"{url}/v1/chat/completions", json=body) as answer:
                status = answer.status
                if status == 200 and number % 20 == 0:
                    await answer.content.readany()
                    answer.close()
                    status = CLIENT_LEFT
                else:
                    await answer.read()
            self.answered[status] += 1
            self._refused_in_a_row = self._refused_in_a_row + 1 if status == 429 else 0
            if status == 429:
                await asyncio.sleep(0.1)

    async def more(self, fake: FakeProvider, count: int = 60) -> None:
        """Waits until `count` more requests have been answered with 200."""
        before = self.answered[200]
        await fake.eventually(lambda: self.answered[200] > before + count or self._failed(), 60)
        assert not self._failed(), self.answered

    async def refused(self, fake: FakeProvider) -> None:
        """Waits until nobody is admitted any more."""
        await fake.eventually(lambda: self._refused_in_a_row > 3 * self._count or self._failed(), 60)
        assert not self._failed(), self.answered

    def _failed(self) -> bool:
        return bool(set(self.answered) - {200, 429, CLIENT_LEFT})


def near(budget: int, key: dict[str, Any]) -> bool:
    """Whether the budget is kept, and a further request would not have fit."""
    return budget - 2 * COST < round(key["spend"] * 1e9) <= budget


async def test_a_ledger_is_migrated_under_load(
    ledger: tuple[dict[str, str], Callable[[], Store]], proxy: StartProxy, fake: FakeProvider, before: Path
) -> None:
    variables, store_of = ledger
    fake.always(Behaviour(usage=USAGE, text="word " * 10, chunks=10, pace=0.005, delay=0.02))
    config: dict[str, Any] = {
        "model_list": [deployment(fake, "gpt")],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    past = {**variables, "PYTHONPATH": str(before)}
    old = Ledgered(await asyncio.to_thread(proxy, config, environment=past, cwd=before))
    first_budget, last_budget = 40 * COST, 140 * COST
    free, tight, blocked = old.key(), old.key(max_budget=first_budget / 1e9), old.key()
    old.admin("/key/block", {"key": blocked})
    urls = [old.proxy.url]
    async with Clients(urls, free, 12) as many, Clients(urls, tight, 4) as few:
        await many.more(fake)
        # The old version and then both use a budget up, however fast the new one starts. Without waiting for it,
        # the limited key may never be refused, and nothing would be known about its limit.
        await few.refused(fake)
        assert near(first_budget, old.info(tight)), old.info(tight)
        new = Ledgered(await asyncio.to_thread(proxy, config, environment=variables))
        urls.append(new.proxy.url)
        await asyncio.to_thread(new.admin, "/key/update", {"key": tight, "max_budget": last_budget / 1e9})
        await few.more(fake, 20)
        await many.more(fake)
        urls.remove(old.proxy.url)
        await asyncio.to_thread(old.proxy.stop)
        await many.more(fake)
        await few.refused(fake)
        counted = [await clients.done() for clients in (many, few)]
    assert set(counted[0]) == {200, CLIENT_LEFT}
    assert set(counted[1]) == {200, 429, CLIENT_LEFT}
    await asyncio.to_thread(new.settled, 30)
    assert new.ask(blocked).status_code == 401
    store = store_of()
    await store.open()
    assert await query(store, "SELECT version FROM ledger_schema") == [(schema.VERSION,)]
    await check_balance(store)
    requests = "SELECT k.max_budget, r.state, r.charged FROM ledger_requests r JOIN ledger_keys k ON k.id = r.key_id"
    lines = await query(store, requests)
    await store.close()
    assert {state for _, state, _ in lines} == {SETTLED}
    for key, some in zip((free, tight), counted, strict=True):
        found = new.info(key)
        charged = [cost for budget, _, cost in lines if (budget is None) == (found["max_budget"] is None)]
        assert len(charged) == some[200] + some[CLIENT_LEFT]
        assert charged.count(COST) >= some[200]
        assert (round(found["spend"] * 1e9), found["reserved"]) == (sum(charged), 0)
    # What both versions charged is within the budget, and the key was refused because no further request fit.
    assert near(last_budget, new.info(tight))
