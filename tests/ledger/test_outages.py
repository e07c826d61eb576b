"""A failing database: requests are refused, service recovers by itself, and no acknowledged write is lost."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from container.stores import LedgerUnavailable, PostgresStore, SqliteStore
from tests.ledger.postgres_server import PostgresServer
from tests.ledger.support import Ledger, check_balance, query


async def test_a_concurrent_writer_is_waited_for(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    ledger = Ledger(store)
    key = await ledger.key()
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(ledger.admit(key))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    other.execute("COMMIT")
    assert (await waiting)["ok"]
    other.close()
    await store.close()


async def test_a_writer_that_never_ends_times_out_and_leaves_no_trace(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db", patience=0.05)
    await store.open()
    ledger = Ledger(store)
    key = await ledger.key()
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked"):
        await ledger.admit(key)
    other.execute("ROLLBACK")
    other.close()
    assert (await ledger.admit(key))["ok"]
    await store.close()


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """SQLite's page limit gives the same error as a full disk."""
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    ledger = Ledger(store)
    key = await ledger.key(max_budget=1)
    assert store._connection is not None
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    admitted = 0

    async def until_it_is_full() -> None:
        nonlocal admitted
        while admitted < 10_000:
            admitted += (await ledger.admit(key, 1))["ok"]

    with pytest.raises(LedgerUnavailable, match="full"):
        await until_it_is_full()
    # The limit belonged to the connection, which was closed after the error, so there is space again.
    assert (await ledger.admit(key, 1))["ok"]
    assert await query(store, "SELECT reserved FROM ledger_accounts WHERE id = 'global'") == [(admitted + 1,)]
    await check_balance(store)
    await store.close()


async def test_a_directory_that_disappears_and_comes_back(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "volume" / "ledger.db")
    with pytest.raises(LedgerUnavailable, match="unable to open"):
        await store.open()
    (tmp_path / "volume").mkdir()
    assert await Ledger(store).key()
    await store.close()


async def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    ledger = Ledger(store)
    key = await ledger.key()
    assert store._connection is not None
    store._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(LedgerUnavailable, match="readonly"):
        await ledger.admit(key)
    assert (await ledger.admit(key))["ok"]
    await store.close()


async def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database " * 1000)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        await SqliteStore(tmp_path / "ledger.db").open()


_KILLED = """
import asyncio, os, signal, sys
from container.stores import SqliteStore
from tests.ledger.support import Ledger

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    ledger = Ledger(store)
    key = await ledger.key(key="sk-survivor", max_budget=1)
    for index in range(10_000):
        id = (await ledger.admit(key, 1000, id=f"r{index}"))["reservation"]
        if index % 2:
            await ledger.settle(id, 400)
        print(index, flush=True)

asyncio.run(main())
"""


def _killed_in_mid_load(path: Path) -> int:
    """The last request that the killed process acknowledged."""
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        while int(output.readline()) < 200:
            pass
        os.kill(process.pid, signal.SIGKILL)
        last = [200, *(int(line) for line in output.read().splitlines() if line.isdigit())][-1]
    process.wait(10)
    return last


async def test_kill_minus_nine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    last = await asyncio.to_thread(_killed_in_mid_load, tmp_path / "ledger.db")
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    lines = {row[0]: row[1] for row in await query(store, "SELECT id, state FROM ledger_requests")}
    for index in range(last + 1):
        assert lines[f"r{index}"] == (2 if index % 2 else 0)
    await check_balance(store)
    await store.close()


async def test_postgres_that_goes_away_and_comes_back() -> None:
    with PostgresServer() as server:
        store = PostgresStore(server.new_database(), patience=5)
        await store.open()
        ledger = Ledger(store)
        key = await ledger.key(max_budget=1)
        made = [(await ledger.admit(key, 1000))["reservation"] for _ in range(20)]
        for id in made[:10]:
            assert await ledger.settle(id, 300) == "settled"
        server.stop()
        for _ in range(3):
            with pytest.raises(LedgerUnavailable):
                await ledger.admit(key, 1000)
        server.start()
        assert (await ledger.admit(key, 1000))["ok"]
        for id in made:
            await ledger.settle(id, 300)
        lines = await query(store, "SELECT COUNT(*), SUM(charged) FROM ledger_requests WHERE state = 2")
        assert (lines[0][0], int(lines[0][1])) == (20, 6000)
        await check_balance(store)
        await store.close()


async def test_postgres_that_is_not_up_yet(free_port: int) -> None:
    store = PostgresStore(f"postgresql://postgres@127.0.0.1:{free_port}/ledger", patience=2)
    with pytest.raises(LedgerUnavailable):
        await store.open()
    with pytest.raises(LedgerUnavailable):
        await Ledger(store).admit(None)


async def test_connections_cut_under_load(new_database) -> None:
    """Refused requests may have been counted; admitted ones must have been."""
    url = new_database()
    store, axe = PostgresStore(url), PostgresStore(url)
    await store.open()
    await axe.open()
    ledger = Ledger(store)
    key = await ledger.key(max_budget=100e-6)
    acknowledged: list[str] = []

    async def client(number: int) -> None:
        for index in range(20):
            try:
                result = await ledger.admit(key, 1000, id=f"{number}-{index}")
            except LedgerUnavailable:
                continue
            if result["ok"]:
                acknowledged.append(result["reservation"])

    async def cut() -> None:
        for _ in range(5):
            await asyncio.sleep(0.02)
            await query(
                axe,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )

    await asyncio.gather(cut(), *(client(number) for number in range(10)))
    found = {row[0] for row in await query(store, "SELECT id FROM ledger_requests")}
    assert set(acknowledged) <= found
    assert len(found) <= 100
    await check_balance(store)
    await store.close()
    await axe.close()
