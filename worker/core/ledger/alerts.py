"""Alerts: a soft budget is passed, a budget is used up, a provider refuses our key, a deployment rests for long.

At most one of each per account and period, or per deployment and hour. This module only writes rows. The host reads
them with `pending`, sends the `messages` of each and records with `tried` who accepted them.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from ..values import periods
from ..values.money import usd
from .accounts import Account, kind_of
from .decision import Decision, Statement, Steps

SOFT, EXHAUSTED = "soft_budget", "budget_exhausted"
KEY_REFUSED, RESTING = "provider_key_refused", "deployment_resting"
# A deployment rests for long if it has had cooldowns for this time, and every attempt between them has failed.
LONG_REST_SECONDS = 300
# Whom alerts are sent to: ALERT_WEBHOOK_URL, as JSON; SLACK_WEBHOOK_URL, in the words of Slack or Discord.
WEBHOOK, SLACK = "webhook", "slack"
_DISCORD = re.compile(r"(?:\w+\.)?discord(?:app)?\.com")
_MOST_CHARACTERS = 2000  # of a message, at Discord
_INSERT = (
    "INSERT INTO ledger_alerts (account, start, kind, name, spent, reserved, budget, created, due) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, start, kind) DO NOTHING"
)
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
        _INSERT,
        (account.id, account.start, kind, words, account.spent, account.reserved, budget, now, now),
    )


def of_attempts(attempts: str, now: int) -> Steps:
    """Inserts the alerts that are due for a request's failed attempts. `attempts`: a JSON list, see `settle.Report`."""
    for attempt in json.loads(attempts):
        id, name = attempt.get("deployment"), f"deployment {attempt.get('deployment')} of {attempt.get('model')}"
        kinds = []
        if attempt.get("error") == "authentication" and attempt.get("status") in (401, 403):
            kinds.append(KEY_REFUSED)
        if attempt.get("ailing", 0) >= LONG_REST_SECONDS:
            kinds.append(RESTING)
        for kind in kinds:
            yield _INSERT, (f"deployment:{id}", now - now % periods.HOUR, kind, name, 0, 0, 0, now, now)


def pending(now: int, limit: int = 20) -> Decision:
    """Returns the alerts to send now: [{"account", "start", "kind", "name", "spent", "reserved", "budget", "created",
    "attempts", "sent"}]. Money is in US dollars. `sent`: who has accepted it already."""
    return Decision(_pending(now, limit))


def _pending(now: int, limit: int) -> Steps:
    rows = yield (
        "SELECT account, start, kind, name, spent, reserved, budget, created, attempts, sent FROM ledger_alerts "
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
            "sent": sent.split(),
        }
        for account, start, kind, name, spent, reserved, budget, created, attempts, sent in rows
    ]


class Message(NamedTuple):
    """`to`: WEBHOOK or SLACK. `url`: a secret. `body`: a JSON object."""

    to: str
    url: str
    body: dict[str, Any]


def receivers(webhook: str | None, slack: str | None, slack_wanted: bool) -> dict[str, str]:
    """Returns whom alerts are sent to, with the URLs. `slack_wanted`: `alerting` of the config names it."""
    found = {WEBHOOK: webhook, SLACK: slack if slack_wanted else None}
    return {name: url for name, url in found.items() if url}


def messages(alert: Mapping[str, Any], urls: Mapping[str, str]) -> list[Message]:
    """Returns what to send now. `alert`: an item of `pending`; `urls`: of `receivers`."""
    left = [(name, url) for name, url in urls.items() if name not in alert["sent"]]
    return [Message(name, url, content(alert)) if name == WEBHOOK else _slack(alert, url) for name, url in left]


def content(alert: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the JSON body for the webhook. `alert`: an item of `pending`."""
    hidden = {"account", "attempts", "sent"}
    if alert["kind"] not in (SOFT, EXHAUSTED):
        hidden |= {"spent", "reserved", "budget"}
    return {name: value for name, value in alert.items() if name not in hidden}


def _slack(alert: Mapping[str, Any], url: str) -> Message:
    """In the words of Slack or Discord. Nobody is pinged, whatever an alias says.

    Slack's control characters: https://docs.slack.dev/messaging/formatting-message-text
    Discord: https://docs.discord.com/developers/resources/webhook#execute-webhook
    """
    text = " ".join(words(alert).split())[:_MOST_CHARACTERS]
    parts = urlsplit(url)
    if not _DISCORD.fullmatch(parts.hostname or ""):
        return Message(SLACK, url, {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")})
    own = urlunsplit(parts._replace(path=parts.path.rstrip("/").removesuffix("/slack")))
    return Message(SLACK, own, {"content": text, "allowed_mentions": {"parse": []}})


def words(alert: Mapping[str, Any]) -> str:
    """Returns an alert as a sentence. `alert`: an item of `pending`."""
    name = "everyone" if alert["name"] == "global" else alert["name"]
    spent, reserved, budget = (_dollars(alert[amount]) for amount in ("spent", "reserved", "budget"))
    match alert["kind"]:
        case "soft_budget":
            said = f"The soft budget of {name}, {budget}, is passed: {spent} spent, {reserved} reserved."
        case "budget_exhausted":
            said = f"The budget of {name}, {budget}, is used up: {spent} spent, {reserved} reserved."
        case "provider_key_refused":
            said = f"The provider refuses our key: {name}. Its requests go to other deployments, if there are any."
        case "deployment_resting":
            minutes = LONG_REST_SECONDS // 60
            said = f"All attempts have failed for over {minutes} minutes: {name}. It rests for longer each time."
        case kind:
            said = f"{kind}: {name}"
    return f"LiteLLM Router: {said}"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if not amount or amount >= 0.1 else f"${amount:.9f}".rstrip("0")


def is_delivered(status: int) -> bool:
    """Whether the webhook accepted the alert. Redirects are not followed, because they may lead anywhere."""
    return 200 <= status < 300


def tried(alert: Mapping[str, Any], now: int, *, accepted: Collection[str], urls: Mapping[str, str]) -> Decision:
    """Records a delivery attempt to `urls`, of which `accepted` took the alert. They do not get it again in its period.
    The others get it again with growing delays, until it is given up. `alert`: an item of `pending`."""
    attempts, sent = alert["attempts"], {*alert["sent"], *accepted}
    wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempts, 20))
    over = sent >= urls.keys() or attempts + 1 >= _ATTEMPTS
    return Decision(_due(alert, " ".join(sorted(sent)), None if over else now + wait))


def _due(alert: Mapping[str, Any], sent: str, due: int | None) -> Steps:
    sql = (
        "UPDATE ledger_alerts SET due = ?, sent = ?, attempts = attempts + 1 "
        "WHERE account = ? AND start = ? AND kind = ? AND due IS NOT NULL"
    )
    yield sql, (due, sent, alert["account"], alert["start"], alert["kind"])
    return {"ok": True}
