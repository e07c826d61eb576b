"""Many at once, in one transaction: what has been reported, and then who wants to be let in.

What one request costs a database most is its commit, and its turn at the row of everyone's account. So a process that
has several requests at hand lets them take both together: the accounts are read once (on PostgreSQL locked, in the
order of their names), every report and every request is decided in turn on what the ones before it left, and all of
it is written at the end. The outcomes are those of `settle` and `admit`, one after another.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

from . import admit, alerts, keys, periods, settle
from .accounts import COLUMNS, GLOBAL, NAMES, Account, Limits, account, key_account, user_account
from .admit import Ask, Grant, granted
from .decision import Decision, Row, Statement, Steps
from .dialect import ADD_TO_PERIOD, TAKE_FROM_PERIOD, Dialect, held, marks
from .keys import Key
from .policy import Policy
from .settle import Found, Report

# As many reports as fit one turn in a Durable Object, whose SQL takes at most 100 parameters: each may have two
# accounts beside that of everyone, and lists of names are filled up to 64.
REPORTS_IN_AN_OBJECT = 31

_BY_SECRET = f"""SELECT s.hash, s.expires, {keys.COLUMNS}
FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id WHERE s.hash IN """
_BY_ID = f"""SELECT {settle.COLUMNS}, k.soft_budget, k.max_budget
FROM ledger_requests r LEFT JOIN ledger_keys k ON k.id = r.key_id WHERE r.id IN """
_STATES = "SELECT id, state, charged FROM ledger_requests WHERE id IN "
_ACCOUNTS = f"SELECT {COLUMNS} FROM ledger_accounts a WHERE a.id IN "
_WRITE = f"UPDATE ledger_accounts SET {', '.join(f'{name} = ?' for name in NAMES[1:])} WHERE id = ?"
_written = attrgetter(*NAMES[1:], "id")
_INSERT = (
    f"INSERT INTO ledger_requests ({', '.join((*admit.ROW, *admit.NEW))}) "
    f"VALUES ({marks(len(admit.ROW))}, {', '.join(map(repr, admit.NEW.values()))})"
)
_SETTLE = f"UPDATE ledger_requests SET {', '.join(f'{name} = ?' for name in settle.REPORTED)} WHERE id = ?"
_PERIOD = f"INSERT INTO ledger_periods (account, start, spent) VALUES (?, ?, ?) {ADD_TO_PERIOD}"


def turn(dialect: Dialect, policy: Policy, reports: Sequence[Report], asks: Sequence[Ask], now: int) -> Decision:
    """{"ok": True, "outcomes": [as `settle`], "results": [as `admit`]}, in the order of reports and asks.

    Reports and asks have ids of their own: none twice among the asks.
    """
    return Decision(_turn(dialect, policy, reports, asks, now), whole=True)


def _turn(dialect: Dialect, policy: Policy, reports: Sequence[Report], asks: Sequence[Ask], now: int) -> Steps:
    secrets: dict[str, tuple[Key, int | None]] = {}
    hashes = {ask.secret_hash for ask in asks if ask.secret_hash is not None}
    if hashes:
        for row in (yield _among(_BY_SECRET, hashes)):
            secrets[row[0]] = (keys.key(row[2:]), row[1])
    found: dict[str, Found] = {}
    if reports:
        for row in (yield _among(_BY_ID, {report.id for report in reports})):
            found[row[0]] = Found(*row)
    names = _accounts_of(found.values(), (key for key, _ in secrets.values()))
    sql, parameters = _among(_ACCOUNTS, names)
    rows = yield f"{sql} ORDER BY a.id{dialect.for_update}", parameters
    if found and dialect.for_update:
        # Whoever changes a request has its accounts locked, so that from here on nobody does.
        for id, state, charged in (yield _among(_STATES, found)):
            found[id] = found[id]._replace(state=state, charged=charged)
    book = _Book(policy, now, rows)
    outcomes = []
    for report in reports:
        outcomes.append((yield from book.settle(found.get(report.id), report)))
    grants: dict[str | None, Grant] = {}
    results = []
    for ask in asks:
        grant = grants.get(ask.secret_hash)
        if grant is None:
            grant = grants[ask.secret_hash] = yield from book.grant(ask.secret_hash, secrets)
        results.append((yield from book.admit(grant, ask)))
    yield from book.write()
    return {"ok": True, "outcomes": outcomes, "results": results}


def _accounts_of(found: Iterable[Found], of_keys: Iterable[Key]) -> set[str]:
    names = {GLOBAL}
    for one in found:
        names.update(one.accounts)
    for key in of_keys:
        names.add(key_account(key.id))
        if key.user_id:
            names.add(user_account(key.user_id))
    return names


def _among(sql: str, names: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """With the names as a list, filled up to a power of two, so that there are few different statements to prepare."""
    some = sorted(names)
    size = 1 << (len(some) - 1).bit_length()
    some += some[-1:] * (size - len(some))
    return f"{sql}({marks(size)})", tuple(some)


class _Payer(NamedTuple):
    """An account that a settled request draws on. `watched`: from so much spending on there may be something to tell;
    `limit` is what its budgets are."""

    account: Account
    limit: Limits
    watched: float


class _Book:
    """The accounts as they are while the turn goes on, and what is to be written."""

    def __init__(self, policy: Policy, now: int, rows: Iterable[Row]) -> None:
        self._policy = policy
        self._now = now
        self._minute = now - now % periods.MINUTE
        self._accounts = {row[0]: account(row) for row in rows}
        self._changed: set[str] = set()
        self._payers: dict[tuple[str, str], list[_Payer]] = {}
        self._settled: set[str] = set()
        self._periods: list[tuple[str, int, int]] = []
        self._inserts: list[tuple[Any, ...]] = []
        self._updates: list[tuple[Any, ...]] = []

    def grant(
        self, secret: str | None, secrets: Mapping[str, tuple[Key, int | None]]
    ) -> Generator[Statement, list[Row], Grant]:
        """Who asks, and the accounts that pay, each brought into its current period: for all who ask with it."""
        if secret is not None and secret not in secrets:
            return Grant()
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
        return granted(key, expires, accounts)

    def _roll(self, payer: Account, start: int) -> Generator[Statement, list[Row], None]:
        """As `Dialect.roll`."""
        self._periods.append((payer.id, payer.start, payer.spent))
        yield from self._write_lines()
        left = yield TAKE_FROM_PERIOD, (payer.id, start)
        reserved = yield held(payer.id, start)
        payer.start, payer.spent, payer.reserved = start, left[0][0] if left else 0, reserved[0][0]
        self._changed.add(payer.id)

    def admit(self, grant: Grant, ask: Ask) -> Steps:
        now, minute = self._now, self._minute
        refused, exhausted = admit.refusal_of(grant, ask, now)
        if refused:
            if exhausted:
                payer = exhausted[0]
                yield from alerts.exhausted(grant.key, *exhausted, now)
                payer.alerted_full = payer.start
                self._changed.add(payer.id)
            return refused
        answer = admit.admitted(grant, ask, now)
        self._inserts.append(admit.row_of(grant, ask, minute, now))
        amount, tokens = ask.amount or 0, ask.tokens
        for payer, limit in grant.accounts:
            if not minute <= payer.minute <= minute + periods.SKEW:
                payer.minute, payer.requests, payer.tokens = minute, 0, 0
            payer.requests += 1
            payer.tokens += tokens
            payer.reserved += amount
            payer.parallel += 1
            self._changed.add(payer.id)
            if limit.soft_budget is not None:
                yield from self._alert(grant.key, payer, limit, full=False)
        return answer

    def settle(self, request: Found | None, report: Report) -> Steps:
        outcome = settle.objection(request, report)
        if request is None or outcome:
            return outcome
        if report.id in self._settled:
            return "duplicate"
        self._settled.add(report.id)
        values = settle.reported(request, report, self._now)
        self._updates.append((*values, report.id))
        release, slots = (request.amount, 1) if request.state == settle.OPEN else (0, 0)
        spend = values[1] - request.charged
        tokens = report.prompt_tokens + report.completion_tokens - request.tokens
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
        if news:
            yield from self._tell(request, payers)
        return "settled"

    def _paying(self, request: Found) -> list[_Payer]:
        """The accounts of a request, for all that have the same."""
        budgets = settle.limits_of(self._policy, request)
        payers = []
        for name in request.accounts:
            limit = budgets[name]
            marks = [amount for amount in (limit.soft_budget, limit.max_budget) if amount is not None]
            payers.append(_Payer(self._accounts[name], limit, min(marks, default=inf)))
        self._changed.update(request.accounts)
        self._payers[request.key_id, request.user_id] = payers
        return payers

    def _tell(self, request: Found, payers: Iterable[_Payer]) -> Steps:
        """Of budgets that have been passed, where nobody has been told."""
        for payer, limit, _ in payers:
            if _is_news(payer, limit):
                key = yield from settle.key_of(request)
                yield from self._alert(key, payer, limit, full=True)

    def _alert(self, key: Key | None, payer: Account, limit: Limits, *, full: bool) -> Steps:
        yield from alerts.soft(key, [(payer, limit)], self._now)
        if limit.soft_budget is not None and payer.spent >= limit.soft_budget:
            payer.alerted_soft = payer.start
        if full and limit.max_budget is not None and payer.spent >= limit.max_budget:
            yield from alerts.exhausted(key, payer, limit, self._now)
            payer.alerted_full = payer.start

    def write(self) -> Steps:
        yield from self._write_lines()
        if self._changed:
            yield _WRITE, [_written(self._accounts[id]) for id in sorted(self._changed)]

    def _write_lines(self) -> Generator[Statement, list[Row], None]:
        """All but the accounts, so that what is read next is as it has been decided so far."""
        if self._updates:
            yield _SETTLE, self._updates
        if self._inserts:
            yield _INSERT, self._inserts
        if self._periods:
            yield _PERIOD, sorted(self._periods)
        self._updates, self._inserts, self._periods = [], [], []


def _is_news(a: Account, limit: Limits) -> bool:
    """Whether a budget has been passed that nobody has been told of."""
    soft = limit.soft_budget is not None and a.spent >= limit.soft_budget and a.alerted_soft != a.start
    return soft or (limit.max_budget is not None and a.spent >= limit.max_budget and a.alerted_full != a.start)
