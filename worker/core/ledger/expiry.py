"""Reservations that end without a report, accounts that nobody uses any more, and the next deadline for a host that
sets an alarm.

Reservations expire with their lease, or at once if their container has stopped. Each is charged in full until a report
corrects it.
"""

from typing import Any

from ..values import periods
from .accounts import GLOBAL, Policy
from .batch import Books, Lookup, with_end_user_budget
from .decision import Decision, Dialect, Steps, marks
from .settle import COLUMNS, SETTLED, Found

AT_ONCE = 100
# Longer than any lease. A later expiry comes from a clock that was ahead.
_LONGEST_LEASE = 60 * 60_000
_FORGOTTEN_AFTER = 7 * periods.DAY
# The end users at once: a Durable Object's statement takes 100 parameters.
_FORGOTTEN_AT_ONCE = 50
_NEWEST = f"SELECT created FROM ledger_requests WHERE state = {SETTLED} ORDER BY created DESC LIMIT 1"
_IDLE = """a.id LIKE 'end_user:%' AND a.start < ? AND a.minute < ? AND a.reserved = 0 AND a.parallel = 0
    AND NOT EXISTS (SELECT 1 FROM ledger_owners o WHERE o.account = a.id)"""


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


def forget_end_users(
    dialect: Dialect, policy: Policy, now: int, after: str = "", limit: int = _FORGOTTEN_AT_ONCE
) -> Decision:
    """Deletes the accounts of end users whose period has been over, and which nobody has used, for a week: {"ok": True,
    "deleted": int, "after": str}. Call again with that `after`, unless it is ''. The newest settled
    request has to be as late: a clock that is ahead deletes nothing by itself.

    Clients can name any number of end users. Those with an owner's row are kept, and so are all where a budget has no
    period, since what was spent of it counts for good.
    """
    return Decision(_forget_end_users(dialect, policy, now, after, limit), whole=True)


def _forget_end_users(dialect: Dialect, policy: Policy, now: int, after: str, limit: int) -> Steps:
    lookup = Lookup(dialect)
    if policy.end_user_budget:
        policy = yield from with_end_user_budget(policy, lookup)
    most, _, duration, *_ = policy.each_end_user
    if most is None or duration is None:
        return {"ok": True, "deleted": 0, "after": ""}
    # The clock may be ahead, and a period that goes on again has to find what was spent in it, also where somebody
    # changes the duration and changes it back.
    newest = yield _NEWEST, ()
    if not newest:
        return {"ok": True, "deleted": 0, "after": ""}
    long_ago = min(now, newest[0][0]) - _FORGOTTEN_AFTER
    idle = periods.start(duration, long_ago), long_ago
    # There may be very many accounts: they are looked for without a lock, and each one once.
    rows = yield f"SELECT a.id FROM ledger_accounts a WHERE a.id > ? AND {_IDLE} ORDER BY a.id LIMIT ?", (
        after, *idle, limit,
    )  # fmt: skip
    if not rows:
        return {"ok": True, "deleted": 0, "after": ""}
    for sql in dialect.lock:  # nobody gives one of them a row meanwhile
        yield sql, ()
    if dialect.locks:
        yield from lookup.read((GLOBAL,))
    some = tuple(id for (id,) in rows)
    delete = f"DELETE FROM ledger_accounts AS a WHERE a.id IN ({marks(len(some))}) AND {_IDLE} RETURNING id"
    names = tuple(id for (id,) in (yield delete, (*some, *idle)))
    if names:
        yield f"DELETE FROM ledger_periods WHERE account IN ({marks(len(names))})", names
    return {"ok": True, "deleted": len(names), "after": some[-1]}


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
