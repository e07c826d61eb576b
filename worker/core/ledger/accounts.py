"""The accounts that a request draws on: the global one, its user's and its key's. Each has counters and limits."""

from collections.abc import Mapping
from typing import NamedTuple

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


class Limits(NamedTuple):
    """The limits of an account; None means no limit. Money is in nano-dollars, `duration` as in `periods`."""

    max_budget: int | None = None
    soft_budget: int | None = None
    duration: str | None = None
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None


NO_LIMITS = Limits()


def open_account(account_id: str, start: int) -> Statement:
    """Inserts the row of an account unless it exists."""
    return "INSERT INTO ledger_accounts (id, start) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (account_id, start)


class Policy(NamedTuple):
    """Limits from the configuration. `everyone`: for all traffic, including the master key's. `each_user`: for every
    `user_id` that `users` does not name."""

    everyone: Limits = NO_LIMITS
    each_user: Limits = NO_LIMITS
    users: Mapping[str, Limits] = {}

    def user(self, user_id: str) -> Limits:
        return self.users.get(user_id, self.each_user)
