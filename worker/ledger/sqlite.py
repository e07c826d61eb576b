"""The dialect of SQLite: plain statements, as nobody else writes while a decision runs."""

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
)


class Sqlite:
    lock: tuple[str, ...] = ()
    for_update = ""

    def admit(self, guards: Sequence[Guard], amount: int, tokens: int, minute: int, row: Columns) -> Moved:
        ids = tuple(g.id for g in guards)
        yield _admit(len(ids)), (*admit_parameters(amount, tokens, minute), *ids)
        yield _insert(tuple(name for name, _ in row)), tuple(value for _, value in row)
        return []

    def move(self, move: Move) -> Moved:
        names = tuple(name for name, _ in move.columns)
        yield _change(names), (*(value for _, value in move.columns), move.id)
        ids = tuple(account_id for account_id, _ in move.starts)
        rows = yield _move(len(ids)), (*move_parameters(move), *ids)
        starts = dict(move.starts)
        for row in rows:
            account_id, start = row[0], row[1]
            if start != starts[account_id] and move.spend:
                sql = f"INSERT INTO ledger_periods (account, start, spent) VALUES (?, ?, ?) {ADD_TO_PERIOD}"
                yield sql, (account_id, starts[account_id], move.spend)
        return rows

    def roll(self, account_id: str, seen: int, start: int) -> Moved:
        yield (
            "INSERT INTO ledger_periods (account, start, spent) SELECT id, start, spent FROM ledger_accounts "
            f"WHERE id = ? AND start = ? {ADD_TO_PERIOD}",
            (account_id, seen),
        )
        left = yield TAKE_FROM_PERIOD, (account_id, start)
        reserved = yield held(account_id, start)
        yield (
            "UPDATE ledger_accounts SET start = ?, spent = ?, reserved = ? WHERE id = ?",
            (start, left[0][0] if left else 0, reserved[0][0], account_id),
        )
        return []


@cache
def _admit(count: int) -> str:
    return f"UPDATE ledger_accounts SET {ADMIT_SET} WHERE id IN ({marks(count)})"


@cache
def _insert(names: tuple[str, ...]) -> str:
    return f"INSERT INTO ledger_requests ({', '.join(names)}) VALUES ({marks(len(names))})"


@cache
def _change(names: tuple[str, ...]) -> str:
    return f"UPDATE ledger_requests SET {', '.join(f'{n} = ?' for n in names)} WHERE id = ?"


@cache
def _move(count: int) -> str:
    return (
        f"UPDATE ledger_accounts SET {move_set(count)} WHERE id IN ({marks(count)}) "
        "RETURNING id, start, spent, reserved"
    )
