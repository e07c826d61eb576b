"""Money as integer nano-dollars, and what a request costs with lower output limits.

Nano-dollars are exact, and up to nine million dollars fit into a JavaScript number.

A request reserves the most that it can cost. Most of that is often its output limit: an agent asks for 32,000 tokens
and uses 500. If the reservation does not fit, the request can be sent with a lower limit.

A step is (output limit, nano-dollars, tokens): with that limit a request costs and uses no more. The steps of a request
are in ascending order. With a limit between two of them, it costs no more than what lies on the line between them.
"""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Any

NANO = 1_000_000_000
# 2^53 - 2: a Durable Object's SQL uses JavaScript numbers, and Pyodide converts anything larger to a BigInt.
MAX_NANO = 9_007_199_254_740_990
MAX_USD = MAX_NANO // NANO


def nano(usd: int | float | str | Decimal) -> int:
    """Converts US dollars to the nearest nano-dollar. Raises ValueError if invalid, negative or too large."""
    return _whole(usd, ROUND_HALF_EVEN)


def nano_up(usd: int | float | str | Decimal) -> int:
    """Converts US dollars to nano-dollars, rounded up, for charges."""
    return _whole(usd, ROUND_CEILING)


def usd(amount: int) -> float:
    """Converts nano-dollars to US dollars, for people and JSON."""
    return amount / NANO


def exact(price: int | float) -> Decimal:
    """Returns a price as written: 0.1 is a tenth, not the nearest binary fraction."""
    return Decimal(repr(price))


def is_amount(value: Any) -> bool:
    """Whether the value is a valid amount of US dollars for a budget or a price."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= MAX_USD


def _whole(usd: int | float | str | Decimal, rounding: str) -> int:
    value = usd if isinstance(usd, Decimal) else Decimal(repr(usd) if isinstance(usd, float) else usd)
    if not value.is_finite() or value < 0 or value * NANO > MAX_NANO:
        raise ValueError(f"{usd} is not an amount from 0 to {MAX_USD} US dollars")
    return int((value * NANO).to_integral_value(rounding))


OutputStep = Sequence[int]
OutputSteps = Sequence[OutputStep]


def fitting_step(steps: OutputSteps, amount: int | None, tokens: int | None) -> OutputStep | None:
    """Returns the step with the highest limit that costs at most `amount` nano-dollars and uses at most `tokens`, None
    if there is none. None as a maximum is no maximum."""
    for index in range(len(steps) - 1, -1, -1):
        step = steps[index]
        if (amount is None or step[1] <= amount) and (tokens is None or step[2] <= tokens):
            return step if index + 1 == len(steps) else _step_between(step, steps[index + 1], amount, tokens)
    return None


def _step_between(low: OutputStep, high: OutputStep, amount: int | None, tokens: int | None) -> OutputStep:
    """Returns the highest fitting step from `low`, which fits, to `high`, which does not."""
    more = high[0] - low[0]
    for most, first, last in ((amount, low[1], high[1]), (tokens, low[2], high[2])):
        if most is not None and last > most:
            more = min(more, (most - first) * (high[0] - low[0]) // (last - first))
    return _step_at(low, high, low[0] + more)


def _step_at(low: OutputStep, high: OutputStep, limit: int) -> OutputStep:
    """Returns the step on the line between two steps, rounded up."""
    done, whole = limit - low[0], high[0] - low[0]
    return limit, low[1] - (low[1] - high[1]) * done // whole, low[2] - (low[2] - high[2]) * done // whole


def higher_steps(one: OutputSteps, other: OutputSteps) -> OutputSteps:
    """Returns steps that cover both. A limit beyond the last step of one of them makes no difference to it."""
    least = max(one[0][0] if one else 0, other[0][0] if other else 0)
    limits = sorted({step[0] for steps in (one, other) for step in steps if step[0] >= least})
    found = [(_step_of(one, limit), _step_of(other, limit)) for limit in limits]
    return [(limit, max(a[1], b[1]), max(a[2], b[2])) for limit, (a, b) in zip(limits, found, strict=True)]


def _step_of(steps: OutputSteps, limit: int) -> OutputStep:
    """Returns the step for this limit, which is not below the first one."""
    if not steps:
        return limit, 0, 0
    for low, high in pairwise(steps):
        if limit <= high[0]:
            return _step_at(low, high, limit)
    return steps[-1]
