"""A reservation becomes what was really spent.

    open ──report──▶ settled            final: a second report changes nothing
      └──expiry──▶ expired ──report──▶ settled    meanwhile it counts as spent in full

A reservation belongs to the periods it was admitted in, whenever it ends, and to the container instance that got the
request: no other may report on it or renew it.
"""

from typing import Any, NamedTuple

from . import accounts, alerts, keys
from .accounts import GLOBAL, Limits, account, key_account, user_account
from .decision import Decision, Row, Steps
from .dialect import Columns, Dialect, Move, marks
from .money import MAX_NANO
from .policy import Policy

OPEN, EXPIRED, SETTLED = 0, 1, 2
_TRIES = 64
_EXPIRE_AT_ONCE = 100
# No reservation is made or renewed for as long: what ends later was made by a clock that was ahead.
_LONGEST_LEASE = 60 * 60_000
# A Durable Object's SQL takes at most 100 parameters.
_RENEW_AT_ONCE = 50

_NAMES = "id state instance key_id user_id amount charged tokens minute global_start key_start user_start".split()
COLUMNS = ", ".join(f"r.{name}" for name in _NAMES)
# With the budgets of its key, so that a report need not read more unless one of them has been passed.
_BY_ID = f"""SELECT {COLUMNS}, k.soft_budget, k.max_budget
FROM ledger_requests r LEFT JOIN ledger_keys k ON k.id = r.key_id WHERE r.id = ?"""


class Report(NamedTuple):
    """What a request came to. `cost` in nano-dollars, `latency` in milliseconds.

    `status`: of the answer, 499 where the client left. `estimated`: the provider did not say, so it was counted here.
    `answered_by`: the public name of the model that answered, which after a fallback is another one.
    """

    id: str
    instance: str
    cost: int
    answered_by: str = ""
    deployment: str = ""
    status: int = 200
    latency: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0


# What a report changes of its request.
REPORTED = (
    "state charged settled answered_by deployment status latency prompt_tokens completion_tokens cached_tokens "
    "reasoning_tokens estimated"
).split()


class Found(NamedTuple):
    """A request as a report finds it. See the schema."""

    id: str
    state: int
    instance: str
    key_id: str
    user_id: str
    amount: int
    charged: int
    tokens: int
    minute: int
    global_start: int
    key_start: int
    user_start: int
    soft_budget: int | None = None
    max_budget: int | None = None

    @property
    def accounts(self) -> tuple[str, ...]:
        """The names of the accounts that it draws on."""
        if not self.key_id:
            return (GLOBAL,)
        own = key_account(self.key_id)
        return (GLOBAL, own, user_account(self.user_id)) if self.user_id else (GLOBAL, own)

    @property
    def starts(self) -> tuple[int, ...]:
        """The periods that it was admitted in, of each of its accounts."""
        if not self.key_id:
            return (self.global_start,)
        starts = (self.global_start, self.key_start)
        return (*starts, self.user_start) if self.user_id else starts


def settle(dialect: Dialect, policy: Policy, report: Report, now: int) -> Decision:
    """{"ok": True, "outcome": "settled" | "duplicate" | "unknown" | "foreign"}.

    "unknown": there is no such reservation (any more); "foreign": it is another instance's. Neither changes anything,
    and none of them gets better by reporting again.
    """
    return Decision(_settle(dialect, policy, report, now))


def release(dialect: Dialect, id: str, now: int) -> Decision:
    """The request was never sent anywhere: its reservation costs nothing. Outcomes as those of `settle`."""
    return Decision(_settle(dialect, None, Report(id, "", 0, status=0), now))


def expire(dialect: Dialect, now: int, limit: int = _EXPIRE_AT_ONCE) -> Decision:
    """Ends what is due: {"ok": True, "expired": int, "next": int | None}; `next`: when the next one is due."""
    return Decision(_expire(dialect, "expires <= ?", (now,), now, limit))


def expire_instance(dialect: Dialect, instance: str, now: int, limit: int = _EXPIRE_AT_ONCE) -> Decision:
    """The instance is dead: what it had open ends now. As `expire`; call again while `expired` equals `limit`."""
    return Decision(_expire(dialect, "instance = ?", (instance,), now, limit))


def expire_others(dialect: Dialect, instance: str, now: int, limit: int = _EXPIRE_AT_ONCE) -> Decision:
    """The instance is the only one there is: what others had open ends now. As `expire_instance`."""
    return Decision(_expire(dialect, "instance <> ?", (instance,), now, limit))


def bind(id: str, instance: str) -> Decision:
    """The instance gets the request, whichever one was foreseen. Where that one's end has ended the reservation, too,
    it stays so until the instance reports."""
    return Decision(_bind(id, instance))


def renew(instance: str, ids: list[str], expires: int) -> Decision:
    """Requests still run: their open reservations last until `expires`."""
    return Decision(_renew(instance, ids, expires))


