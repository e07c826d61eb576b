"""The dialect of PostgreSQL: what SQLite does in several statements is one here.

Each begins by locking the accounts in the order of their names, so that no two can wait for each other, and goes on
only if `(SELECT count(*) FROM locked)` says that all conditions hold for the rows as they are once they are locked.
That is a subquery without references, so it is evaluated once and before anything is changed.

Source: https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED
"""

from collections.abc import Sequence
from functools import cache

from .accounts import Guard
from .dialect import (
    ADD_TO_PERIOD,
    ADMIT_SET,
    TAKE_FROM_PERIOD,
    Columns,
    Move,
    Moved,
    admit_parameters,
    held,
    marks,
    move_parameters,
    move_set,
    start_of,
)
from .periods import SKEW

# Any number that nobody else who uses the database would take.
_LOCK = 7_236_254_115

_HOLDS = (
    "(id = ? AND start = ? AND spent + reserved <= ? AND parallel < ? "
    "AND (minute NOT BETWEEN ? AND ? OR (requests < ? AND tokens <= ?)))"
)


class Postgres:
    lock: tuple[str, ...] = (f"SELECT pg_advisory_xact_lock({_LOCK})",)
    for_update = " FOR UPDATE"

    def admit(self, guards: Sequence[Guard], amount: int, tokens: int, minute: int, row: Columns) -> Moved:
        ids = tuple(g.id for g in guards)
        holds = tuple(
            value
            for g in guards
            for value in (g.id, g.start, g.money - amount, g.parallel, minute, minute + SKEW, g.rpm, g.tpm - tokens)
        )
        parameters = (*holds, *admit_parameters(amount, tokens, minute), *ids, *(value for _, value in row))
        rows = yield _admit(len(ids), tuple((name, type(value)) for name, value in row)), parameters
        return rows or None

    def move(self, move: Move) -> Moved:
        ids = tuple(account_id for account_id, _ in move.starts)
        starts = tuple(value for pair in move.starts for value in pair)
        names = tuple(name for name, _ in move.columns)
        changed = (*(value for _, value in move.columns), move.id, move.seen)
        parameters = (*ids, *changed, *move_parameters(move), *ids, *starts, move.spend, *starts)
        rows = yield _move(len(ids), names), parameters
        return rows or None

    def roll(self, account_id: str, seen: int, start: int) -> Moved:
        reserved, whose = held(account_id, start)
        parameters = (account_id, seen, account_id, start, start, *whose, account_id)
        return (yield _ROLL.format(reserved=reserved), parameters)


@cache
def _admit(count: int, columns: tuple[tuple[str, type], ...]) -> str:
    values = ", ".join(f"CAST(? AS {'TEXT' if kind is str else 'BIGINT'})" for _, kind in columns)
    return f"""WITH locked AS (
    SELECT id FROM ledger_accounts WHERE {" OR ".join([_HOLDS] * count)} ORDER BY id FOR UPDATE
), moved AS (
    UPDATE ledger_accounts SET {ADMIT_SET}
    WHERE id IN ({marks(count)}) AND (SELECT count(*) FROM locked) = {count} RETURNING id
)
INSERT INTO ledger_requests ({", ".join(name for name, _ in columns)})
SELECT {values} WHERE (SELECT count(*) FROM moved) = {count} RETURNING id"""


@cache
def _move(count: int, names: tuple[str, ...]) -> str:
    start = start_of(count)
    return f"""WITH locked AS (
    SELECT id FROM ledger_accounts WHERE id IN ({marks(count)}) ORDER BY id FOR UPDATE
), done AS (
    UPDATE ledger_requests SET {", ".join(f"{n} = ?" for n in names)}
    WHERE id = ? AND state = ? AND (SELECT count(*) FROM locked) = {count} RETURNING id
), moved AS (
    UPDATE ledger_accounts SET {move_set(count)}
    WHERE id IN ({marks(count)}) AND (SELECT count(*) FROM done) = 1
    RETURNING id, start, spent, reserved
), late AS (
    INSERT INTO ledger_periods (account, start, spent)
    SELECT id, {start}, CAST(? AS BIGINT) FROM moved WHERE start <> {start} {ADD_TO_PERIOD}
)
SELECT id, start, spent, reserved FROM moved"""


_ROLL = f"""WITH old AS (
    SELECT id, start, spent FROM ledger_accounts WHERE id = ? AND start = ? FOR UPDATE
), back AS (
    {TAKE_FROM_PERIOD.replace("RETURNING", "AND (SELECT count(*) FROM old) = 1 RETURNING")}
), moved AS (
    UPDATE ledger_accounts SET start = ?, spent = COALESCE((SELECT spent FROM back), 0), reserved = ({{reserved}})
    WHERE id = ? AND (SELECT count(*) FROM old) = 1 RETURNING id
)
INSERT INTO ledger_periods (account, start, spent)
SELECT id, start, spent FROM old WHERE (SELECT count(*) FROM moved) = 1 {ADD_TO_PERIOD}"""
