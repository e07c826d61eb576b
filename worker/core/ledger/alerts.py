"""Budget alerts: at most one per period when a soft budget is passed, and one when a budget is exhausted.

This module only writes rows. The host reads them with `pending`, sends the `content` of each to the webhook and records
the attempt with `tried`.
"""

from collections.abc import Mapping
from typing import Any

from ..values import periods
from ..values.money import usd
from .accounts import Account, kind_of
from .decision import Decision, Statement, Steps

SOFT, EXHAUSTED = "soft_budget", "budget_exhausted"
_FIRST_WAIT = 5 * periods.SECOND
_LONGEST_WAIT = periods.HOUR
# About two days of retries.
_ATTEMPTS = 60


def soft(account: Account, name: str, budget: int, now: int) -> Statement:
    """Inserts a soft-budget alert and marks the account as alerted. `name`: of its owner."""
    account.alerted_soft = account.start
    return _insert(SOFT, account, name, budget, now)


def exhausted(account: Account, name: str, budget: int, now: int) -> Statement:
    """Inserts a budget-exhausted alert and marks the account as alerted. `name`: of its owner."""
    account.alerted_full = account.start
    return _insert(EXHAUSTED, account, name, budget, now)


def _insert(kind: str, account: Account, name: str, budget: int, now: int) -> Statement:
    words = f"{kind_of(account.id)[0]} {name}".rstrip()
    return (
        "INSERT INTO ledger_alerts (account, start, kind, name, spent, reserved, budget, created, due) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, start, kind) DO NOTHING",
        (account.id, account.start, kind, words, account.spent, account.reserved, budget, now, now),
    )


def pending(now: int, limit: int = 20) -> Decision:
    """Returns the alerts to send now: [{"account", "start", "kind", "name", "spent", "reserved", "budget", "created",
    "attempts"}]. Money is in US dollars."""
    return Decision(_pending(now, limit))


def _pending(now: int, limit: int) -> Steps:
    rows = yield (
        "SELECT account, start, kind, name, spent, reserved, budget, created, attempts FROM ledger_alerts "
        "WHERE due IS NOT NULL AND due <= ? ORDER BY due LIMIT ?",
        (now, limit),
    )
    return [
        {
            "account": account,
            "start": start,
            "kind": kind,
            "name": name,
            "spent": usd(spent),
            "reserved": usd(reserved),
            "budget": usd(budget),
            "created": periods.iso(created),
            "attempts": attempts,
        }
        for account, start, kind, name, spent, reserved, budget, created, attempts in rows
    ]


def content(alert: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the JSON body for the webhook. `alert`: an item of `pending`."""
    return {name: value for name, value in alert.items() if name not in ("account", "attempts")}


def is_delivered(status: int) -> bool:
    """Whether the webhook accepted the alert. Redirects are not followed, because they may lead anywhere."""
    return 200 <= status < 300


def tried(alert: Mapping[str, Any], now: int, *, delivered: bool) -> Decision:
    """Records a delivery attempt. A delivered alert is not repeated in its period. A failed one is retried with growing
    delays until it is given up. `alert`: an item of `pending`."""
    attempts = alert["attempts"]
    wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempts, 20))
    over = delivered or attempts + 1 >= _ATTEMPTS
    return Decision(_due(alert["account"], alert["start"], alert["kind"], None if over else now + wait))


def _due(account: str, start: int, kind: str, due: int | None) -> Steps:
    sql = (
        "UPDATE ledger_alerts SET due = ?, attempts = attempts + 1 "
        "WHERE account = ? AND start = ? AND kind = ? AND due IS NOT NULL"
    )
    yield sql, (due, account, start, kind)
    return {"ok": True}