def _settle(dialect: Dialect, policy: Policy | None, report: Report, now: int) -> Steps:
    for _ in range(_TRIES):
        rows = yield _BY_ID, (report.id,)
        found = Found(*rows[0]) if rows else None
        outcome = objection(found, report)
        if found is None or outcome:
            return {"ok": True, "outcome": outcome}
        charged = reported(found, report, now)
        columns = tuple(zip(REPORTED, charged, strict=True))
        used = report.prompt_tokens + report.completion_tokens
        moved = yield from dialect.move(move_of(found, charged[1], used - found.tokens, columns))
        if moved is None:
            continue
        if policy is not None:
            yield from _alert(policy, found, moved, now)
        return {"ok": True, "outcome": "settled"}
    raise RuntimeError(f"the reservation {report.id} changes faster than it can be read")


def objection(found: Found | None, report: Report) -> str:
    """The outcome of a report that changes nothing; else nothing."""
    if found is None:
        return "unknown"
    if found.instance != report.instance and found.instance and report.instance:
        return "foreign"
    return "duplicate" if found.state == SETTLED else ""


def reported(found: Found, report: Report, now: int) -> tuple[Any, ...]:
    """The request's values of the columns REPORTED."""
    return (
        SETTLED,
        min(max(0, report.cost), MAX_NANO),
        now,
        report.answered_by,
        report.deployment,
        report.status,
        report.latency,
        report.prompt_tokens,
        report.completion_tokens,
        report.cached_tokens,
        report.reasoning_tokens,
        report.estimated,
    )


def move_of(found: Found, charge: int, tokens: int, columns: Columns) -> Move:
    was_open = found.state == OPEN
    return Move(
        id=found.id,
        seen=found.state,
        starts=tuple(zip(found.accounts, found.starts, strict=True)),
        release=found.amount if was_open else 0,
        spend=charge - found.charged,
        slots=1 if was_open else 0,
        minute=found.minute,
        tokens=tokens,
        columns=columns,
    )


def _expire(dialect: Dialect, which: str, parameters: tuple[Any, ...], now: int, limit: int) -> Steps:
    latest = now + _LONGEST_LEASE
    yield "UPDATE ledger_requests SET expires = ? WHERE state = 0 AND expires > ?", (latest, latest)
    sql = f"SELECT {COLUMNS} FROM ledger_requests r WHERE state = 0 AND {which} ORDER BY expires LIMIT ?"
    rows = yield sql, (*parameters, limit)
    expired = 0
    for row in rows:
        found = Found(*row)
        columns: Columns = (("state", EXPIRED), ("charged", found.amount), ("settled", now), ("estimated", 1))
        # None: it has been settled meanwhile, which is better.
        if (yield from dialect.move(move_of(found, found.amount, 0, columns))) is not None:
            expired += 1
    due = yield "SELECT expires FROM ledger_requests WHERE state = 0 ORDER BY expires LIMIT 1", ()
    return {"ok": True, "expired": expired, "next": due[0][0] if due else None}


def _bind(id: str, instance: str) -> Steps:
    sql = "UPDATE ledger_requests SET instance = ? WHERE id = ? AND state < ? RETURNING id"
    rows = yield sql, (instance, id, SETTLED)
    return {"ok": True, "bound": len(rows)}


def _renew(instance: str, ids: list[str], expires: int) -> Steps:
    renewed = 0
    ids = sorted(ids)
    for first in range(0, len(ids), _RENEW_AT_ONCE):
        some = ids[first : first + _RENEW_AT_ONCE]
        rows = yield (
            "UPDATE ledger_requests SET expires = ? WHERE state = 0 AND instance = ? AND expires < ? "
            f"AND id IN ({marks(len(some))}) RETURNING id",
            (expires, instance, expires, *some),
        )
        renewed += len(rows)
    return {"ok": True, "renewed": renewed}


def limits_of(policy: Policy, found: Found) -> dict[str, Limits]:
    """The budgets of a request's accounts, by the accounts' names."""
    limits = {GLOBAL: policy.everyone}
    if found.user_id:
        limits[user_account(found.user_id)] = policy.user(found.user_id)
    if found.key_id:
        limits[key_account(found.key_id)] = Limits(found.max_budget, found.soft_budget)
    return limits


def key_of(found: Found) -> Steps:
    """The request's key, None for the master key and after its end."""
    rows = yield f"SELECT {keys.COLUMNS} FROM ledger_keys k WHERE k.id = ?", (found.key_id,)
    return keys.key(rows[0]) if rows else None


def _alert(policy: Policy, found: Found, moved: list[Row], now: int) -> Steps:
    """Tells of budgets that this report has brought to an end. The next admission would find out as well."""
    limits = limits_of(policy, found)
    for account_id, _, spent, _ in moved:
        limit = limits[account_id]
        full = limit.max_budget is not None and spent >= limit.max_budget
        if not full and (limit.soft_budget is None or spent < limit.soft_budget):
            continue
        rows = yield f"SELECT {accounts.COLUMNS} FROM ledger_accounts a WHERE a.id = ?", (account_id,)
        current = account(rows[0])
        key = yield from key_of(found)
        yield from alerts.soft(key, [(current, limit)], now)
        if full:
            yield from alerts.exhausted(key, current, limit, now)
