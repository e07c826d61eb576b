"""Whether a request fits into an account's limits: requests and tokens per minute, parallel requests and budget.

Minutes are clock minutes. Tokens count at their maximum when a request is admitted, and are corrected when it ends.
"""

from collections.abc import Callable, Sequence

from ..values import periods
from ..values.money import NANO, usd
from ..values.output_steps import OutputSteps
from . import decision
from .accounts import Account, Limits

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


def rate(account: Account, limit: Limits, tokens: int, now: int, whose: Whose) -> decision.Result | None:
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


def budget(
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


def headers(account: Account, limit: Limits, requests: int, tokens: int, now: int) -> Headers:
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
