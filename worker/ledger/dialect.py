"""The few statements that SQLite and PostgreSQL have to be told differently.

On SQLite (a file, or a Durable Object's) a decision runs alone, so it may check with one statement and change with
the next. On PostgreSQL many run at once at READ COMMITTED: there each of these is one statement that locks the
accounts in the order of their names, checks again what was read before, and does everything or nothing.
"""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, Protocol

from .accounts import GLOBAL, Guard
from .decision import Row, Statement
from .periods import SKEW

Moved = Generator[Statement, list[Row], list[Row] | None]
Columns = tuple[tuple[str, Any], ...]


class Move(NamedTuple):
    """A request's way from one state to another, and what it means for its accounts.

    `seen`: the state it was found in, which it must still have. `starts`: (account id, period it was admitted in).
    Money in nano-dollars: `release` leaves the reservations, `spend` is added to the spending. `slots`: parallel
    requests that end. `tokens`: added to those of `minute`, if that is still running.
    """

    id: str
    seen: int
    starts: tuple[tuple[str, int], ...]
    release: int
    spend: int
    slots: int
    minute: int
    tokens: int
    columns: Columns


class Dialect(Protocol):
    """`lock`: the statements that decisions on the schema and on keys begin with, so that no two of them run at once;
    what they read after it is what the one before has left. `admit` and `move` return None where somebody else was
    faster: read again and decide anew."""

    lock: tuple[str, ...]
    for_update: str

    def admit(self, guards: Sequence[Guard], amount: int, tokens: int, minute: int, row: Columns) -> Moved:
        """Adds a request to its accounts and writes its row."""
        ...

    def move(self, move: Move) -> Moved:
        """Carries a Move out; rows of (account id, start, spent, reserved) as they are now."""
        ...

    def roll(self, account_id: str, seen: int, start: int) -> Moved:
        """Brings the account from the period that it was seen in, whose spending goes to the history, into that of
        `start`. Where that is in the history already, as when a clock goes back, it goes on as it was left."""
        ...


ADMIT_SET = """reserved = reserved + ?, parallel = parallel + 1,
    requests = CASE WHEN minute BETWEEN ? AND ? THEN requests + 1 ELSE 1 END,
    tokens = CASE WHEN minute BETWEEN ? AND ? THEN tokens + ? ELSE ? END,
    minute = CASE WHEN minute BETWEEN ? AND ? THEN minute ELSE ? END"""


def admit_parameters(amount: int, tokens: int, minute: int) -> tuple[int, ...]:
    running = minute, minute + SKEW
    return (amount, *running, *running, tokens, tokens, *running, minute)


def marks(count: int) -> str:
    return ", ".join("?" * count)


def start_of(count: int) -> str:
    """The start that each account's row should have, by the account's id; takes (id, start) pairs."""
    return f"CASE id {' '.join(['WHEN ? THEN CAST(? AS BIGINT)'] * count)} END"


def move_set(count: int) -> str:
    start = start_of(count)
    return f"""reserved = reserved - CASE WHEN start = {start} THEN CAST(? AS BIGINT) ELSE 0 END,
    spent = spent + CASE WHEN start = {start} THEN CAST(? AS BIGINT) ELSE 0 END,
    total = total + ?, parallel = parallel - ?,
    tokens = CASE WHEN minute = ? THEN tokens + ? ELSE tokens END"""


def move_parameters(move: Move) -> tuple[Any, ...]:
    starts = tuple(value for pair in move.starts for value in pair)
    return (*starts, move.release, *starts, move.spend, move.spend, move.slots, move.minute, move.tokens)


ADD_TO_PERIOD = "ON CONFLICT (account, start) DO UPDATE SET spent = ledger_periods.spent + excluded.spent"

TAKE_FROM_PERIOD = "DELETE FROM ledger_periods WHERE account = ? AND start = ? RETURNING spent"


def held(account_id: str, start: int) -> Statement:
    """What open requests hold of an account in one of its periods."""
    kind, _, name = account_id.partition(":")
    whose = "" if kind == GLOBAL else f" AND {kind}_id = ?"
    total = "CAST(COALESCE(SUM(amount), 0) AS BIGINT)"
    sql = f"SELECT {total} FROM ledger_requests WHERE state = 0 AND {kind}_start = ?{whose}"
    return sql, (start,) if kind == GLOBAL else (start, name)
