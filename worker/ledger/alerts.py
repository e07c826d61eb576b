"""Once a period: a soft budget is passed, or a budget is used up. Rows that somebody else delivers.

The host asks `pending`, sends the `content` of each to the webhook, and answers `tried`.
"""

from collections.abc import Mapping
from typing import Any

from . import periods
from .accounts import GLOBAL, Account, Limits, user_account
from .decision import Decision, Steps
from .key_fields import Key
from .money import usd

SOFT, EXHAUSTED = "soft_budget", "budget_exhausted"
_MARKS = {SOFT: "alerted_soft", EXHAUSTED: "alerted_full"}
_FIRST_WAIT = 5 * periods.SECOND
_LONGEST_WAIT = periods.HOUR
# About two days of trying.
_ATTEMPTS = 60


def soft(key: Key | None, accounts: list[tuple[Account, Limits]], now: int) -> Steps:
    """Writes the alerts of soft budgets that have been passed, if they are new."""
    for account, limit in accounts:
        if limit.soft_budget is not None and account.spent >= limit.soft_budget:
            yield from _write(SOFT, account.alerted_soft, key, account, limit.soft_budget, now)


def exhausted(key: Key | None, account: Account, limit: Limits, now: int) -> Steps:
    """Writes the alert of a budget that is used up, if it is new."""
    yield from _write(EXHAUSTED, account.alerted_full, key, account, limit.max_budget or 0, now)


def _write(kind: str, alerted: int, key: Key | None, account: Account, budget: int, now: int) -> Steps:
    if alerted == account.start:
        return
    name = _name(account, key)
    yield (
        "INSERT INTO ledger_alerts (account, start, kind, name, spent, reserved, budget, created, due) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, start, kind) DO NOTHING",
        (account.id, account.start, kind, name, account.spent, account.reserved, budget, now, now),
    )
    # So that the next request need not try to write it again.
    sql = f"UPDATE ledger_accounts SET {_MARKS[kind]} = ? WHERE id = ? AND start = ?"
    yield sql, (account.start, account.id, account.start)


def _name(account: Account, key: Key | None) -> str:
    if account.id == GLOBAL or key is None:
        return GLOBAL
    return f"user {key.user_id}" if account.id == user_account(key.user_id) else f"key {key.name}"


def pending(now: int, limit: int = 20) -> Decision:
    """Alerts to send now: [{"account", "start", "kind", "name", "spent", "reserved", "budget", "created",
    "attempts"}]; money in US dollars."""
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
    """What the webhook is sent, as JSON. `alert`: one of `pending`."""
    return {name: value for name, value in alert.items() if name not in ("account", "attempts")}


def is_delivered(status: int) -> bool:
    """Whether the webhook has it. A redirect is not followed: it may lead anywhere."""
    return 200 <= status < 300


def tried(alert: Mapping[str, Any], now: int, *, delivered: bool) -> Decision:
    """A delivered alert never comes again in its period. A failed one is tried again, each time later, until it is
    given up. `alert`: one of `pending`."""
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
