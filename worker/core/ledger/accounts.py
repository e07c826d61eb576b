"""The accounts that a request draws on. Each has counters and limits.

Everyone's, its key's and its user's account always exist. Those of a team, an end user, a tag, a provider or a
deployment exist if they have an owner's row (see `owner_fields`) or a limit in the configuration.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from ..values import periods
from ..values.money import usd
from .decision import Row, Statement

GLOBAL = "global"
NAMES = "id start spent reserved total minute requests tokens parallel alerted_soft alerted_full".split()
COLUMNS = ", ".join(f"a.{name}" for name in NAMES)


def key_account(key_id: str) -> str:
    return f"key:{key_id}"


def user_account(user_id: str) -> str:
    return f"user:{user_id}"


def team_account(team_id: str) -> str:
    return f"team:{team_id}"


def end_user_account(end_user: str) -> str:
    return f"end_user:{end_user}"


def tag_account(tag: str) -> str:
    return f"tag:{tag}"


def kind_of(account_id: str) -> tuple[str, str]:
    """Returns the kind of an account as people say it, and its owner's id: ("end user", "7"), ("global", "")."""
    kind, _, id = account_id.partition(":")
    return kind.replace("_", " "), id


class Account:
    """A row of ledger_accounts; see `schema`."""

    __slots__ = NAMES

    id: str
    start: int
    spent: int
    reserved: int
    total: int
    minute: int
    requests: int
    tokens: int
    parallel: int
    alerted_soft: int
    alerted_full: int

    def __init__(self, row: Row) -> None:
        (
            self.id,
            self.start,
            self.spent,
            self.reserved,
            self.total,
            self.minute,
            self.requests,
            self.tokens,
            self.parallel,
            self.alerted_soft,
            self.alerted_full,
        ) = row


def counters(account: Account | None, duration: str | None, now: int) -> dict[str, Any]:
    """Returns an account's counters as the admin API shows them, in US dollars. `duration`: of its budget's periods."""
    current = account is not None and periods.goes_on(account.start, duration, now)
    return {
        "spend": usd(account.spent) if account and current else 0.0,
        "reserved": usd(account.reserved) if account and current else 0.0,
        "running_requests": account.parallel if account else 0,
        "total_spend": usd(account.total) if account else 0.0,
        "budget_reset_at": periods.iso(periods.end(duration, now)),
    }


class Limits(NamedTuple):
    """The limits of an account; None means no limit. Money is in nano-dollars, `duration` as in `periods`."""

    max_budget: int | None = None
    soft_budget: int | None = None
    duration: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None

    def filled(self, budget: "Limits") -> "Limits":
        """Returns these limits, with those of `budget` where they are open."""
        return Limits._make(own if own is not None else other for own, other in zip(self, budget, strict=True))


NO_LIMITS = Limits()


# The columns with these limits, of a key, an owner or a budget.
LIMIT_COLUMNS = ("max_budget", "soft_budget", "budget_duration", "rpm_limit", "tpm_limit", "max_parallel_requests")
_of_row = attrgetter(*LIMIT_COLUMNS)


def limits_of(row: Any) -> Limits:
    """Returns the limits of a row with LIMIT_COLUMNS."""
    return Limits._make(_of_row(row))


def merged(own: Limits, default: Limits) -> Limits:
    """Returns an owner's limits, with the configuration's where it has none. A budget and its period belong
    together."""
    most, soft, duration, rpm, tpm, parallel = own
    if most is None and default.max_budget is not None:
        most, duration = default.max_budget, default.duration
    return Limits(
        most,
        default.soft_budget if soft is None else soft,
        duration,
        default.rpm if rpm is None else rpm,
        default.tpm if tpm is None else tpm,
        default.parallel if parallel is None else parallel,
    )


# The column of an owner's aliases, null for none.
ALIASES = "NULLIF(o.model_aliases, '{}')"


class Terms(NamedTuple):
    """What the row of an account's owner says about its requests. `models`: a JSON list, '[]' for all. `aliases`: names
    and the models they stand for, a JSON object, None for none. `limits`: with those of its budget."""

    alias: str | None
    blocked: int
    models: str
    aliases: str | None
    limits: Limits


def new_account(account_id: str, start: int) -> Account:
    """Returns an account without a row, in the period that begins at `start`."""
    return Account((account_id, start, 0, 0, 0, 0, 0, 0, 0, -1, -1))


def open_account(account_id: str, start: int) -> Statement:
    """Inserts the row of an account unless it exists."""
    return "INSERT INTO ledger_accounts (id, start) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (account_id, start)


class Policy(NamedTuple):
    """Limits from the configuration. `everyone`: for all traffic, including the master key's. `each_user`: for every
    `user_id` that `users` does not name. `each_end_user`: for every end user without limits of its own, as is the
    budget with the id `end_user_budget`, '' for none. `accounts`: of other accounts by their ids. `slack_alerts`:
    alerts are sent to Slack or Discord, if the webhook is known."""

    everyone: Limits = NO_LIMITS
    each_user: Limits = NO_LIMITS
    users: Mapping[str, Limits] = {}
    each_end_user: Limits = NO_LIMITS
    end_user_budget: str = ""
    accounts: Mapping[str, Limits] = {}
    slack_alerts: bool = False

    def user(self, user_id: str) -> Limits:
        return self.users.get(user_id, self.each_user)

    def limits(self, account_id: str) -> Limits | None:
        """Returns the limits of an account other than a key's, None if the configuration has none for it."""
        kind, _, name = account_id.partition(":")
        if kind == GLOBAL:
            return self.everyone
        if kind == "user":
            return self.user(name)
        if kind == "end_user" and self.each_end_user != NO_LIMITS:
            return self.each_end_user
        return self.accounts.get(account_id)


NO_POLICY = Policy()
