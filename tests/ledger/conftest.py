"""The four stores: SQLite in memory, SQLite in a file, PostgreSQL, a Durable Object."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from container.stores import PostgresStore, SqliteStore, Store
from tests import canaries
from tests.ledger.durable_store import DurableObjects, DurableStore
from tests.ledger.postgres_server import NewDatabase


@pytest.fixture(scope="session")
def durable_objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DurableObjects]:
    """workerd, with as many empty ledgers as a test needs."""
    objects = DurableObjects(tmp_path_factory.mktemp("durable"))
    objects.start()
    yield objects
    objects.stop()


class EmptyLedgers:
    """PostgreSQL schemas with the tables of an empty ledger. Making these tables takes longer than most tests, so a
    schema is emptied after a test and serves the next one."""

    def __init__(self, new_database: NewDatabase) -> None:
        self._new_database = new_database
        self._free: list[str] = []
        self._tables: Any = None
        self._rows: dict[str, list[Any]] = {}  # of an empty ledger, by table

    async def take(self) -> str:
        """The URL of one."""
        if self._free:
            return self._free.pop()
        url = self._new_database()
        store = PostgresStore(url)
        await store.open()
        await store.close()
        if self._tables is None:
            connection = await asyncpg.connect(url)
            self._tables = await connection.fetch(_TABLES)
            self._rows = {name: rows for name in self._names if (rows := await connection.fetch(f"TABLE {name}"))}
            await connection.close()
        return url

    async def give_back(self, url: str, store: PostgresStore) -> None:
        """Raises AssertionError if a row holds a secret. A schema with other tables than at first is
        left alone."""
        if store._pool is None:  # closed by the test
            await store.open()
        assert store._pool is not None
        async with store._pool.acquire() as connection:  # another one would fill its caches again
            if await connection.fetch(_TABLES) != self._tables:
                return
            async with connection.transaction():
                emptied = [f"{name}_ AS (DELETE FROM {name} RETURNING {name}::text AS line)" for name in self._names]
                lines = " UNION ALL ".join(f"SELECT line FROM {name}_" for name in self._names)
                found = await connection.fetch(f"WITH {', '.join(emptied)} {lines}")
                for name, rows in self._rows.items():
                    places = ", ".join(f"${number}" for number in range(1, len(rows[0]) + 1))
                    await connection.executemany(f"INSERT INTO {name} VALUES ({places})", rows)
        canaries.refuse_leaks("PostgreSQL", "\n".join(row["line"] for row in found).encode(), canaries.planted)
        self._free.append(url)

    @property
    def _names(self) -> list[str]:
        return [row["relname"] for row in self._tables if row["relkind"] == b"r"]


_TABLES = """SELECT relname, relkind, relnatts, relchecks FROM pg_class
WHERE relnamespace = current_schema()::regnamespace ORDER BY relname"""


@pytest.fixture(scope="session")
def empty_ledgers(new_database: NewDatabase) -> EmptyLedgers:
    return EmptyLedgers(new_database)


@pytest.fixture(params=["memory", "file", "postgres", "durable object"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty ledger; the test runs once per store."""
    opened: Store
    if request.param == "postgres":
        ledgers: EmptyLedgers = request.getfixturevalue("empty_ledgers")
        url = await ledgers.take()
        opened = PostgresStore(url)
        await opened.open()
        yield opened
        try:
            await ledgers.give_back(url, opened)
        finally:
            await opened.close()
        return
    if request.param == "durable object":
        objects = request.getfixturevalue("durable_objects")
        opened = DurableStore(objects.edge.url, objects.new_name())
    else:
        opened = SqliteStore(":memory:" if request.param == "memory" else tmp_path / "ledger.db")
    await opened.open()
    yield opened
    await opened.close()
