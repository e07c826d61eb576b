"""Runs the ledger's decisions on a Durable Object's SQLite storage.

Rows cross the boundary as one JSON string: an array of arrays would create a proxy for each row, and JS `null` is not
Python's None. Integers are exact up to 2^53, which the ledger never exceeds.
"""

import re
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from pyodide.ffi import create_proxy

from core.ledger.batch import Memory
from core.ledger.decision import SQLITE, Decision, Dialect, Parameters, Row, run
from core.protocol import from_json

from .javascript import NULL, kept

_ALERTS = "INSERT INTO ledger_alerts"
_VALUES = re.compile(r"VALUES (\([^)]*\))")
_MOST_PARAMETERS = 100
# Statements are made of a few fixed parts; only the admin API has more of them.
_MOST_PREPARED = 256


class _Prepared(NamedTuple):
    """A statement. `execute`: a JS function that has its text, so that this does not cross the boundary each time."""

    execute: Any
    has_rows: bool
    is_alert: bool
    writes: bool


class SqlStore:
    """`storage`: the object's, unwrapped. `alerts`: set when a decision writes an alert; the reader resets it.
    `memory`: for batches. Every statement that writes forgets it, and so does every decision that is rolled back."""

    def __init__(self, storage: Any) -> None:
        self.dialect: Dialect = SQLITE
        self.alerts = False
        self.memory = Memory()
        self._transaction = storage.transactionSync
        self._sql = storage.sql
        self._bind = storage.sql.exec.bind
        self._stringify = kept("JSON.stringify")
        self._prepared: dict[str, _Prepared] = {}
        self._decision: Decision | None = None
        self._result: Any = None
        # A single proxy: creating one per transaction would cost as much as a statement.
        self._work = create_proxy(self._carry_out)

    def run(self, decision: Decision) -> Any:
        """Returns the decision's result. On an exception everything is rolled back. Raises JsException."""
        self._decision = decision
        try:
            self._transaction(self._work)
            return self._result
        except BaseException:
            self.memory.forget()
            raise
        finally:
            self._decision = self._result = None

    def _carry_out(self) -> None:
        assert self._decision is not None, "run() has set it"
        self._result = run(self._decision, self._execute)

    def _execute(self, sql: str, parameters: Parameters) -> list[Row]:
        if isinstance(parameters, list):
            if len(parameters) > 1:
                self._execute_many(sql, parameters)
                return []
            parameters = parameters[0]
        execute, has_rows, is_alert, writes = self._prepared.get(sql) or self._prepare(sql)
        if None in parameters:
            parameters = [NULL if value is None else value for value in parameters]
        cursor = execute(*parameters)
        if writes:
            self.memory.forget()
        if is_alert:
            self.alerts = True
        return from_json(self._stringify(cursor.raw().toArray())) if has_rows else []

    def _prepare(self, sql: str) -> _Prepared:
        if len(self._prepared) >= _MOST_PREPARED:
            self._prepared.clear()
        reads = sql.startswith("SELECT")
        found = self._prepared[sql] = _Prepared(
            self._bind(self._sql, sql), reads or "RETURNING" in sql, sql.startswith(_ALERTS), not reads
        )
        return found

    def _execute_many(self, sql: str, parameters: list[tuple[Any, ...]]) -> None:
        """Inserts as many rows per statement as its parameters allow, because a statement costs more than a row."""
        at_once = _MOST_PARAMETERS // len(parameters[0]) if sql.startswith("INSERT") else 1
        for first in range(0, len(parameters), at_once):
            some = parameters[first : first + at_once]
            self._execute(_of_rows(sql, len(some)) if len(some) > 1 else sql, tuple(chain.from_iterable(some)))


@lru_cache(maxsize=512)
def _of_rows(sql: str, count: int) -> str:
    """Returns the statement that inserts this many rows."""
    return _VALUES.sub(lambda found: "VALUES " + ", ".join([found[1]] * count), sql)
