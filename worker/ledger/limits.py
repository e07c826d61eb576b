"""Does a request fit into what an account has left: requests and tokens of this minute, parallel requests, money.

Minutes are those of the clock. Tokens are counted at their most when a request is let in, and corrected when it ends.
"""

from . import periods, refusal
from .accounts import Account, Limits
from .keys import iso
from .money import NANO, usd

Headers = list[list[str]]
# More than any model's largest answer costs: with less no request, whatever it asks for, fills the counters up.
MOST_AT_ONCE = 1_000 * NANO


def rate(account: Account, limit: Limits, tokens: int, now: int, headers: Headers) -> refusal.Result | None:
    """The refusal, if a rate limit stands in the way. `headers` go with it."""
    used_requests, used_tokens = _used(account, now)
    wait = _seconds_left(now)
    if limit.rpm is not None and used_requests >= limit.rpm:
        return refusal.rate_limited(f"Limit of {limit.rpm} requests a minute reached.", wait, headers)
    if limit.tpm is not None and tokens > limit.tpm:
        message = (
            f"This request may use {tokens} tokens, and the limit is {limit.tpm} a minute: "
            "send a smaller max_tokens or a shorter prompt."
        )
        return refusal.rate_limited(message, wait, [*headers, ["x-should-retry", "false"]])
    if limit.tpm is not None and used_tokens + tokens > limit.tpm:
        message = f"Limit of {limit.tpm} tokens a minute: {used_tokens} used, and this request may use {tokens}."
        return refusal.rate_limited(message, wait, headers)
    if limit.parallel is not None and account.parallel >= limit.parallel:
        refused = refusal.rate_limited(f"Limit of {limit.parallel} requests at a time reached.", 1, headers)
        return refusal.soon(refused)
    return None


def budget(
    account: Account, limit: Limits, owner: str, amount: int, now: int, headers: Headers
) -> refusal.Result | None:
    """The refusal, if the money is not there. `owner` completes "The budget …"."""
    if amount > MOST_AT_ONCE:
        message = f"This request may cost ${usd(amount):.2f}; ${usd(MOST_AT_ONCE):.0f} are the most at once."
        return refusal.invalid(f"{message} Send a smaller max_tokens or n.", "max_tokens", "too_expensive")
    most = limit.max_budget
    if most is None or account.spent + account.reserved + amount <= most:
        return None
    end = periods.end(limit.duration, now)
    until = "" if end is None else f" It is renewed at {iso(end)}."
    held = f", ${usd(account.reserved):.6f} are held by running requests" if account.reserved else ""
    message = (
        f"The budget {owner} is exhausted: ${usd(account.spent):.6f} of ${usd(most):.6f} are spent{held}, and this "
        f"request may cost ${usd(amount):.6f}.{until}"
    )
    retry_after = None if end is None else max(1, -((now - end) // 1000))
    refused = refusal.budget_exceeded(message, retry_after, headers)
    return refusal.soon(refused) if account.spent + amount <= most else refused


def fits_an_empty_budget(limit: Limits, amount: int) -> bool:
    """Whether the request would ever be let in; if not, its refusal says nothing about the budget."""
    return limit.max_budget is not None and amount <= limit.max_budget


def headers(account: Account, limit: Limits, requests: int, tokens: int, now: int) -> Headers:
    """`x-ratelimit-*` with what is left once `requests` and `tokens` more are counted."""
    used_requests, used_tokens = _used(account, now)
    result: Headers = []
    for kind, most, used in (
        ("requests", limit.rpm, used_requests + requests),
        ("tokens", limit.tpm, used_tokens + tokens),
    ):
        if most is not None:
            result.append([f"x-ratelimit-limit-{kind}", str(most)])
            result.append([f"x-ratelimit-remaining-{kind}", str(max(0, most - used))])
            result.append([f"x-ratelimit-reset-{kind}", f"{_seconds_left(now)}s"])
    return result


def _used(account: Account, now: int) -> tuple[int, int]:
    """Requests and tokens of this minute. Another replica's clock may be a little ahead."""
    return (account.requests, account.tokens) if account.minute >= now - now % periods.MINUTE else (0, 0)


def _seconds_left(now: int) -> int:
    return max(1, -(-(periods.MINUTE - now % periods.MINUTE) // 1000))
