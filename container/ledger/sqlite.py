"""The ledger in a SQLite file.

Statements run on the event loop's thread: a decision takes about 50 µs, and handing it to another thread would cost
more. Only decisions that ask for a transaction (keys) wait for the disk. Other commits are in the operating system's
cache when `run` returns. They survive a crash of this process, and reach the disk with the next checkpoint or key.

Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
"""

import asyncio
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from worker.core.ledger import schema
from worker.core.ledger.decision import Decision, Parameters, Row, run
from worker.core.ledger.dialect import SQLITE, Dialect

from .store import LedgerUnavailable

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
