"""The accounts that a request draws on: their counters, their limits, and whether a request fits into them.

Everyone's, its key's and its user's account always exist. Those of a team, an end user, a tag, a provider or a
deployment exist if they have an owner's row (see `owners`) or a limit in the configuration.

Limits are budgets, requests and tokens per minute, and parallel requests. Minutes are clock minutes. Tokens count at
their maximum when a request is admitted, and are corrected when it ends.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from ..values import periods
from ..values.money import NANO, OutputSteps, usd
from . import decision
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


Headers = list[list[str]]
# Returns how a message names the owner of an account, such as "of the key 'bot'".
Whose = Callable[[str], str]
# More than any model's largest response costs. The cap keeps a single request from exhausting the counters' range.
MOST_AT_ONCE = 1_000 * NANO

# Whose spending a refusal may tell. That of the others is the spending of other people's keys.
_OWN = ("key:", "user:", "global")


def money_left(budgeted: Sequence[tuple[Account, Limits]]) -> int | None:
    """Returns the nano-dollars left in all of these accounts' budgets, None if there is no budget."""
    return min([(limit.max_budget or 0) - payer.spent - payer.reserved for payer, limit in budgeted], default=None)


def tokens_for(
    rated: Sequence[tuple[Account, Limits]], steps: OutputSteps, now: int, *, without_limit: bool
) -> int | None:
    """Returns the most tokens that the request's output limit may come to, None if that is not limited.

    A limit of a client's own is only lowered if it does not fit into a whole minute; otherwise the request can wait for
    the next one. A request `without_limit` takes no more than a quarter of a minute, because it will rarely need what
    its model could write, and would keep out all others.
    """
    least, wanted, most = steps[0][2], steps[-1][2], None
    for payer, limit in rated:
        tpm = limit.tpm
        if tpm is None or (wanted <= tpm and not without_limit):
            continue
        left = tpm - _used(payer, now)[1]
        if without_limit:
            left = min(left, max(tpm // 4, least))
        most = left if most is None else min(most, left)
    return most


def rate_refusal(account: Account, limit: Limits, tokens: int, now: int, whose: Whose) -> decision.Result | None:
    """Returns a refusal if the request exceeds a rate limit."""
    _, _, _, rpm, tpm, parallel = limit
    if rpm is not None or tpm is not None:
        used_requests, used_tokens = _used(account, now)
        if rpm is not None and used_requests >= rpm:
            return decision.rate_limited(
                f"Limit of {rpm} requests a minute{_of(account, whose)} reached.", _seconds_left(now)
            )
        if tpm is not None and tokens > tpm:
            message = (
                f"This request may use {tokens} tokens, and the limit{_of(account, whose)} is {tpm} a minute: "
                "send a smaller max_tokens or a shorter prompt."
            )
            return decision.rate_limited(message, _seconds_left(now), [["x-should-retry", "false"]])
        if tpm is not None and used_tokens + tokens > tpm:
            used = f"{used_tokens} used, and " if account.id.startswith(_OWN) else ""
            message = f"Limit of {tpm} tokens a minute{_of(account, whose)}: {used}this request may use {tokens}."
            return decision.rate_limited(message, _seconds_left(now))
    if parallel is not None and account.parallel >= parallel:
        message = f"Limit of {parallel} requests at a time{_of(account, whose)} reached."
        return decision.soon(decision.rate_limited(message, 1), account.id)
    return None


def budget_refusal(
    account: Account, limit: Limits, amount: int, now: int, whose: Whose, *, lowest: int | None = None
) -> decision.Result | None:
    """Returns a refusal if the budget is too small. `lowest`: the output limit that `amount` is for, if it is lower
    than what the request asks for."""
    most = limit.max_budget
    if most is None or account.spent + account.reserved + amount <= most:
        return None
    end = periods.end(limit.duration, now)
    running = f"{account.parallel} running request{'' if account.parallel == 1 else 's'}"
    held = f", ${usd(account.reserved):.6f} is reserved by {running}" if account.reserved else ""
    cost = f"${usd(amount):.6f}" + ("" if lowest is None else f" even with an output limit of {lowest} tokens")
    so_far = f"${usd(account.spent):.6f} of ${usd(most):.6f} is spent{held}, and this request may cost {cost}."
    if not account.id.startswith(_OWN):
        so_far = f"this request may cost {cost}."
    if account.spent + amount <= most:
        message = f"The rest of the budget {whose(account.id)} is held by requests that still run: {so_far}"
        return decision.soon(decision.budget_held(message), account.id)
    until = "" if end is None else f" It resets at {periods.iso(end)}."
    message = f"The budget {whose(account.id)} is exhausted: {so_far}{until}"
    return decision.budget_exceeded(message, None if end is None else max(1, -((now - end) // 1000)))


def too_expensive(amount: int) -> decision.Result:
    """Refuses an amount over MOST_AT_ONCE."""
    message = f"This request may cost ${usd(amount):.2f}; the maximum for one request is ${usd(MOST_AT_ONCE):.0f}."
    return decision.invalid(f"{message} Send a smaller max_tokens or n.", "max_tokens", "too_expensive")


def fits_an_empty_budget(limit: Limits, amount: int) -> bool:
    """Whether the request could ever be admitted. If not, its refusal does not mean that the budget is exhausted."""
    return limit.max_budget is not None and amount <= limit.max_budget


def limit_headers(account: Account, limit: Limits, requests: int, tokens: int, now: int) -> Headers:
    """Returns `x-ratelimit-*` headers with what remains after `requests` and `tokens` more."""
    used_requests, used_tokens = _used(account, now)
    reset = f"{_seconds_left(now)}s"
    result: Headers = []
    if limit.rpm is not None:
        result += _left("requests", limit.rpm, used_requests + requests, reset)
    if limit.tpm is not None:
        result += _left("tokens", limit.tpm, used_tokens + tokens, reset)
    return result


def _left(kind: str, most: int, used: int, reset: str) -> Headers:
    return [
        [f"x-ratelimit-limit-{kind}", str(most)],
        [f"x-ratelimit-remaining-{kind}", str(most - used if used < most else 0)],
        [f"x-ratelimit-reset-{kind}", reset],
    ]


def _of(account: Account, whose: Whose) -> str:
    """Names the owner, unless it is the key that the client has."""
    return "" if account.id.startswith("key:") else f" {whose(account.id)}"


def _used(account: Account, now: int) -> tuple[int, int]:
    """Returns the requests and tokens of this minute. Another replica's clock may be slightly ahead."""
    minute = now - now % periods.MINUTE
    return (account.requests, account.tokens) if minute <= account.minute <= minute + periods.SKEW else (0, 0)


def _seconds_left(now: int) -> int:
    return max(1, -(-(periods.MINUTE - now % periods.MINUTE) // 1000))
