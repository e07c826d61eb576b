"""May this request go out, and what is set aside for it: one call that checks everything and reserves.

In the order of the checks: the key (401), its models (403), a price under a budget (400), rate limits and budgets
(429), the key's before its user's before everyone's. A request is counted when it is let in and not before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from . import alerts, keys, limits, periods, refusal, tags
from .accounts import (
    COLUMN_COUNT,
    COLUMNS,
    GLOBAL,
    Account,
    Limits,
    account,
    guard,
    key_account,
    user_account,
)
from .decision import Decision, Steps
from .dialect import Dialect
from .keys import Key
from .policy import Policy

# Of a key that is blocked, expired or replaced, too: whoever guesses shall not learn that there is such a key.
_NOT_VALID = "This API key is not valid here."
# On PostgreSQL every lost race means that another request went through, so this many in a row are an overload.
_TRIES = 64

_BY_SECRET = f"""SELECT {keys.COLUMNS}, s.expires, {COLUMNS}
FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id
JOIN ledger_accounts a ON a.id IN ('{GLOBAL}', 'key:' || k.id, 'user:' || k.user_id) WHERE s.hash = ?"""
_EVERYONE = f"SELECT {COLUMNS} FROM ledger_accounts a WHERE a.id = '{GLOBAL}'"


class Ask(NamedTuple):
    """A request that wants to be let in.

    `id`: new and unique; the reservation's name. `secret_hash`: of the key presented, None for the master key.
    `amount`: the most it can cost, in nano-dollars; None where nobody knows, and then `unpriced` says why and what
    mends it. `tokens`: the most it can use, prompt and answer. `instance`: of the container that will get it, '' while
    that is not known. `lease`: milliseconds until the reservation expires unless it is renewed or settled.
    `request_id`: what the client calls the request, '' where it goes by `id`; others may use the same. `tags`: of the
    request, as `tags.of_request` finds them.
    """

    id: str
    secret_hash: str | None
    model: str
    endpoint: str
    amount: int | None
    tokens: int
    instance: str
    lease: int
    unpriced: str = ""
    sized: bool = True
    request_id: str = ""
    tags: str = ""


# The answer to a request that has to be sized first, and asked for again.
UNSIZED = {"ok": False, "unsized": True}


Payer = tuple[Account, Limits]


class Grant(NamedTuple):
    """Who asks, and the accounts that pay, in the order of checks: the key's, the user's, everyone's; none for a key
    that there is not. `rated` and `budgeted`: those of them with such limits; `limited`: a budget or a limit on tokens
    applies. `who` and `starts`: the request's columns that follow from them."""

    key: Key | None = None
    secret_expires: int | None = None
    accounts: Sequence[Payer] = ()
    rated: Sequence[Payer] = ()
    budgeted: Sequence[Payer] = ()
    limited: bool = False
    who: tuple[str, str, str] = ("", "", "")
    starts: tuple[int, int, int] = (0, 0, 0)


def granted(key: Key | None, secret_expires: int | None, accounts: Sequence[Payer]) -> Grant:
    """`accounts`: in their current periods."""
    rated = [one for one in accounts if one[1][-3:] != (None, None, None)]
    budgeted = [one for one in accounts if one[1].max_budget is not None]
    everyone = accounts[-1][0].start
    return Grant(
        key,
        secret_expires,
        accounts,
        rated,
        budgeted,
        limited=bool(budgeted) or any(limit.tpm is not None for _, limit in rated),
        who=(key.id, key.name, key.user_id) if key else ("", "", ""),
        starts=(everyone, accounts[0][0].start if key else 0, accounts[1][0].start if key and key.user_id else 0),
    )


def admit(dialect: Dialect, policy: Policy, ask: Ask, now: int) -> Decision:
    """{"ok": True, "reservation", "key_id", "key_alias", "user_id", "models", "expires", "limited", "headers"} or a
    refusal.

    `models`: those that the key may use, a JSON list, empty for all. `limited`: a budget or a limit on tokens applies,
    so the request has to be sent with the output limit that it was reserved with.
    """
    return Decision(_admit(dialect, policy, ask, now))


def authenticate(secret_hash: str, now: int) -> Decision:
    """Whether a key is valid, without letting anything in: {"ok": True, "key_id", "key_alias", "user_id", "models"}.

    An empty list of models means all of them.
    """
    return Decision(_authenticate(secret_hash, now))


def _authenticate(secret_hash: str, now: int) -> Steps:
    grant = yield from _read(Policy(), secret_hash)
    refused = _key_refusal(grant, now)
    if refused or grant.key is None:
        return refused
    shown = keys.shown(grant.key, secret_hash, None, now)
    key = grant.key
    return {"ok": True, "key_id": key.id, "key_alias": key.name, "user_id": key.user_id, "models": shown["models"]}


