"""Admission and settlement: one transaction for any number of reports and requests.

A transaction costs the database a commit and a lock on the global account, whatever it contains, so a process batches
all the requests it has at hand. A batch reads the accounts once, decides every report and then every request on top of
the previous decisions, and writes everything at the end.

On PostgreSQL the global account is locked first and until the commit. Everything that changes an account or the state
of a request takes the same lock, so rows read after it stay current.

`batch` is the entry. `Lookup` reads for it and `Books` keeps what it decides. Alerts are imported when one is due, so
that an object starts sooner.
"""

import json
from collections.abc import Collection, Generator, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

from ..values import periods
from . import accounts, admit, keys, settle
from .accounts import (
    COLUMNS,
    GLOBAL,
    LIMIT_COLUMNS,
    NAMES,
    NO_LIMITS,
    Account,
    Limits,
    Policy,
    Terms,
    key_account,
    kind_of,
    merged,
    new_account,
)
from .admit import AdmissionRequest, Caller, Payer, Principal, drawn_on, principal
from .decision import Decision, Dialect, Row, Statement, Steps, marks
from .keys import Key
from .settle import Found, Report

# Reads, in as few statements as possible: the keys, the accounts and their owners that a batch is about. A process
# that has its store to itself remembers what it has read; see `Memory`.

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


# Decides, and writes what was decided.

_BY_ID = f"""SELECT {settle.COLUMNS}, COALESCE(k.soft_budget, kb.soft_budget), COALESCE(k.max_budget, kb.max_budget)
FROM ledger_requests r LEFT JOIN ledger_keys k ON k.id = r.key_id {keys.JOIN_BUDGET} WHERE r.id IN """
_KEY = f"SELECT {keys.COLUMNS} FROM ledger_keys k WHERE k.id = ?"
# An upsert, so that several rows fit into one statement (see `runtime.sql`), and because an account may be new.
_WRITE = (
    f"INSERT INTO ledger_accounts ({', '.join(NAMES)}) VALUES ({marks(len(NAMES))}) "
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in NAMES[1:])}"
)
_written = attrgetter(*NAMES)
_INSERT = (
    f"INSERT INTO ledger_requests ({', '.join((*admit.ROW, *admit.NEW))}) "
    f"VALUES ({marks(len(admit.ROW))}, {', '.join(map(repr, admit.NEW.values()))})"
)
_SETTLE = f"UPDATE ledger_requests SET {', '.join(f'{name} = ?' for name in settle.REPORTED)} WHERE id = ?"
_OTHERS = "UPDATE ledger_requests SET others = ? WHERE id = ?"
_EXPIRE = f"UPDATE ledger_requests SET state = {settle.EXPIRED}, charged = ?, settled = ?, estimated = 1 WHERE id = ?"
_ADD_TO_PERIOD = (
    "INSERT INTO ledger_periods (account, start, spent) VALUES (?, ?, ?) "
    "ON CONFLICT (account, start) DO UPDATE SET spent = ledger_periods.spent + excluded.spent"
)
_TAKE_FROM_PERIOD = "DELETE FROM ledger_periods WHERE account = ? AND start = ? RETURNING spent"


def batch(
    dialect: Dialect,
    policy: Policy,
    reports: Sequence[Report],
    requests: Sequence[AdmissionRequest],
    now: int,
    memory: Memory | None = None,
) -> Decision:
    """Returns {"ok": True, "outcomes": [one per report], "results": [one per request], "ended": the accounts whose
    requests the reports are about}, outcomes and results in order. Request ids must be unique.

    An outcome is "settled" or a value of `settle.objection`. A result is a refusal or `admit.UNSIZED`, both with
    "log_fields" (the model and the key's alias), or {"ok": True, "reservation", "key_id", "key_alias", "user_id",
    "models", "expires", "limited", "headers"}. `models`: those the key may use, a JSON list, empty for all. `limited`:
    a budget or a token limit applies, so the request must be sent with the output limit it was reserved with. If that
    limit was lowered to fit, the result also has "output_limit" and the "amount" that is reserved with it; nothing
    above that limit may be sent. If some of the request's candidates are used up, the result has "exhausted": the ids
    of their accounts. The request must not be sent to a deployment that draws on one of them. If the team has aliases,
    the result has "aliases", and a refusal has "aliased" if the request has to be quoted for that model instead.
    `memory`: of a process that has its store to itself.
    """
    return Decision(_batch(dialect, policy, reports, requests, now, memory), whole=True)


