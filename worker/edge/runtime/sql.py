"""Runs the ledger's decisions on a Durable Object's SQLite storage.

Rows cross the boundary as one JSON string: an array of arrays would create a proxy for each row, and JS `null` is not
Python's None. Integers are exact up to 2^53, which the ledger never exceeds.
"""

import json
import re
from functools import lru_cache
from typing import Any

from pyodide.ffi import create_proxy

from core.ledger.decision import SQLITE, Decision, Dialect, Parameters, Row, run

from .javascript import NULL, js

_ALERTS = "INSERT INTO ledger_alerts"
_VALUES = re.compile(r"VALUES (\([^)]*\))")
_MOST_PARAMETERS = 100


class SqlStore:
    """`storage`: the object's, unwrapped. `alerts`: set when a decision writes an alert; the reader resets it."""

    def __init__(self, storage: Any) -> None:
        self.dialect: Dialect = SQLITE
        self.alerts = False
        self._transaction = storage.transactionSync
        self._exec = storage.sql.exec
        self._stringify = js.JSON.stringify
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
        finally:
            self._decision = self._result = None

    def _carry_out(self) -> None:
        assert self._decision is not None, "run() has set it"
        self._result = run(self._decision, self._execute)

    def _execute(self, sql: str, parameters: Parameters) -> list[Row]:
        if isinstance(parameters, list):
            self._execute_many(sql, parameters)
            return []
        has_rows, is_alert = _kind(sql)
        if None in parameters:
            parameters = tuple(NULL if value is None else value for value in parameters)
        cursor = self._exec(sql, *parameters)
        self.alerts = self.alerts or is_alert
        return json.loads(self._stringify(cursor.raw().toArray())) if has_rows else []

    def _execute_many(self, sql: str, parameters: list[tuple[Any, ...]]) -> None:
        """Inserts as many rows per statement as its parameters allow, because a statement costs more than a row."""
        at_once = _MOST_PARAMETERS // len(parameters[0]) if sql.startswith("INSERT") else 1
        for first in range(0, len(parameters), at_once):
            some = parameters[first : first + at_once]
            if len(some) == 1:
                self._execute(sql, some[0])
            else:
                self._execute(_of_rows(sql, len(some)), tuple(value for row in some for value in row))


@lru_cache(maxsize=512)
def _of_rows(sql: str, count: int) -> str:
    """Returns the statement that inserts this many rows."""
    return _VALUES.sub(lambda found: "VALUES " + ", ".join([found[1]] * count), sql)


@lru_cache(maxsize=512)
def _kind(sql: str) -> tuple[bool, bool]:
    """Returns whether a statement returns rows, and whether it writes an alert."""
    return sql.startswith("SELECT") or "RETURNING" in sql, sql.startswith(_ALERTS)