def _admit(dialect: Dialect, policy: Policy, ask: Ask, now: int) -> Steps:
    for _ in range(_TRIES):
        grant = yield from _read(policy, ask.secret_hash)
        rolled = False
        for payer, limit in grant.accounts:
            start = periods.current(payer.start, limit.duration, now)
            if payer.start != start:
                yield from dialect.roll(payer.id, payer.start, start)
                rolled = True
        if rolled:
            continue
        refused, exhausted = refusal_of(grant, ask, now)
        if refused:
            if exhausted:
                yield from alerts.exhausted(grant.key, *exhausted, now)
            return refused
        amount = ask.amount or 0
        minute = now - now % periods.MINUTE
        guards = sorted(guard(payer, limit) for payer, limit in grant.accounts)
        row = (*zip(ROW, row_of(grant, ask, minute, now), strict=True), *NEW.items())
        moved = yield from dialect.admit(guards, amount, ask.tokens, minute, row)
        if moved is None:
            continue
        yield from alerts.soft(grant.key, grant.accounts, now)
        return admitted(grant, ask, now)
    return refusal.unavailable("The ledger is too busy to let this request in.")


def _read(policy: Policy, secret_hash: str | None) -> Steps:
    if secret_hash is None:
        rows = yield _EVERYONE, ()
        return granted(None, None, [(account(rows[0]), policy.everyone)])
    rows = yield _BY_SECRET, (secret_hash,)
    if not rows:
        return Grant()
    key = keys.key(rows[0][: keys.COLUMN_COUNT])
    found = {row[keys.COLUMN_COUNT + 1]: account(row[keys.COLUMN_COUNT + 1 :][:COLUMN_COUNT]) for row in rows}
    accounts = [(found[key_account(key.id)], key.limits)]
    if key.user_id:
        accounts.append((found[user_account(key.user_id)], policy.user(key.user_id)))
    accounts.append((found[GLOBAL], policy.everyone))
    return granted(key, rows[0][keys.COLUMN_COUNT], accounts)


def _key_refusal(grant: Grant, now: int) -> refusal.Result | None:
    if not grant.accounts:
        return refusal.unauthenticated(_NOT_VALID)
    key = grant.key
    if key is None:
        return None
    if key.blocked:
        return refusal.unauthenticated(_NOT_VALID)
    if key.expires is not None and key.expires <= now:
        return refusal.unauthenticated(_NOT_VALID)
    if grant.secret_expires is not None and grant.secret_expires <= now:
        return refusal.unauthenticated(_NOT_VALID)
    return None


def refusal_of(grant: Grant, ask: Ask, now: int) -> tuple[refusal.Result | None, tuple[Account, Limits] | None]:
    """Why the request may not go out, None when it may; and the account whose budget is used up, to tell of it."""
    refused = _key_refusal(grant, now)
    if refused:
        return refused, None
    if grant.key and not keys.allows(grant.key.models, ask.model):
        return refusal.model_refused(ask.model), None
    if not ask.sized and grant.limited:
        return UNSIZED, None
    if ask.amount is None and grant.budgeted:
        return refusal.invalid(ask.unpriced, "model", "price_unknown"), None
    amount, tokens = ask.amount or 0, ask.tokens
    for payer, limit in grant.rated:
        refused = limits.rate(payer, limit, tokens, now)
        if refused:
            return _with_limits(refused, grant, ask, now), None
    if amount > limits.MOST_AT_ONCE:
        return _with_limits(limits.too_expensive(amount), grant, ask, now), None
    for payer, limit in grant.budgeted:
        refused = limits.budget(payer, limit, grant.key, amount, now)
        if refused:
            used_up = "soon" not in refused and limits.fits_an_empty_budget(limit, amount)
            exhausted = (payer, limit) if used_up else None
            return _with_limits(refused, grant, ask, now), exhausted
    return None, None


def _with_limits(refused: refusal.Result, grant: Grant, ask: Ask, now: int) -> refusal.Result:
    refused["headers"] = [*_headers(grant, ask, now, admitted=False), *refused["headers"]]
    return refused


ROW = (
    "id instance key_id key_alias user_id model endpoint amount tokens minute global_start key_start user_start "
    "created expires request_id tags"
).split()
# The other columns of a new request, the same for all.
NEW: dict[str, int | str] = {
    "state": 0,
    "charged": 0,
    "answered_by": "",
    "deployment": "",
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "estimated": 0,
}


def row_of(grant: Grant, ask: Ask, minute: int, now: int) -> tuple[Any, ...]:
    """The new request's values of the columns ROW."""
    id, _, model, endpoint, amount, tokens, instance, lease, _, _, request_id, own = ask
    return (
        id,
        instance,
        *grant.who,
        model,
        endpoint,
        amount or 0,
        tokens,
        minute,
        *grant.starts,
        now,
        now + lease,
        request_id,
        tags.together(grant.key.tags if grant.key else "[]", own),
    )


def _headers(grant: Grant, ask: Ask, now: int, *, admitted: bool) -> list[list[str]]:
    """The key's limits; a request that was let in has been counted."""
    own, limit = grant.accounts[0]
    if grant.key is None or (limit.rpm is None and limit.tpm is None):
        return []
    return limits.headers(own, limit, 1 if admitted else 0, ask.tokens if admitted else 0, now)


def admitted(grant: Grant, ask: Ask, now: int) -> dict[str, Any]:
    """What `admit` answers to a request that it lets in; the accounts are still those that it found."""
    key_id, key_alias, user_id = grant.who
    return {
        "ok": True,
        "reservation": ask.id,
        "key_id": key_id,
        "key_alias": key_alias,
        "user_id": user_id,
        "models": grant.key.models if grant.key else "[]",
        "expires": now + ask.lease,
        "limited": grant.limited,
        "headers": _headers(grant, ask, now, admitted=True),
    }
