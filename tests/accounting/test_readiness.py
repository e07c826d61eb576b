"""`/health/readiness` reports whether the ledger can take the next request; `/health/liveliness` ignores the ledger."""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from container.accounting import ledger as own_ledger
from container.accounting.accounting import NoAccounting
from container.accounting.ledger import LedgerCheck
from container.handlers.public import Health
from container.stores import LedgerUnavailable, SqliteStore
from tests.accounting.conftest import Start
from tests.ledger.postgres_server import PostgresServer
from tests.money import wait_for


class Ledger:
    """A store that fails or hangs on demand and counts its calls."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False
        self.hangs = False
        self.dialect: Any = None

    async def run(self, decision: Any) -> Any:
        decision.steps.close()
        self.asked += 1
        await asyncio.sleep(60 if self.hangs else 0)
        if self.down:
            raise LedgerUnavailable("it is away")

    async def open(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def check(ledger: Ledger, now: list[float]) -> LedgerCheck:
    return LedgerCheck(ledger, lambda: now[0])


async def test_concurrent_probes_share_one_ledger_check(check: LedgerCheck, ledger: Ledger, now: list[float]):
    assert await asyncio.gather(*(check.usable() for _ in range(50))) == [True] * 50
    assert await check.usable()
    assert ledger.asked == 1
    now[0] += own_ledger.FRESH_SECONDS
    assert await check.usable()
    assert ledger.asked == 2


async def test_a_failing_or_hanging_ledger_is_not_ready_until_it_recovers(
    check: LedgerCheck, ledger: Ledger, now: list[float], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(own_ledger, "PATIENCE_SECONDS", 0.01)
    ledger.down = True
    assert not await check.usable()
    now[0] += 10
    ledger.down, ledger.hangs = False, True
    assert not await check.usable()
    now[0] += 10
    ledger.hangs = False
    assert await check.usable()


async def test_a_cancelled_probe_does_not_cancel_the_check_of_others(check: LedgerCheck, ledger: Ledger):
    first, second = asyncio.ensure_future(check.usable()), asyncio.ensure_future(check.usable())
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert ledger.asked == 1


async def test_a_file_that_cannot_be_written_is_not_ready(tmp_path: Path):
    store = SqliteStore(tmp_path / "kept.db")
    await store.open()
    assert await LedgerCheck(store).usable()
    assert store._connection is not None
    store._connection.execute("PRAGMA query_only = ON")
    assert not await LedgerCheck(store).usable()
    await store.close()


def states(gateway: Any) -> tuple[int, int]:
    return gateway.http.get("/health/readiness").status_code, gateway.http.get("/health/liveliness").status_code


def test_a_full_disk_is_not_ready(start: Start, tmp_path: Path):
    gateway = start(environment={"LEDGER_PATH": str(tmp_path / "kept.db")})
    assert states(gateway) == (200, 200)
    _, hard = resource.prlimit(gateway.proxy.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.proxy.pid, resource.RLIMIT_FSIZE, (1, hard))
    wait_for(lambda: states(gateway), lambda found: found == (503, 200))
    refused = gateway.http.get("/health/readiness")
    assert refused.json()["status"] == "unhealthy"
    assert "kept.db" not in refused.text, "it is for everybody to see"
    assert int(refused.headers["retry-after"]) > 0
    resource.prlimit(gateway.proxy.pid, resource.RLIMIT_FSIZE, (hard, hard))
    wait_for(lambda: states(gateway), lambda found: found == (200, 200))


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresServer]:
    server = PostgresServer()
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        server.remove()


async def test_postgres_that_goes_away_and_comes_back(start: Callable[..., Any], postgres: PostgresServer):
    gateway = await asyncio.to_thread(start, environment={"DATABASE_URL": postgres.new_database()})
    assert await asyncio.to_thread(states, gateway) == (200, 200)
    await asyncio.to_thread(postgres.kill)
    await asyncio.to_thread(wait_for, lambda: states(gateway), lambda found: found == (503, 200), 20)
    assert gateway.ask(max_tokens=5).status_code == 503
    await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(wait_for, lambda: states(gateway), lambda found: found == (200, 200), 20)


async def test_while_every_request_is_refused_it_is_not_ready():
    answers: list[tuple[int, bytes]] = []
    respond = lambda status, data, headers=(): answers.append((status, data))  # noqa: E731 a stand-in
    context: Any = SimpleNamespace(endpoint="readiness", respond=respond)
    engine: Any = SimpleNamespace(state="off")
    for refusal in ("no master key", None):
        await Health([], engine, NoAccounting(), refusal)(context)
    assert [status for status, _ in answers] == [503, 200]
    assert b"no master key" in answers[0][1]
