"""The ledger's stores: a SQLite file, or PostgreSQL, which replicas can share.

store = SqliteStore(path)                  # or PostgresStore(url)
await store.open()
result = await store.run(decision)         # LedgerUnavailable if the database cannot be used
"""

import asyncio
import os
import random
import sqlite3
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from worker.core.ledger import schema
from worker.core.ledger.decision import POSTGRES, SQLITE, Decision, Dialect, Parameters, Row, run


class LedgerUnavailable(Exception):
    """The database is temporarily unavailable: respond with 503 and refuse to spend. It recovers without intervention.

    The operation may or may not have taken effect, so a reservation should be released and a report repeated.
    """


class Store(Protocol):
    """Runs decisions. Every method may raise LedgerUnavailable."""

    dialect: Dialect

    async def open(self) -> None:
        """Connect and migrate the schema. Raises LedgerUnavailable. May be called again."""
        ...

    async def run(self, decision: Decision) -> Any:
        """Return the decision's result."""
        ...

    async def close(self) -> None: ...


# SQLite. Statements run on the event loop's thread: a decision takes about 50 µs, and handing it to another thread
# would cost more. Only decisions that ask for a transaction (keys) wait for the disk. Other commits are in the
# operating system's cache when `run` returns. They survive a crash of this process, and reach the disk with the next
# checkpoint or key. https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous

# Seconds between attempts while another process is writing.
_BUSY_WAIT = 0.005
_CACHED_STATEMENTS = 256
_TRANSIENT = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteStore:
    """`path`: the file, or `:memory:`. `patience`: seconds to wait while another process is writing."""

    def __init__(self, path: str | Path, *, patience: float = 5.0) -> None:
        self.dialect: Dialect = SQLITE
        self._path = str(path)
        self._patience = patience
        self._connection: sqlite3.Connection | None = None
        self._full_sync = False

    async def open(self) -> None:
        await self._patiently(self._connected)

    async def run(self, decision: Decision) -> Any:
        await self._patiently(self._begin, decision.transaction)
        connection = self._connection
        assert connection is not None
        # There is no await from here on, so no other decision can interleave.
        try:
            result = run(decision, _executor(connection))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(connection)
            raise self._unavailable(error) from error
        except BaseException:
            self._roll_back(connection)
            raise
        return result

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    async def _patiently(self, step: Any, *arguments: Any) -> None:
        """Run a step, and retry it while another process is writing."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return step(*arguments)
            except sqlite3.Error as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise self._unavailable(error) from error
            await asyncio.sleep(_BUSY_WAIT)

    def _begin(self, durable: bool) -> None:
        connection = self._connected()
        if durable != self._full_sync:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._full_sync = durable
        connection.execute("BEGIN IMMEDIATE")

    def _connected(self) -> sqlite3.Connection:
        """Return the connection, opened again if it was closed, with the current schema."""
        if self._connection is None:
            if self._path != ":memory:":
                with suppress(OSError):  # what is wrong, SQLite says
                    # It holds keys' hashes and spending. SQLite gives the files beside it the same mode.
                    os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, cached_statements=_CACHED_STATEMENTS
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("BEGIN IMMEDIATE")
                result = run(schema.migrate(self.dialect), _executor(connection))
                if not result["ok"]:
                    raise LedgerUnavailable(result["message"])
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            self._connection, self._full_sync = connection, False
        return self._connection

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _unavailable(self, error: sqlite3.Error) -> LedgerUnavailable:
        """Close the connection, so that the next one may find the disk repaired. An in-memory database is kept."""
        if self._connection is not None and self._path != ":memory:" and not _is_busy(error):
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()
        return LedgerUnavailable(f"The ledger's file {self._path} cannot be used: {error}")


def _executor(connection: sqlite3.Connection) -> Any:
    execute, many = connection.execute, connection.executemany

    def answer(sql: str, parameters: Parameters) -> list[Row]:
        if type(parameters) is list:
            many(sql, parameters)
            return []
        return execute(sql, parameters).fetchall()

    return answer


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _TRANSIENT


# PostgreSQL. A batch of admissions and settlements, like every other decision that asks for it, runs in one
# transaction. Other decisions run statement by statement with autocommit, and are written for that.

# SQLSTATE classes of temporary errors: connection, resources, operator intervention, system error, and transaction
# rollback.
_OUTAGES = ("08", "53", "57", "58", "40")
_READ_ONLY = "25006"
# Seconds between attempts to lock the tables for a migration.
_LOCK_WAIT = 0.05, 0.2


class PostgresStore:
    """`url`: as in DATABASE_URL. `connections`: maximum. `patience`: timeout in seconds for statements and
    connections."""

    def __init__(self, url: str, *, connections: int = 8, patience: float = 10.0) -> None:
        self.dialect: Dialect = POSTGRES
        self._url = url
        self._connections = connections
        self._patience = patience
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        async with self._opening:
            if self._pool is not None:
                return
            try:
                pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=self._connections,
                    timeout=self._patience,
                    command_timeout=self._patience,
                    server_settings={"application_name": "litellm-router"},
                    reset=_as_it_is,
                )
            except _POSTGRES_FAILURES as error:
                raise _postgres_unavailable(error) from error
            try:
                result = await self._migrated(pool)
            except BaseException:
                pool.terminate()
                raise
            if not result["ok"]:
                pool.terminate()
                raise LedgerUnavailable(result["message"])
            self._pool = pool

    async def _migrated(self, pool: asyncpg.Pool) -> Any:
        """Migrate the schema, while other processes may be using it."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return await self._run(pool, schema.migrate(self.dialect))
            except asyncpg.LockNotAvailableError as error:
                if time.monotonic() > deadline:
                    raise _postgres_unavailable(error) from error
            await asyncio.sleep(random.uniform(*_LOCK_WAIT))

    async def run(self, decision: Decision) -> Any:
        if self._pool is None:
            await self.open()
        assert self._pool is not None
        return await self._run(self._pool, decision)

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    async def _run(self, pool: asyncpg.Pool, decision: Decision) -> Any:
        try:
            async with pool.acquire(timeout=self._patience) as connection:
                try:
                    if not (decision.transaction or decision.whole):
                        return await _steps(connection, decision)
                    async with connection.transaction():
                        return await _steps(connection, decision)
                except asyncpg.PostgresError:
                    raise
                except BaseException:
                    # The connection may be in the middle of anything, so it is not reused.
                    connection.terminate()
                    raise
        except _POSTGRES_FAILURES as error:
            if not _is_outage(error):
                raise
            raise _postgres_unavailable(error) from error
        finally:
            decision.steps.close()


