"""Reservations that end without a report, and the next deadline for a host that sets an alarm.

They expire with their lease, or at once if their container has stopped. Each is charged in full until a report corrects
it.
"""

from typing import Any

from .accounts import GLOBAL, Policy
from .batch import Books
from .decision import Decision, Steps
from .dialect import Dialect
from .lookup import Lookup
from .settle import COLUMNS, Found

AT_ONCE = 100
# Longer than any lease. A later expiry comes from a clock that was ahead.
_LONGEST_LEASE = 60 * 60_000


def expire(dialect: Dialect, now: int, limit: int = AT_ONCE) -> Decision:
    """Ends expired reservations: {"ok": True, "expired": int}. Call again while that equals `limit`."""
    return Decision(_expire(dialect, "expires <= ?", (now,), now, limit), whole=True)


def expire_instance(dialect: Dialect, instance: str, now: int, limit: int = AT_ONCE) -> Decision:
    """Ends all reservations of a container that has stopped. Returns the same as `expire`."""
    return Decision(_expire(dialect, "instance = ?", (instance,), now, limit), whole=True)


def expire_others(dialect: Dialect, instance: str, now: int, limit: int = AT_ONCE) -> Decision:
    """Ends all reservations except those of this instance, the only one left, and of its workers, whose names begin
    with its own. Returns the same as `expire`."""
    others = "substr(instance, 1, ?) <> ?"
    return Decision(_expire(dialect, others, (len(instance), instance), now, limit), whole=True)


def _expire(dialect: Dialect, which: str, parameters: tuple[Any, ...], now: int, limit: int) -> Steps:
    due = f"SELECT {COLUMNS} FROM ledger_requests r WHERE state = 0 AND {which} ORDER BY expires LIMIT ?"
    rows = yield due, (*parameters, limit)
    lookup = Lookup(dialect)
    if rows and dialect.locks:
        yield from lookup.read((GLOBAL,))
        rows = yield due, (*parameters, limit)  # some may have been settled in the meantime
    if rows:
        found = [Found((*row, None, None)) for row in rows]
        yield from lookup.read({name for one in found for name, _ in one.draws})
        books = Books(Policy(), now, lookup)
        for one in found:
            books.expire(one)
        yield from books.write()
    latest = now + _LONGEST_LEASE
    yield "UPDATE ledger_requests SET expires = ? WHERE state = 0 AND expires > ?", (latest, latest)
    return {"ok": True, "expired": len(rows)}


_FIRST = (
    ("reservation", "SELECT expires FROM ledger_requests WHERE state = 0 ORDER BY expires LIMIT 1"),
    ("alert", "SELECT due FROM ledger_alerts WHERE due IS NOT NULL ORDER BY due LIMIT 1"),
    ("line", "SELECT created FROM ledger_requests WHERE state > 0 ORDER BY created LIMIT 1"),
)


def next_deadlines() -> Decision:
    """Returns {"reservation": when the first one expires, "alert": when the next one is due, "line": the creation time
    of the oldest spend log line}, in milliseconds since 1970, None where there is none."""
    return Decision(_due())


def _due() -> Steps:
    found = {}
    for name, sql in _FIRST:
        rows = yield sql, ()
        found[name] = rows[0][0] if rows else None
    return found
