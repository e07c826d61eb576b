"""Many concurrent requests: exactly as many are admitted as fit, and the accounts balance."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from container.stores import PostgresStore, SqliteStore, Store
from tests.ledger.support import NOON, Ledger, check_balance, query
from worker.core.ledger import key_admin
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.batch import batch
from worker.core.ledger.decision import Decision, Steps
from worker.core.ledger.expiry import expire, forget_end_users
from worker.core.ledger.owner_admin import block
from worker.core.ledger.owners import OF_KIND
from worker.core.ledger.settle import Report, renew
from worker.core.values import periods


@pytest.fixture(params=["one SQLite file, two connections", "PostgreSQL, two pools"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Store]]:
    """Two stores on one ledger, like two replicas."""
    pair: list[Store]
    if request.param.startswith("PostgreSQL"):
        url = request.getfixturevalue("new_database")()
        pair = [PostgresStore(url), PostgresStore(url)]
    else:
        pair = [SqliteStore(tmp_path / "ledger.db") for _ in range(2)]
    await asyncio.gather(*(store.open() for store in pair))
    yield pair
    for store in pair:
        await store.close()


@pytest.mark.parametrize(("budget", "amount", "fit"), [(100_000, 1000, 100), (100_999, 1000, 100), (999, 1000, 0)])
async def test_exactly_as_many_as_fit_are_admitted(stores: list[Store], budget: int, amount: int, fit: int) -> None:
    ledgers = [Ledger(store) for store in stores]
    key = await ledgers[0].key(max_budget=budget * 1e-9, user_id="ada")
    results = await asyncio.gather(*(ledgers[i % 2].admit(key, amount) for i in range(1000)))
    assert Counter((r["ok"], r.get("code")) for r in results) == Counter(
        {(True, None): fit, (False, "budget_exceeded"): 1000 - fit}
    )
    await check_balance(stores[0])


async def test_the_global_budget_holds_across_many_keys(stores: list[Store]) -> None:
    ledgers = [Ledger(store, Policy(everyone=Limits(max_budget=50_500))) for store in stores]
    keys = [None, *[await ledgers[0].key() for _ in range(9)]]
    results = await asyncio.gather(*(ledgers[i % 2].admit(keys[i % 10], 1000) for i in range(400)))
    assert sum(r["ok"] for r in results) == 50
    await check_balance(stores[0])


@pytest.mark.parametrize(
    ("limit", "fit"), [({"rpm_limit": 17}, 17), ({"max_parallel_requests": 17}, 17), ({"tpm_limit": 179}, 17)]
)
async def test_rate_limits_are_exact(stores: list[Store], limit: dict[str, int], fit: int) -> None:
    ledgers = [Ledger(store) for store in stores]
    key = await ledgers[0].key(**limit)
    results = await asyncio.gather(*(ledgers[i % 2].admit(key, 0, tokens=10) for i in range(200)))
    assert sum(r["ok"] for r in results) == fit


async def test_the_budget_of_a_new_end_user_is_exact(stores: list[Store]) -> None:
    ledgers = [Ledger(store, Policy(each_end_user=Limits(max_budget=100))) for store in stores]
    key = await ledgers[0].key()
    results = await asyncio.gather(*(ledgers[i % 2].admit(key, 60, end_user=f"{i // 2}") for i in range(60)))
    assert sum(r["ok"] for r in results) == 30
    await check_balance(stores[0])


async def test_of_concurrent_regenerations_one_gets_a_new_secret(stores: list[Store]) -> None:
    ledgers = [Ledger(store) for store in stores]
    key = await ledgers[0].key()
    results = await asyncio.gather(
        *(stores[i % 2].run(key_admin.regenerate(stores[i % 2].dialect, key, {}, NOON)) for i in range(16))
    )
    assert Counter(r.get("status", 200) for r in results) == {200: 1, 404: 15}
    (made,) = [r["body"]["key"] for r in results if r["ok"]]
    assert (await ledgers[1].admit(made))["ok"]


@pytest.mark.parametrize("fields", [{"key_alias": "bot"}, {"key": "sk-of-my-choice"}])
async def test_an_alias_and_a_secret_are_created_once(stores: list[Store], fields: dict[str, str]) -> None:
    results = await asyncio.gather(
        *(stores[i % 2].run(key_admin.generate(stores[i % 2].dialect, fields, NOON)) for i in range(16))
    )
    assert Counter((r.get("status", 200), r.get("param")) for r in results) == {
        (200, None): 1,
        (400, next(iter(fields))): 15,
    }


async def test_of_concurrent_updates_to_one_alias_one_succeeds(stores: list[Store]) -> None:
    keys = [await Ledger(stores[0]).key() for _ in range(16)]
    bodies = [{"key": key, "key_alias": "bot"} for key in keys]
    results = await asyncio.gather(
        *(stores[i % 2].run(key_admin.update(stores[i % 2].dialect, body, NOON)) for i, body in enumerate(bodies))
    )
    assert Counter((r.get("status", 200), r.get("param")) for r in results) == {
        (200, None): 1,
        (400, "key_alias"): 15,
    }


async def test_batches_of_two_processes_admit_exactly_as_many_as_fit(stores: list[Store]) -> None:
    """Each batch settles what its process has admitted, at half the reserved price, and admits more."""
    ledgers = [Ledger(store) for store in stores]
    key = await ledgers[0].key(max_budget=100_000e-9, user_id="ada")
    spent: list[int] = []

    async def process(ledger: Ledger) -> None:
        reports: list[Report] = []
        for _ in range(20):
            outcomes, results = await ledger.batch(reports, [ledger.request(key, 1000) for _ in range(10)])
            assert set(outcomes) <= {"settled"}
            spent.extend([500] * len(outcomes))
            reports = [Report(r["reservation"], "one", 500) for r in results if r["ok"]]
        spent.extend([1000] * len(reports))

    await asyncio.gather(*(process(ledger) for ledger in ledgers))
    await check_balance(stores[0])
    found = await query(stores[0], "SELECT spent + reserved FROM ledger_accounts WHERE id = 'global'")
    assert found[0][0] == sum(spent) <= 100_000
    assert not (await ledgers[0].admit(key, 100_001 - sum(spent)))["ok"]


async def test_of_concurrent_reports_one_counts(stores: list[Store]) -> None:
    ledgers = [Ledger(store) for store in stores]
    key = await ledgers[0].key(max_budget=1)
    made = [(await ledgers[0].admit(key, 1000))["reservation"] for _ in range(10)]
    outcomes = await asyncio.gather(*(ledgers[i % 2].settle(made[i % 10], 100 + i) for i in range(200)))
    assert Counter(outcomes) == {"settled": 10, "duplicate": 190}
    await check_balance(stores[0])


@pytest.mark.parametrize("seed", range(4))
async def test_everything_at_once(stores: list[Store], seed: int) -> None:
    """Admissions, reports (some sent twice), expiry, renewal and new periods, interleaved by the database."""
    policy = Policy(everyone=Limits(max_budget=8_000, duration="1m"), each_user=Limits(max_budget=6_000, duration="1h"))
    rng = random.Random(seed)
    clients = [Ledger(stores[i % 2], policy) for i in range(24)]
    keys = [
        await clients[0].key(user_id="ada", max_budget=4e-6, budget_duration="30s", max_parallel_requests=6),
        await clients[0].key(user_id="ada"),
        None,
    ]
    began = NOON
    moves = 0

    def turn_clocks() -> None:
        nonlocal moves
        moves += 1
        now = began + moves * 700
        for index, client in enumerate(clients):
            client.now = now + index % 3 * 10

    async def several(ledger: Ledger) -> None:
        reports: list[Report] = []
        for _ in range(15):
            turn_clocks()
            asks = [
                ledger.request(rng.choice(keys), rng.randrange(1500), lease=rng.choice([2_000, 60_000])) for _ in "123"
            ]
            _, results = await ledger.batch(reports, asks)
            reports = [Report(r["reservation"], "one", rng.randrange(400)) for r in results if r["ok"]] + reports[:1]

    async def client(ledger: Ledger) -> None:
        for _ in range(15):
            turn_clocks()
            result = await ledger.admit(rng.choice(keys), rng.randrange(1500), lease=rng.choice([2_000, 60_000]))
            if not result["ok"]:
                continue
            id = result["reservation"]
            for again in range(rng.choice([0, 1, 1, 2])):
                await ledger.settle(id, rng.randrange(400) + again)

    async def housekeeper(ledger: Ledger) -> None:
        for _ in range(20):
            await ledger.store.run(expire(ledger.store.dialect, ledger.now, 5))
            await ledger.store.run(renew("one", [f"request-{i}" for i in range(40)], ledger.now + 1000))
            await ledger.store.run(
                key_admin.update(ledger.store.dialect, {"key": keys[1], "rpm_limit": 99}, ledger.now)
            )

    jobs: list[Any] = [client(ledger) for ledger in clients] + [several(ledger) for ledger in clients[:6]]
    await asyncio.gather(*jobs, *(housekeeper(clients[i]) for i in range(4)))
    await check_balance(stores[0])
    for ledger in clients:
        ledger.now = began + periods.HOUR
    while (await stores[0].run(expire(stores[0].dialect, clients[0].now)))["expired"]:
        pass
    await check_balance(stores[1])


@pytest.mark.parametrize("end", ["settled", "expired"])
async def test_renewals_and_the_end_of_the_same_requests_do_not_deadlock(stores: list[Store], end: str) -> None:
    one, other = stores
    ledger, dialect, later = Ledger(one), one.dialect, NOON + 200_000
    for _ in range(15):
        made = [ledger.request(None, 1) for _ in range(100)]
        ids = [request.id for request in made]
        await one.run(batch(dialect, ledger.policy, (), made, NOON))
        random.shuffle(ids)
        reports = [Report(id, "one", 1) for id in ids]
        ending = batch(dialect, ledger.policy, reports, (), later) if end == "settled" else expire(dialect, later)
        renewals = [renew("one", ids, NOON + 150_000 + number, dialect) for number in range(3)]
        await asyncio.gather(one.run(ending), *map(other.run, renewals))
    await check_balance(one)


_WAIT_FOR_A_LOCK = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def test_an_end_user_that_is_blocked_while_its_idle_account_is_deleted_stays_blocked(new_database) -> None:
    """Nobody would find its row without its account."""
    url = new_database()
    store = PostgresStore(url)
    await store.open()
    connection = await asyncpg.connect(url)
    try:
        ledger = Ledger(store, Policy(end_user_budget="each"))
        await ledger.budget("each", max_budget=100, budget_duration="1d")
        await ledger.settle((await ledger.admit(None, 1, end_user="7"))["reservation"], 1)
        ledger.now += 30 * periods.DAY
        await ledger.settle((await ledger.admit(None, 1))["reservation"], 1)
        await connection.execute("SELECT pg_advisory_lock(1)")

        async def wait(task: asyncio.Task[Any], count: int) -> None:
            while not task.done() and await connection.fetchval(_WAIT_FOR_A_LOCK) < count:  # noqa: ASYNC110 the server's
                await asyncio.sleep(0.01)

        def held_up(steps: Steps) -> Steps:
            result = yield from steps
            yield "SELECT pg_advisory_xact_lock(1)", ()
            return result

        decision = block(store.dialect, OF_KIND["end_user"], {"user_ids": ["7"]}, True, ledger.now, ledger.policy)
        blocking = asyncio.create_task(store.run(Decision(held_up(decision.steps), transaction=True)))
        await wait(blocking, 1)
        forgetting = asyncio.create_task(store.run(forget_end_users(store.dialect, ledger.policy, ledger.now)))
        await wait(forgetting, 2)
        await connection.execute("SELECT pg_advisory_unlock(1)")
        _, done = await asyncio.gather(blocking, forgetting)
        assert (done["deleted"], done["after"]) == (0, "end_user:7")
        assert (await ledger.admit(None, 1, end_user="7"))["status"] == 403
    finally:
        await connection.close()
        await store.close()
