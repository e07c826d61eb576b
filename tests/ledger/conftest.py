"""The four stores: SQLite in memory, SQLite in a file, PostgreSQL, a Durable Object."""

import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from container.stores import PostgresStore, SqliteStore, Store
from tests.ledger.durable_store import DurableObjects, DurableStore
from tests.ledger.postgres_server import PostgresServer

NewDatabase = Callable[[], str]


@pytest.fixture(scope="session")
def new_database() -> Iterator[NewDatabase]:
    """`new_database()` returns the URL of an empty PostgreSQL schema, on DATABASE_URL's server if that is set."""
    given = os.environ.get("DATABASE_URL")
    if not given:
        with PostgresServer() as server:
            yield server.new_database
        return
    made: list[str] = []

    def new() -> str:
        name = f"ledger_{uuid.uuid4().hex}"
        subprocess.run(["psql", given, "-c", f"CREATE SCHEMA {name}"], check=True, capture_output=True)
        made.append(name)
        return f"{given}{'&' if '?' in given else '?'}options=-csearch_path%3D{name}"

    yield new
    for name in made:
        command = ["psql", given, "-c", f"DROP SCHEMA {name} CASCADE"]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="session")
def durable_objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DurableObjects]:
    """workerd, with as many empty ledgers as a test needs."""
    objects = DurableObjects(tmp_path_factory.mktemp("durable"))
    objects.start()
    yield objects
    objects.stop()


@pytest.fixture(params=["memory", "file", "postgres", "durable object"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty ledger; the test runs once per store."""
    opened: Store
    if request.param == "postgres":
        opened = PostgresStore(request.getfixturevalue("new_database")())
    elif request.param == "durable object":
        objects = request.getfixturevalue("durable_objects")
        opened = DurableStore(objects.edge.url, objects.new_name())
    else:
        opened = SqliteStore(":memory:" if request.param == "memory" else tmp_path / "ledger.db")
    await opened.open()
    yield opened
    await opened.close()
