"""The ledger in PostgreSQL, which replicas can share.

A batch of admissions and settlements, like every other decision that asks for it, runs in one transaction. Other
decisions run statement by statement with autocommit, and are written for that.
"""

import asyncio
import random
import time
from functools import lru_cache
from typing import Any

import asyncpg

from worker.core.ledger import schema
from worker.core.ledger.decision import Decision
from worker.core.ledger.dialect import POSTGRES, Dialect

from .store import LedgerUnavailable

# SQLSTATE classes of temporary errors: connection, resources, operator intervention, system error, and transaction
# rollback.
_UNAVAILABLE = ("08", "53", "57", "58", "40")
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
            except _FAILURES as error:
                raise _unavailable(error) from error
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
                    raise _unavailable(error) from error
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
        except _FAILURES as error:
            if not _is_outage(error):
                raise
            raise _unavailable(error) from error
        finally:
            decision.steps.close()


_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


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
    return state is None or state[:2] in _UNAVAILABLE or state == _READ_ONLY


def _unavailable(error: BaseException) -> LedgerUnavailable:
    return LedgerUnavailable(f"The ledger's database cannot be used: {type(error).__name__}: {error}")
