"""Admission and settlement: one transaction for any number of reports and requests.

A transaction costs the database a commit and a lock on the global account, whatever it contains, so a process batches
all the requests it has at hand. A batch reads the accounts once, decides every report and then every request on top of
the previous decisions, and writes everything at the end.

On PostgreSQL the global account is locked first and until the commit. Everything that changes an account or the state
of a request takes the same lock, so rows read after it stay current.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

from ..values import periods
from . import admit, alerts, keys, settle
from .accounts import COLUMNS, GLOBAL, NAMES, Account, Limits, Policy, key_account, user_account
from .admit import AdmissionRequest, Principal, principal
from .decision import Decision, Row, Statement, Steps
from .dialect import Dialect, marks
from .key_fields import Key
from .settle import Found, Report

# Names per statement: a Durable Object's SQL accepts at most 100 parameters.
_MOST_NAMES = 64
_SECRETS = f"SELECT s.hash, s.expires, {keys.COLUMNS}"
_OF_SECRETS = "FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id"
_BY_SECRET = f"{_SECRETS} {_OF_SECRETS} WHERE s.hash IN "
# A key and the accounts that pay for it, in one statement instead of two.
_WITH_ACCOUNTS = f"""{_SECRETS}, {COLUMNS} {_OF_SECRETS}
JOIN ledger_accounts a ON a.id IN ('{GLOBAL}', 'key:' || k.id, 'user:' || k.user_id) WHERE s.hash = ?"""
_BY_ID = f"""SELECT {settle.COLUMNS}, k.soft_budget, k.max_budget
FROM ledger_requests r LEFT JOIN ledger_keys k ON k.id = r.key_id WHERE r.id IN """
_ACCOUNTS = f"SELECT {COLUMNS} FROM ledger_accounts a WHERE a.id IN "
_KEY = f"SELECT {keys.COLUMNS} FROM ledger_keys k WHERE k.id = ?"
# An upsert, so that several rows fit into one statement (see `runtime.sql`). Accounts are never deleted.
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
_EXPIRE = f"UPDATE ledger_requests SET state = {settle.EXPIRED}, charged = ?, settled = ?, estimated = 1 WHERE id = ?"
_ADD_TO_PERIOD = (
    "INSERT INTO ledger_periods (account, start, spent) VALUES (?, ?, ?) "
    "ON CONFLICT (account, start) DO UPDATE SET spent = ledger_periods.spent + excluded.spent"
)
_TAKE_FROM_PERIOD = "DELETE FROM ledger_periods WHERE account = ? AND start = ? RETURNING spent"

Rows = Generator[Statement, list[Row], list[Row]]
Nothing = Generator[Statement, list[Row], None]
Secrets = dict[str, tuple[Key, int | None]]


def batch(
    dialect: Dialect, policy: Policy, reports: Sequence[Report], requests: Sequence[AdmissionRequest], now: int
) -> Decision:
    """Returns {"ok": True, "outcomes": [one per report], "results": [one per request], "ended": the accounts whose
    requests the reports are about}, outcomes and results in order. Request ids must be unique.

    An outcome is "settled" or a value of `settle.objection`. A result is a refusal or `admit.UNSIZED`, both with
    "log_fields" (the model and the key's alias), or {"ok": True, "reservation", "key_id", "key_alias", "user_id",
    "models", "expires", "limited", "headers"}. `models`: those the key may use, a JSON list, empty for all. `limited`:
    a budget or a token limit applies, so the request must be sent with the output limit it was reserved with. If that
    limit was lowered to fit, the result also has "output_limit" and the "amount" that is reserved with it; nothing
    above that limit may be sent.
    """
    return Decision(_batch(dialect, policy, reports, requests, now), whole=True)


def _batch(
    dialect: Dialect, policy: Policy, reports: Sequence[Report], requests: Sequence[AdmissionRequest], now: int
) -> Steps:
    accounts: dict[str, Account] = {}
    secrets = yield from _read_secrets(dialect, requests, accounts)
    if dialect.locks:
        yield from read_accounts(dialect, (GLOBAL,), accounts)
    found: dict[str, Found] = {}
    if reports:
        for row in (yield from _among(_BY_ID, {report.id for report in reports})):
            found[row[0]] = Found(*row)
    ended = {name for one in found.values() for name in one.accounts}
    names = {GLOBAL, *ended}
    for key, _ in secrets.values():
        names.add(key_account(key.id))
        if key.user_id:
            names.add(user_account(key.user_id))
    yield from read_accounts(dialect, names, accounts)
    books = Books(policy, now, accounts)
    outcomes = []
    for report in reports:
        outcomes.append((yield from books.settle(found.get(report.id), report)))
    principals: dict[str | None, Principal] = {}
    results = []
    for request in requests:
        who = principals.get(request.secret_hash)
        if who is None:
            who = principals[request.secret_hash] = yield from books.principal(request.secret_hash, secrets)
        results.append((yield from books.admit(who, request)))
    yield from books.write()
    return {"ok": True, "outcomes": outcomes, "results": results, "ended": [*ended]}


def _read_secrets(
    dialect: Dialect, requests: Iterable[AdmissionRequest], accounts: dict[str, Account]
) -> Generator[Statement, list[Row], Secrets]:
    """Returns the presented keys by their secrets' hashes. If there is only one, also reads its accounts."""
    hashes = {request.secret_hash for request in requests if request.secret_hash is not None}
    secrets: Secrets = {}
    if len(hashes) == 1:
        end = 2 + keys.COLUMN_COUNT
        for row in (yield _WITH_ACCOUNTS + dialect.for_update, tuple(hashes)):
            if not secrets:
                secrets[row[0]] = keys.key(row[2:end]), row[1]
            accounts[row[end]] = Account(row[end:])
    elif hashes:
        for row in (yield from _among(_BY_SECRET, hashes)):
            secrets[row[0]] = keys.key(row[2:]), row[1]
    return secrets


