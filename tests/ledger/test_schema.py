"""Migrations: every older ledger is upgraded with its data; a newer one is refused unchanged."""

import asyncio
import os
import shutil
import stat
from pathlib import Path

import asyncpg
import pytest

from container.stores import LedgerUnavailable, PostgresStore, SqliteStore, Store
from tests.ledger.postgres_server import NewDatabase, run_tool
from tests.ledger.support import Ledger, check_balance, query
from worker.core.ledger import alerts, schema
from worker.core.ledger.decision import Decision, Steps
from worker.core.ledger.keys import hash_secret
from worker.core.ledger.settle import OPEN


@pytest.fixture(params=["file", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that has never been opened."""
    if request.param == "postgres":
        return PostgresStore(request.getfixturevalue("new_database")())
    return SqliteStore(tmp_path / "ledger.db")


def again(store: Store) -> Store:
    if isinstance(store, SqliteStore):
        return SqliteStore(store._path)
    assert isinstance(store, PostgresStore)
    return PostgresStore(store._url)


@pytest.mark.parametrize("version", range(1, schema.VERSION))
async def test_every_older_version_is_upgraded(empty: Store, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema.migrate, "__defaults__", (version,))
    await empty.open()
    assert await query(empty, "SELECT version FROM ledger_schema") == [(version,)]
    await _write_old_rows(empty)
    await empty.close()
    monkeypatch.undo()

    store = again(empty)
    await store.open()
    assert await query(store, "SELECT version FROM ledger_schema") == [(schema.VERSION,)]
    await check_balance(store)
    ledger = Ledger(store)
    info = await ledger.info("sk-old-key")
    assert (info["key_alias"], info["spend"], info["reserved"]) == ("old", 70e-9, 30e-9)
    assert info["tags"] == []
    assert await ledger.settle("running", 20) == "settled"
    assert (await ledger.admit("sk-old-key", 11))["code"] == "budget_exceeded"
    assert [a["kind"] for a in await store.run(alerts.pending(ledger.now))] == ["budget_exhausted"]
    await check_balance(store)
    await store.run(_old_reservation("of a process that still runs", 5))
    assert await ledger.settle("of a process that still runs", 5) == "settled"
    await ledger.owner("team:blue", max_budget=10)
    new = await ledger.key(team_id="blue")
    assert [(await ledger.admit(new, 10))["ok"] for _ in range(2)] == [True, False]
    await check_balance(store)
    await store.close()


@pytest.mark.parametrize("empty", ["file", "postgres"], indirect=True)
async def test_a_back_up_of_an_older_version_is_restored(
    empty: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a ledger that this version has used."""
    monkeypatch.setattr(schema.migrate, "__defaults__", (6,))
    await empty.open()
    await _write_old_rows(empty)
    await empty.close()
    monkeypatch.undo()
    backup = tmp_path / "backup"
    _save(empty, backup)
    store = again(empty)
    await store.open()
    ledger = Ledger(store)
    await ledger.owner("team:blue", max_budget=10)
    assert (await ledger.admit(await ledger.key(team_id="blue"), 10))["ok"]
    await store.close()
    _restore(store, backup)
    store = again(empty)
    await store.open()
    ledger = Ledger(store)
    assert await query(store, "SELECT version FROM ledger_schema") == [(schema.VERSION,)]
    assert await query(store, "SELECT account FROM ledger_owners") == []
    assert (await ledger.info("sk-old-key"))["spend"] == 70e-9
    assert await ledger.settle("running", 20) == "settled"
    await check_balance(store)
    await store.close()


def _save(store: Store, backup: Path) -> None:
    if isinstance(store, SqliteStore):
        shutil.copy(store._path, backup)
        return
    url, name = _place(store)
    backup.write_bytes(run_tool("pg_dump", f"--schema={name}", url))


def _restore(store: Store, backup: Path) -> None:
    if isinstance(store, SqliteStore):
        shutil.copy(backup, store._path)
        return
    url, name = _place(store)
    run_tool("psql", "-q", "-v", "ON_ERROR_STOP=1", "-c", f"DROP SCHEMA {name} CASCADE", "-f", str(backup), url)


def _place(store: Store) -> tuple[str, str]:
    """The database's URL, and the schema in it."""
    assert isinstance(store, PostgresStore)
    url, _, name = store._url.partition("options=-csearch_path%3D")
    return url[:-1], name


async def test_a_migration_gives_way_to_a_process_that_has_locked_tables(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise both wait for each other, and PostgreSQL ends one of the two."""
    url = new_database()
    monkeypatch.setattr(schema.migrate, "__defaults__", (6,))
    old = PostgresStore(url)
    await old.open()
    await _write_old_rows(old)
    await old.close()
    monkeypatch.undo()
    running = await asyncpg.connect(url)
    other = await asyncpg.connect(url)
    store = PostgresStore(url)
    try:
        transaction = running.transaction()
        await transaction.start()
        await running.fetch("SELECT id FROM ledger_requests")
        opening = asyncio.create_task(store.open())
        waiting = "SELECT relation::regclass::text FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        while not await other.fetch(waiting):  # noqa: ASYNC110 the server has no event for it
            await asyncio.sleep(0.01)
        assert len(await running.fetch("SELECT id FROM ledger_keys")) == 1
        await transaction.commit()
        await opening
        assert await query(store, "SELECT version FROM ledger_schema") == [(schema.VERSION,)]
        await check_balance(store)
    finally:
        await running.close()
        await other.close()
        await store.close()


async def test_a_migration_that_gets_no_lock_is_tried_again_later(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setattr(schema.migrate, "__defaults__", (6,))
    old = PostgresStore(url)
    await old.open()
    await old.close()
    monkeypatch.undo()
    running = await asyncpg.connect(url)
    store = PostgresStore(url, patience=0.6)
    try:
        async with running.transaction():
            await running.fetch("SELECT id FROM ledger_requests")
            with pytest.raises(LedgerUnavailable, match="LockNotAvailable"):
                await store.open()
        await store.open()
        assert await query(store, "SELECT version FROM ledger_schema") == [(schema.VERSION,)]
    finally:
        await running.close()
        await store.close()


async def _write_old_rows(store: Store) -> None:
    """Rows as version 1 wrote them: a key, a settled request and a running one."""
    key = (
        "INSERT INTO ledger_keys (id, alias, user_id, hint, models, metadata, max_budget, blocked, created, updated) "
        "VALUES ('k', 'old', '', 'sk-...-key', '[]', '{}', 100, 0, 1, 1)"
    )
    request = _OLD_REQUEST

    def steps() -> Steps:
        yield key, ()
        yield "INSERT INTO ledger_secrets (hash, key_id) VALUES (?, 'k')", (hash_secret("sk-old-key"),)
        yield "INSERT INTO ledger_accounts (id, spent, reserved, total, parallel) VALUES ('key:k', 70, 30, 70, 1)", ()
        yield "UPDATE ledger_accounts SET spent = 70, reserved = 30, total = 70, parallel = 1 WHERE id = 'global'", ()
        yield request, ("settled", 2, 80, 70)
        yield request, ("running", OPEN, 30, 0)

    await store.run(Decision(steps(), transaction=True))


_OLD_REQUEST = (
    "INSERT INTO ledger_requests (id, state, instance, key_id, key_alias, user_id, model, endpoint, amount, "
    "charged, tokens, minute, global_start, key_start, user_start, created, expires, answered_by, deployment, "
    "prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, estimated) "
    "VALUES (?, ?, 'one', 'k', 'old', '', 'm', 'e', ?, ?, 0, 0, 0, 0, 0, 1, 2, '', '', 0, 0, 0, 0, 0)"
)


def _old_reservation(id: str, amount: int) -> Decision:
    """As an older version reserves, which does not know the newer columns."""

    def steps() -> Steps:
        yield _OLD_REQUEST, (id, OPEN, amount, 0)
        for account in ("global", "key:k"):
            sql = "UPDATE ledger_accounts SET reserved = reserved + ?, parallel = parallel + 1 WHERE id = ?"
            yield sql, (amount, account)

    return Decision(steps(), transaction=True)


async def test_opening_again_changes_nothing(empty: Store) -> None:
    await empty.open()
    key = await Ledger(empty).key()
    await empty.close()
    store = again(empty)
    await store.open()
    assert (await Ledger(store).admit(key))["ok"]
    await store.close()


async def test_a_newer_ledger_is_left_unchanged(empty: Store) -> None:
    await empty.open()
    await query(empty, "UPDATE ledger_schema SET version = ?", schema.VERSION + 1)
    await empty.close()
    store = again(empty)
    with pytest.raises(LedgerUnavailable, match="newer version"):
        await store.open()
    await store.close()


def test_the_key_columns_of_released_versions_do_not_change() -> None:
    """They are generated from the table of fields, which does change."""
    of_keys = [[sql for sql in statements if "TABLE ledger_keys" in sql] for statements in schema.migrations()[:4]]
    assert of_keys == [
        [
            "CREATE TABLE ledger_keys (id TEXT PRIMARY KEY, alias TEXT, user_id TEXT NOT NULL, hint TEXT NOT NULL, "
            "models TEXT NOT NULL, metadata TEXT NOT NULL, max_budget BIGINT, soft_budget BIGINT, "
            "budget_duration TEXT, rpm_limit BIGINT, tpm_limit BIGINT, max_parallel_requests BIGINT, "
            "blocked BIGINT NOT NULL, expires BIGINT, created BIGINT NOT NULL, updated BIGINT NOT NULL)"
        ],
        [],
        ["ALTER TABLE ledger_keys ADD COLUMN declared BIGINT NOT NULL DEFAULT 0"],
        [],
    ]


async def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Also the files that SQLite makes beside it, whatever the umask is."""
    before = os.umask(0o022)
    try:
        store = SqliteStore(tmp_path / "ledger.db")
        await Ledger(store).key()
        found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in os.scandir(tmp_path)}
        await store.close()
    finally:
        os.umask(before)
    assert found == {"ledger.db": 0o600, "ledger.db-shm": 0o600, "ledger.db-wal": 0o600}
