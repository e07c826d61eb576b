"""What a request costs with lower output limits, and the highest limit that fits what is left.

A request reserves the most that it can cost. Most of that is often its output limit: an agent asks for 32,000 tokens
and uses 500. If the reservation does not fit, the request can be sent with a lower limit.

A step is (output limit, nano-dollars, tokens): with that limit a request costs and uses no more. The steps of a request
are in ascending order. With a limit between two of them, it costs no more than what lies on the line between them.
"""

from collections.abc import Sequence
from itertools import pairwise

OutputStep = Sequence[int]
OutputSteps = Sequence[OutputStep]


def fitting(steps: OutputSteps, amount: int | None, tokens: int | None) -> OutputStep | None:
    """Returns the step with the highest limit that costs at most `amount` nano-dollars and uses at most `tokens`, None
    if there is none. None as a maximum is no maximum."""
    for index in range(len(steps) - 1, -1, -1):
        step = steps[index]
        if (amount is None or step[1] <= amount) and (tokens is None or step[2] <= tokens):
            return step if index + 1 == len(steps) else _between(step, steps[index + 1], amount, tokens)
    return None


def _between(low: OutputStep, high: OutputStep, amount: int | None, tokens: int | None) -> OutputStep:
    """Returns the highest fitting step from `low`, which fits, to `high`, which does not."""
    more = high[0] - low[0]
    for most, first, last in ((amount, low[1], high[1]), (tokens, low[2], high[2])):
        if most is not None and last > most:
            more = min(more, (most - first) * (high[0] - low[0]) // (last - first))
    return _at(low, high, low[0] + more)


def _at(low: OutputStep, high: OutputStep, limit: int) -> OutputStep:
    """Returns the step on the line between two steps, rounded up."""
    done, whole = limit - low[0], high[0] - low[0]
    return limit, low[1] - (low[1] - high[1]) * done // whole, low[2] - (low[2] - high[2]) * done // whole


def higher(one: OutputSteps, other: OutputSteps) -> OutputSteps:
    """Returns steps that cover both. A limit beyond the last step of one of them makes no difference to it."""
    least = max(one[0][0] if one else 0, other[0][0] if other else 0)
    limits = sorted({step[0] for steps in (one, other) for step in steps if step[0] >= least})
    found = [(_of(one, limit), _of(other, limit)) for limit in limits]
    return [(limit, max(a[1], b[1]), max(a[2], b[2])) for limit, (a, b) in zip(limits, found, strict=True)]


def _of(steps: OutputSteps, limit: int) -> OutputStep:
    """Returns the step for this limit, which is not below the first one."""
    if not steps:
        return limit, 0, 0
    for low, high in pairwise(steps):
        if limit <= high[0]:
            return _at(low, high, limit)
    return steps[-1]
