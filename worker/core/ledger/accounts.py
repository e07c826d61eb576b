"""The accounts that a request draws on: everyone's, its user's and its key's, each with counters and limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .decision import Row, Statement

GLOBAL = "global"
NAMES = "id start spent reserved total minute requests tokens parallel alerted_soft alerted_full".split()
COLUMNS = ", ".join(f"a.{name}" for name in NAMES)


def key_account(key_id: str) -> str:
    return f"key:{key_id}"


def user_account(user_id: str) -> str:
    return f"user:{user_id}"


@dataclass(slots=True)
class Account:
    """A row of ledger_accounts. See the schema."""

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


class Limits(NamedTuple):
    """What an account may do; None is no limit. Money in nano-dollars, `duration` as in `periods`."""

    max_budget: int | None = None
    soft_budget: int | None = None
    duration: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None


NO_LIMITS = Limits()


def account(row: Row) -> Account:
    return Account(*row)


def open_account(account_id: str, start: int) -> Statement:
    """A row for an account that may have one already."""
    return "INSERT INTO ledger_accounts (id, start) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (account_id, start)


@dataclass(frozen=True, slots=True)
class Policy:
    """`everyone`: all traffic, the master key's too. `each_user`: any `user_id` that `users` does not name."""

    everyone: Limits = NO_LIMITS
    each_user: Limits = NO_LIMITS
    users: Mapping[str, Limits] = field(default_factory=dict)

    def user(self, user_id: str) -> Limits:
        return self.users.get(user_id, self.each_user)