def read_accounts(dialect: Dialect, names: Iterable[str], accounts: dict[str, Account]) -> Nothing:
    """Reads the accounts missing from `accounts` and locks them if the dialect does. Lock the global one first."""
    missing = [name for name in names if name not in accounts]
    if missing:
        for row in (yield from _among(_ACCOUNTS, missing, dialect.for_update)):
            accounts[row[0]] = Account(row)


def _among(sql: str, names: Iterable[str], end: str = "") -> Rows:
    """Runs a SELECT with an IN list of names. Lists are padded to a power of two to limit the number of distinct
    prepared statements."""
    some = sorted(names)
    rows: list[Row] = []
    for first in range(0, len(some), _MOST_NAMES):
        part = some[first : first + _MOST_NAMES]
        size = 1 << (len(part) - 1).bit_length()
        part += part[-1:] * (size - len(part))
        rows += yield f"{sql}({marks(size)}){end}", tuple(part)
    return rows


class _Payer(NamedTuple):
    """An account that pays for an ended request. An alert may be due once its spending reaches `watched`."""

    account: Account
    limit: Limits
    watched: float


class Books:
    """The state of the accounts within a batch, and the pending writes."""

    def __init__(self, policy: Policy, now: int, accounts: Mapping[str, Account]) -> None:
        self._policy = policy
        self._now = now
        self._minute = now - now % periods.MINUTE
        self._accounts = accounts
        self._changed: set[str] = set()
        self._payers: dict[tuple[str, str], list[_Payer]] = {}
        self._settled: set[str] = set()
        self._periods: list[tuple[str, int, int]] = []
        self._inserts: list[tuple[Any, ...]] = []
        self._updates: list[tuple[Any, ...]] = []
        self._expired: list[tuple[Any, ...]] = []

    def principal(self, secret: str | None, secrets: Secrets) -> Generator[Statement, list[Row], Principal]:
        """Returns the principal for this secret (None: the master key), its accounts rolled into their current
        periods."""
        if secret is not None and secret not in secrets:
            return Principal()
        key, expires = (None, None) if secret is None else secrets[secret]
        policy = self._policy
        paying = [(GLOBAL, policy.everyone)]
        if key and key.user_id:
            paying.insert(0, (user_account(key.user_id), policy.user(key.user_id)))
        if key:
            paying.insert(0, (key_account(key.id), key.limits))
        accounts = []
        for id, limit in paying:
            payer = self._accounts[id]
            start = periods.current(payer.start, limit.duration, self._now)
            if payer.start != start:
                yield from self._roll(payer, start)
            accounts.append((payer, limit))
        return principal(key, expires, accounts)

    def _roll(self, payer: Account, start: int) -> Nothing:
        """Moves the account into the period that begins at `start` and archives the old period's spending. If the
        period is in the archive already, as after a clock moved back, it resumes from there."""
        self._periods.append((payer.id, payer.start, payer.spent))
        yield from self._write_lines()
        left = yield _TAKE_FROM_PERIOD, (payer.id, start)
        reserved = yield _reserved(payer.id, start)
        payer.start, payer.spent, payer.reserved = start, left[0][0] if left else 0, reserved[0][0]
        self._changed.add(payer.id)

    def admit(self, who: Principal, request: AdmissionRequest) -> Steps:
        """Returns the request's result; see `batch`."""
        now, minute = self._now, self._minute
        request, output_limit = admit.lowered(who, request, now)
        refused, exhausted = admit.refusal_of(who, request, now)
        if refused:
            if exhausted and exhausted[0].alerted_full != exhausted[0].start:
                payer, limit = exhausted
                yield alerts.exhausted(who.key, payer, limit.max_budget or 0, now)
                self._changed.add(payer.id)
            return {**refused, "log_fields": {"model": request.model, "key_alias": who.who[1] or None}}
        answer = admit.admitted(who, request, now, output_limit)
        self._inserts.append(admit.row_of(who, request, minute, now))
        amount, tokens = request.amount or 0, request.tokens
        for payer, limit in who.accounts:
            if not minute <= payer.minute <= minute + periods.SKEW:
                payer.minute, payer.requests, payer.tokens = minute, 0, 0
            payer.requests += 1
            payer.tokens += tokens
            payer.reserved += amount
            payer.parallel += 1
            self._changed.add(payer.id)
            if limit.soft_budget is not None:
                yield from self._alert_soft(who.key, payer, limit)
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
        payers, news = self._end(request, values[1], used - request.tokens)
        if news:
            yield from self._alert_passed(request, payers)
        return "settled"

    def expire(self, request: Found) -> None:
        """Charges an open request in full until a report corrects it."""
        self._expired.append((request.amount, self._now, request.id))
        self._end(request, request.amount, 0)

    def _end(self, request: Found, charge: int, tokens: int) -> tuple[list[_Payer], bool]:
        """Replaces what the request has reserved or been charged with `charge` nano-dollars, and adds `tokens` to its
        minute. Returns the accounts, and whether one of them has passed a budget."""
        release, slots = (request.amount, 1) if request.state == settle.OPEN else (0, 0)
        spend = charge - request.charged
        minute, news = request.minute, False
        payers = self._payers.get((request.key_id, request.user_id)) or self._paying(request)
        for (payer, _, watched), admitted in zip(payers, request.starts, strict=True):
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

    def _paying(self, request: Found) -> list[_Payer]:
        """Returns the accounts of a request, cached for all requests with the same key and user."""
        budgets = settle.limits_of(self._policy, request)
        payers = []
        for name in request.accounts:
            limit = budgets[name]
            amounts = [amount for amount in (limit.soft_budget, limit.max_budget) if amount is not None]
            payers.append(_Payer(self._accounts[name], limit, min(amounts, default=inf)))
        self._changed.update(request.accounts)
        self._payers[request.key_id, request.user_id] = payers
        return payers

    def _alert_passed(self, request: Found, payers: Iterable[_Payer]) -> Nothing:
        """Inserts alerts for budgets that were passed and have none yet."""
        for payer, limit, _ in payers:
            if _is_news(limit.soft_budget, payer, payer.alerted_soft) or _is_news(
                limit.max_budget, payer, payer.alerted_full
            ):
                rows = yield _KEY, (request.key_id,)
                key = keys.key(rows[0]) if rows else None  # None: the master key or a deleted key
                yield from self._alert_soft(key, payer, limit)
                yield from self._alert_exhausted(key, payer, limit)

    def _alert_soft(self, key: Key | None, payer: Account, limit: Limits) -> Nothing:
        budget = limit.soft_budget
        if budget is not None and _is_news(budget, payer, payer.alerted_soft):
            yield alerts.soft(key, payer, budget, self._now)
            self._changed.add(payer.id)

    def _alert_exhausted(self, key: Key | None, payer: Account, limit: Limits) -> Nothing:
        budget = limit.max_budget
        if budget is not None and _is_news(budget, payer, payer.alerted_full):
            yield alerts.exhausted(key, payer, budget, self._now)
            self._changed.add(payer.id)

    def write(self) -> Nothing:
        yield from self._write_lines()
        if self._changed:
            yield _WRITE, [_written(self._accounts[id]) for id in sorted(self._changed)]

    def _write_lines(self) -> Nothing:
        """Writes everything but the accounts, so that later reads see all decisions so far."""
        for sql, lines in ((_SETTLE, self._updates), (_EXPIRE, self._expired), (_INSERT, self._inserts)):
            if lines:
                yield sql, lines
        if self._periods:
            yield _ADD_TO_PERIOD, sorted(self._periods)
        self._updates, self._expired, self._inserts, self._periods = [], [], [], []


def _is_news(budget: int | None, payer: Account, alerted: int) -> bool:
    """Whether a budget was passed with no alert in this period. `alerted`: the period of the last alert."""
    return budget is not None and payer.spent >= budget and alerted != payer.start


def _reserved(account_id: str, start: int) -> Statement:
    """Sums what open requests reserve of an account in one period."""
    kind, _, name = account_id.partition(":")
    whose = "" if kind == GLOBAL else f" AND {kind}_id = ?"
    total = "CAST(COALESCE(SUM(amount), 0) AS BIGINT)"
    sql = f"SELECT {total} FROM ledger_requests WHERE state = 0 AND {kind}_start = ?{whose}"
    return sql, (start,) if kind == GLOBAL else (start, name)
