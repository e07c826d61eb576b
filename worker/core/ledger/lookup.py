"""Reads the keys, the accounts and their owners that a batch is about, in as few statements as possible.

A process that has its store to itself remembers what it has read; see `Memory`.
"""

import json
from collections.abc import Collection, Generator, Iterable
from functools import lru_cache
from typing import Any

from . import accounts, keys
from .accounts import COLUMNS, GLOBAL, LIMIT_COLUMNS, Account, Limits, Policy, Terms
from .decision import Dialect, Row, Statement, marks
from .keys import Key

# Names per statement: a Durable Object's SQL accepts at most 100 parameters.
_MOST_NAMES = 64
# Keys, accounts and names that are remembered, and open requests.
_MOST_REMEMBERED, _MOST_OPEN = 4096, 2048
# Names that are read together with the only key of a batch.
_MOST_BESIDE_A_KEY = 32
_TERMS = (
    f"o.alias, o.blocked, o.models, {accounts.ALIASES}, {', '.join(f'COALESCE(o.{n}, b.{n})' for n in LIMIT_COLUMNS)}"
)
_OWNERS = "LEFT JOIN ledger_owners o ON o.account = a.id LEFT JOIN ledger_budgets b ON b.id = o.budget_id"
_SECRETS = f"SELECT s.hash, s.expires, {keys.WITH_BUDGET}"
_OF_SECRETS = f"FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id {keys.JOIN_BUDGET}"
_BY_SECRET = f"{_SECRETS} {_OF_SECRETS} WHERE s.hash IN "
_BUDGET = f"SELECT {', '.join(LIMIT_COLUMNS)} FROM ledger_budgets WHERE id = ?"

Rows = Generator[Statement, list[Row], list[Row]]
Nothing = Generator[Statement, list[Row], None]
# The key and the end of its secret's grace period, by the secret's hash.
Secrets = dict[str, tuple[Key, int | None]]