_POSTGRES_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


async def _as_it_is(connection: Any) -> None:
    """Skip the reset of pooled connections: the ledger does not change the session. Saves a round trip."""


async def _steps(connection: Any, decision: Decision) -> Any:
    steps = decision.steps
    try:
        sql, parameters = next(steps)
        while True:
            if type(parameters) is list:
                await connection.executemany(numbered(sql), parameters)
                rows = []
            else:
                rows = await connection.fetch(numbered(sql), *parameters)
            sql, parameters = steps.send(rows)
    except StopIteration as end:
        return end.value


@lru_cache(maxsize=1024)
def numbered(sql: str) -> str:
    """Replace `?` with `$1`, `$2`, …. The ledger's statements have no `?` in string literals."""
    first, *rest = sql.split("?")
    return first + "".join(f"${index}{part}" for index, part in enumerate(rest, 1))


def _is_outage(error: BaseException) -> bool:
    """Whether the database is at fault, rather than a statement."""
    if isinstance(error, ValueError):  # how asyncpg reports a parameter of the wrong type
        return False
    state = getattr(error, "sqlstate", None)
    return state is None or state[:2] in _OUTAGES or state == _READ_ONLY


def _postgres_unavailable(error: BaseException) -> LedgerUnavailable:
    return LedgerUnavailable(f"The ledger's database cannot be used: {type(error).__name__}: {error}")