def _batch(
    dialect: Dialect,
    policy: Policy,
    reports: Sequence[Report],
    requests: Sequence[AdmissionRequest],
    now: int,
    memory: Memory | None,
) -> Steps:
    lookup = Lookup(dialect) if memory is None else memory.take(dialect)
    lookup.under(policy)
    drawn: dict[Caller, Sequence[str]] = {}  # the ids of accounts
    hashes: set[str] = set()
    beside: set[str] = set()
    principals: dict[Caller, Principal] = {}
    asked = []
    for request in requests:
        caller = request.caller
        asked.append((request, caller))
        if caller not in drawn and caller not in principals:
            known = lookup.principals.get(caller)
            if known is not None and _is_current(known, now):
                principals[caller] = known
                continue
            drawn[caller] = ()
            if caller.secret_hash is not None:
                hashes.add(caller.secret_hash)
                beside.update(caller.named())
    secrets = (yield from lookup.secrets(hashes, beside)) if hashes else {}
    if dialect.locks:
        yield from lookup.read((GLOBAL,))
    found: dict[str, Found] = {}
    missing: set[str] = set()
    for report in reports:
        opened = lookup.open.pop(report.id, None)
        if opened is not None:
            found[report.id] = settle.opened(*opened)
        elif report.id not in found:
            missing.add(report.id)
    if missing:
        for row in (yield from among(_BY_ID, missing)):
            found[row[0]] = Found(row)
    ended = {name for one in found.values() for name, _ in one.draws}
    names = {GLOBAL, *ended}
    for caller in drawn:
        key = secrets[caller.secret_hash][0] if caller.secret_hash in secrets else None
        if key is not None or caller.secret_hash is None:
            drawn[caller] = drawn_on(key, caller)
            names.update(drawn[caller], *caller.candidates)
    if policy.end_user_budget and any(name.startswith("end_user:") for name in names):
        policy = yield from with_end_user_budget(policy, lookup)
        lookup.under(policy)
    if dialect.locks:
        # The statement that read accounts beside their key may have waited for another that made one of them.
        lookup.look_again(name for name in names if policy.limits(name) is not None)
    yield from lookup.read(names)
    books = Books(policy, now, lookup)
    outcomes = []
    for report in reports:
        outcomes.append((yield from books.settle(found.get(report.id), report)))
    results = []
    for request, caller in asked:
        who = principals.get(caller)
        if who is None:
            key, expires = secrets.get(caller.secret_hash or "", (None, None))
            who = principals[caller] = yield from books.principal(key, expires, caller, drawn[caller])
        results.append((yield from books.admit(who, request)))
    yield from books.write()
    if memory is not None:
        lookup.principals.update((caller, who) for caller, who in principals.items() if who.accounts)
        lookup.forget_accounts(books.unwritten)
        memory.keep(lookup)
    return {"ok": True, "outcomes": outcomes, "results": results, "ended": [*ended]}


def with_end_user_budget(policy: Policy, lookup: Lookup) -> Generator[Statement, list[Row], Policy]:
    """Returns the policy with the limits of the budget that it names for end users. If there is no such budget, they
    may spend nothing: a budget that was set has to hold."""
    found = yield from lookup.budget(policy.end_user_budget)
    limit = Limits(max_budget=0) if found is None else found
    return policy._replace(each_end_user=merged(limit, policy.each_end_user))