class Lookup:
    """`accounts`: those that were found, by their ids. `terms`: of those that have an owner's row. `open`: requests
    that were admitted and have not ended, as `admit.row_of` returns them, with their key.

    `principals`, `payers`: what `batch` has worked out from accounts and a policy, see `under`.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.accounts: dict[str, Account] = {}
        self.terms: dict[str, Terms] = {}
        self.open: dict[str, tuple[Row, Key | None]] = {}
        self.principals: dict[Any, Any] = {}
        self.payers: dict[Any, Any] = {}
        self._policy: Policy | None = None
        self._secrets: Secrets = {}
        self._budgets: dict[str, Limits | None] = {}
        self._asked: set[str] = set()
        self._dialect = dialect

    def secrets(self, hashes: set[str], beside: set[str]) -> Generator[Statement, list[Row], Secrets]:
        """Returns keys by the hashes of their secrets, among them the presented ones. If only one of these is not
        known yet, also reads its accounts and those named `beside`."""
        found = self._secrets
        hashes = hashes.difference(found)
        if len(hashes) == 1:
            end = 2 + keys.COLUMN_COUNT
            names = sorted(beside) if len(beside) <= _MOST_BESIDE_A_KEY else []
            names += names[-1:] * (_padded(len(names)) - len(names))
            rows = yield _with_accounts(self._dialect, len(names)), (*names, *hashes)
            if rows:  # without the key, nothing was read; with it, whichever of them exist
                key = keys.key(rows[0][2:end])
                found[rows[0][0]] = key, rows[0][1]
                self._asked.update(names, (GLOBAL, f"key:{key.id}", f"user:{key.user_id}", f"team:{key.team_id}"))
            for row in rows:
                self._add(row[end:])
        elif hashes:
            for row in (yield from among(_BY_SECRET, hashes)):
                found[row[0]] = keys.key(row[2:]), row[1]
        return found

    def look_again(self, names: Iterable[str]) -> None:
        """Has the next `read` read those of these accounts that did not exist."""
        self._asked.difference_update(name for name in names if name not in self.accounts)

    def read(self, names: Iterable[str]) -> Nothing:
        """Reads the accounts that were not asked for before, and locks them if the dialect does. Lock the global one
        first."""
        missing = [name for name in names if name not in self._asked]
        if missing:
            self._asked.update(missing)
            for row in (yield from among(_accounts(self._dialect), missing, self._dialect.for_update)):
                self._add(row)

    def budget(self, id: str) -> Generator[Statement, list[Row], Limits | None]:
        """Returns the limits of a budget, None if it does not exist."""
        if id not in self._budgets:
            rows = yield _BUDGET, (id,)
            self._budgets[id] = Limits(*rows[0]) if rows else None
        return self._budgets[id]

    def under(self, policy: Policy) -> None:
        """Forgets what was worked out under another policy."""
        if policy is not self._policy:
            self.changed()
            self._policy = policy

    def changed(self) -> None:
        """An account has come, gone or entered another period."""
        self.principals.clear()
        self.payers.clear()

    def forget_accounts(self, names: Collection[str]) -> None:
        """Has these accounts count as missing: they were not written."""
        for name in names:
            del self.accounts[name]
        if names:
            self.changed()

    def remember(self, id: str, row: Row, key: Key | None) -> None:
        """Adds an open request, unless there are very many."""
        if len(self.open) < _MOST_OPEN:
            self.open[id] = row, key

    @property
    def is_large(self) -> bool:
        """Clients can name any number of accounts."""
        some = (self._asked, self._secrets, self.principals, self.payers)
        return sum(map(len, some)) > _MOST_REMEMBERED

    def _add(self, row: Row) -> None:
        if row[0] in self.accounts:  # others may have a reference to it
            return
        self.accounts[row[0]] = Account(row[:-1])
        if row[-1] is not None:
            alias, blocked, models, aliases, *limits = json.loads(row[-1])
            self.terms[row[0]] = Terms(alias, blocked, models, aliases, Limits(*limits))


class Memory:
    """What the last batch of a process has read and written, for the next one.

    Only for a process that has its store to itself. It calls `forget` at every other write, and when a batch may have
    been rolled back. A batch that breaks off has forgotten it already.
    """

    __slots__ = ("_lookup",)

    def __init__(self) -> None:
        self._lookup: Lookup | None = None

    def take(self, dialect: Dialect) -> Lookup:
        found, self._lookup = self._lookup, None
        return found or Lookup(dialect)

    def keep(self, lookup: Lookup) -> None:
        if not lookup.is_large:
            self._lookup = lookup

    def forget(self) -> None:
        self._lookup = None


@lru_cache
def _with_accounts(dialect: Dialect, count: int) -> str:
    """Returns the statement that reads a key together with its accounts and `count` others."""
    others = f", {marks(count)}" if count else ""
    return (
        f"{_SECRETS}, {_columns(dialect)} {_OF_SECRETS} JOIN ledger_accounts a ON a.id IN "
        f"('{GLOBAL}', 'key:' || k.id, 'user:' || k.user_id, 'team:' || k.team_id{others}) "
        f"{_OWNERS} WHERE s.hash = ?{dialect.for_update}"
    )


@lru_cache
def _accounts(dialect: Dialect) -> str:
    return f"SELECT {_columns(dialect)} FROM ledger_accounts a {_OWNERS} WHERE a.id IN "


def _columns(dialect: Dialect) -> str:
    """Returns the columns of an account, and its owner's terms in one column: most accounts have none, and columns that
    are null cost as much as others."""
    return f"{COLUMNS}, CASE WHEN o.account IS NOT NULL THEN CAST({dialect.array}({_TERMS}) AS TEXT) END"


def among(sql: str, names: Iterable[str], end: str = "") -> Rows:
    """Runs a SELECT with an IN list of names. Lists are padded to a power of two to limit the number of distinct
    prepared statements."""
    some = sorted(names)
    if len(some) == 1:
        return (yield _in_list(sql, 1, end), tuple(some))
    rows: list[Row] = []
    for first in range(0, len(some), _MOST_NAMES):
        part = some[first : first + _MOST_NAMES]
        size = _padded(len(part))
        part += part[-1:] * (size - len(part))
        rows += yield _in_list(sql, size, end), tuple(part)
    return rows


@lru_cache(maxsize=256)
def _in_list(sql: str, size: int, end: str) -> str:
    return f"{sql}({marks(size)}){end}"


def _padded(count: int) -> int:
    return 1 << (count - 1).bit_length() if count else 0
