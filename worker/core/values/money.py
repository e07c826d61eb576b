"""Money as integer nano-dollars. This is exact, and up to nine million dollars fit into a JavaScript number."""

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
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