def _is_current(who: Principal, now: int) -> bool:
    """Whether its accounts are in their current periods."""
    for payer, limit in who.accounts if not who.candidates else chain(who.accounts, *who.candidates):
        if payer.start != periods.current(payer.start, limit.duration, now):
            return False
    return True


class _Payer(NamedTuple):
    """An account that pays for an ended request, None if it was deleted after its period. An alert may be due once its
    spending reaches `watched`."""

    account: Account | None
    limit: Limits
    watched: float


class Books:
    """The state of the accounts within a batch, and the pending writes."""

    def __init__(self, policy: Policy, now: int, lookup: Lookup) -> None:
        self._policy = policy
        self._now = now
        self._minute = now - now % periods.MINUTE
        self._lookup = lookup
        self._accounts = lookup.accounts
        self._terms = lookup.terms
        self._changed: set[str] = set()
        self._made: set[str] = set()
        self._payers: dict[tuple[str, str, str], list[_Payer]] = lookup.payers
        self._settled: set[str] = set()
        self._periods: list[tuple[str, int, int]] = []
        self._inserts: list[tuple[Any, ...]] = []
        self._updates: list[tuple[Any, ...]] = []
        self._others: list[tuple[str, str]] = []
        self._expired: list[tuple[Any, ...]] = []

    def principal(
        self, key: Key | None, expires: int | None, caller: Caller, names: Iterable[str]
    ) -> Generator[Statement, list[Row], Principal]:
        """Returns the principal of a caller, its accounts rolled into their current periods. `names`: from `drawn_on`,
        empty for an unknown key."""
        accounts: list[Payer] = []
        own = key_account(key.id) if key else ""
        for id in names:
            limit = key.limits if key is not None and id == own else self._limits(id)
            if limit is not None:
                payer = yield from self._current(id, limit)
                accounts.append((payer, limit))
        candidates: list[list[Payer]] = []
        for names in caller.candidates:
            some: list[Payer] = []
            for id in names:
                limit = self._limits(id)
                if limit is not None:
                    payer = yield from self._current(id, limit)
                    some.append((payer, limit))
            candidates.append(some)
        if not accounts:
            return Principal()
        return principal(key, expires, caller, accounts, candidates, self._terms)

    def _limits(self, id: str) -> Limits | None:
        """Returns the limits of an account other than a key's, None if the account does not exist."""
        given = self._policy.limits(id)
        terms = self._terms.get(id)
        if terms is None:
            return given
        return terms.limits if given is None else merged(terms.limits, given)

    def _current(self, id: str, limit: Limits) -> Generator[Statement, list[Row], Account]:
        """Returns the account, in its current period. It is written when it is first used."""
        payer = self._accounts.get(id)
        if payer is None:
            payer = self._accounts[id] = new_account(id, periods.start(limit.duration, self._now))
            self._made.add(id)
            self._lookup.changed()
        start = periods.current(payer.start, limit.duration, self._now)
        if payer.start != start:
            yield from self._roll(payer, start)
        return payer

    def _roll(self, payer: Account, start: int) -> Nothing:
        """Moves the account into the period that begins at `start` and archives the old period's spending. If the
        period is in the archive already, as after a clock moved back, it resumes from there."""
        self._periods.append((payer.id, payer.start, payer.spent))
        yield from self._write_lines()
        left = yield _TAKE_FROM_PERIOD, (payer.id, start)
        reserved = yield _reserved(payer.id, start)
        payer.start, payer.spent, payer.reserved = start, left[0][0] if left else 0, reserved[0][0]
        self._lookup.changed()
        self._changed.add(payer.id)

    def admit(self, who: Principal, request: AdmissionRequest) -> Steps:
        """Returns the request's result; see `batch`."""
        now, minute = self._now, self._minute
        request, output_limit = admit.lowered(who, request, now)
        refused, exhausted = admit.refusal_of(who, request, now)
        used_up = [exhausted] if exhausted else []
        drawn, passed_over = (), ()
        if who.candidates and not refused:
            drawn, passed_over, used_up, refused = admit.choice_of(who, request, now)
        for payer, limit in used_up:
            if payer.alerted_full != payer.start:
                yield self._exhausted(payer, who.named(payer.id), limit.max_budget or 0)
        if refused:
            return {**refused, "log_fields": {"model": request.model, "key_alias": who.who[1] or None}}
        answer = admit.admitted(who, request, now, output_limit, passed_over)
        row = admit.row_of(who, request, minute, now, drawn)
        self._inserts.append(row)
        self._lookup.remember(request.id, row, who.key)
        amount, tokens = request.amount or 0, request.tokens
        for payer, limit in (*who.accounts, *drawn):
            if not minute <= payer.minute <= minute + periods.SKEW:
                payer.minute, payer.requests, payer.tokens = minute, 0, 0
            payer.requests += 1
            payer.tokens += tokens
            payer.reserved += amount
            payer.parallel += 1
            self._changed.add(payer.id)
            if limit.soft_budget is not None:
                yield from self._alert_soft(payer, who.named(payer.id), limit)
        return answer

    def settle(self, request: Found | None, report: Report) -> Steps:
        """Returns the report's outcome; see `batch`."""
        outcome = settle.objection(request, report)
        if request is None or outcome:
            return outcome
        if report.id in self._settled:
            return "duplicate"
        self._settled.add(report.id)
        values = settle.reported(request, report, self._now)
        self._updates.append((*values, report.id))
        used = report.prompt_tokens + report.completion_tokens
        unused = settle.unused(request, report)
        if unused:
            left = [(name, start) for name, start in json.loads(request.others) if name not in unused]
            self._others.append((admit.others_of(left), request.id))
        payers, news = self._end(request, values[1], used - request.tokens, unused)
        if news:
            yield from self._alert_passed(request, payers)
        if report.attempts:
            from . import alerts

            yield from alerts.of_attempts(report.attempts, self._now)
        return "settled"

    def expire(self, request: Found) -> None:
        """Charges an open request in full until a report corrects it."""
        self._expired.append((request.amount, self._now, request.id))
        self._end(request, request.amount, 0)

    def _end(self, request: Found, charge: int, tokens: int, unused: Collection[str] = ()) -> tuple[list[_Payer], bool]:
        """Replaces what the request has reserved or been charged with `charge` nano-dollars, and adds `tokens` to its
        minute. Returns the accounts, and whether one of them has passed a budget. `unused`: accounts that are charged
        nothing."""
        release, slots = (request.amount, 1) if request.state == settle.OPEN else (0, 0)
        spend = charge - request.charged
        minute, news = request.minute, False
        payers = self._payers.get((request.key_id, request.user_id, request.others)) or self._paying(request)
        for (payer, _, watched), (_, admitted) in zip(payers, request.draws, strict=True):
            if payer is None:
                continue
            self._changed.add(payer.id)
            if payer.id in unused:
                self._release(payer, request, admitted, release, slots)
                continue
            if payer.start == admitted:
                payer.spent += spend
                payer.reserved -= release
            elif spend:
                self._periods.append((payer.id, admitted, spend))
            if payer.minute == minute:
                payer.tokens += tokens
            payer.total += spend
            payer.parallel -= slots
            news = news or payer.spent >= watched
        return payers, news

    def _release(self, payer: Account, request: Found, admitted: int, release: int, slots: int) -> None:
        """Returns what the account of a deployment that did not answer had reserved or been charged, and its place in
        the minute."""
        if payer.start == admitted:
            payer.spent -= request.charged
            payer.reserved -= release
        elif request.charged:
            self._periods.append((payer.id, admitted, -request.charged))
        if payer.minute == request.minute:
            payer.requests -= 1
            payer.tokens -= request.tokens
        payer.total -= request.charged
        payer.parallel -= slots

    def _paying(self, request: Found) -> list[_Payer]:
        """Returns the accounts of a request, for all requests that draw on the same ones."""
        payers = []
        own = key_account(request.key_id)
        for name, _ in request.draws:
            of_key = Limits(request.max_budget, request.soft_budget)
            limit = of_key if name == own else self._limits(name) or NO_LIMITS
            amounts = [amount for amount in (limit.soft_budget, limit.max_budget) if amount is not None]
            payer = self._accounts.get(name)
            payers.append(_Payer(payer, limit, min(amounts, default=inf)))
        self._payers[request.key_id, request.user_id, request.others] = payers
        return payers

    def _alert_passed(self, request: Found, payers: Iterable[_Payer]) -> Nothing:
        """Inserts alerts for budgets that were passed and have none yet."""
        for payer, limit, _ in payers:
            if payer is None:
                continue
            if _is_news(limit.soft_budget, payer, payer.alerted_soft) or _is_news(
                limit.max_budget, payer, payer.alerted_full
            ):
                terms = self._terms.get(payer.id)
                name = (terms and terms.alias) or kind_of(payer.id)[1]
                if payer.id == key_account(request.key_id):
                    rows = yield _KEY, (request.key_id,)
                    name = keys.key(rows[0]).name if rows else name  # a deleted key has none
                yield from self._alert_soft(payer, name, limit)
                yield from self._alert_exhausted(payer, name, limit)

    def _alert_soft(self, payer: Account, name: str, limit: Limits) -> Nothing:
        budget = limit.soft_budget
        if budget is not None and _is_news(budget, payer, payer.alerted_soft):
            from . import alerts

            self._changed.add(payer.id)
            yield alerts.soft(payer, name, budget, self._now)

    def _alert_exhausted(self, payer: Account, name: str, limit: Limits) -> Nothing:
        budget = limit.max_budget
        if budget is not None and _is_news(budget, payer, payer.alerted_full):
            yield self._exhausted(payer, name, budget)

    def _exhausted(self, payer: Account, name: str, budget: int) -> Statement:
        from . import alerts

        self._changed.add(payer.id)
        return alerts.exhausted(payer, name, budget, self._now)

    @property
    def unwritten(self) -> set[str]:
        """The ids of accounts that a refused request would have been the first to draw on."""
        return self._made - self._changed

    def write(self) -> Nothing:
        yield from self._write_lines()
        if self._changed:
            yield _WRITE, [_written(self._accounts[id]) for id in sorted(self._changed)]

    def _write_lines(self) -> Nothing:
        """Writes everything but the accounts, so that later reads see all decisions so far."""
        if self._updates:
            yield _SETTLE, self._updates
            self._updates = []
        if self._others:
            yield _OTHERS, self._others
            self._others = []
        if self._expired:
            yield _EXPIRE, self._expired
            self._expired = []
        if self._inserts:
            yield _INSERT, self._inserts
            self._inserts = []
        if self._periods:
            yield _ADD_TO_PERIOD, sorted(self._periods)
            self._periods = []


def _is_news(budget: int | None, payer: Account, alerted: int) -> bool:
    """Whether a budget was passed with no alert in this period. `alerted`: the period of the last alert."""
    return budget is not None and payer.spent >= budget and alerted != payer.start


def _reserved(account_id: str, start: int) -> Statement:
    """Sums what open requests reserve of an account in one period."""
    kind, _, name = account_id.partition(":")
    if kind == GLOBAL:
        condition, parameters = "global_start = ?", (start,)
    elif kind in ("key", "user"):
        condition, parameters = f"{kind}_start = ? AND {kind}_id = ?", (start, name)
    else:  # a quotation mark within an id is escaped, so this cannot be part of one
        condition, parameters = "REPLACE(others, ?, '') <> others", (admit.others_of([(account_id, start)])[1:-1],)
    total = "CAST(COALESCE(SUM(amount), 0) AS BIGINT)"
    return f"SELECT {total} FROM ledger_requests WHERE state = 0 AND {condition}", parameters
