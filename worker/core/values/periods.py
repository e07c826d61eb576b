"""When budget periods begin and end. They are aligned to UTC, with LiteLLM's duration syntax.

`30s`, `15m`, `1h`, `1d`, `7d`, `2w`, `30d`, `1mo`; None is a single period that never ends. `7d` and weeks begin on
Monday, `30d` is a calendar month as in LiteLLM, and everything else counts in multiples of its length from 1970-01-01.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
# 1970-01-05, the first Monday.
_MONDAY = 4 * DAY
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_WORDS = {"hourly": "1h", "daily": "1d", "weekly": "7d", "monthly": "1mo"}
_DURATION = re.compile(r"([0-9]{1,6})(mo|[smhdw])")
MAX_MS = 100 * 366 * DAY
# The maximum clock difference between replicas. A period that begins later was started by a clock that was ahead.
SKEW = MINUTE


@lru_cache(maxsize=256)
def parse(duration: str) -> tuple[int, str]:
    """Returns the number and the unit. Raises ValueError with instructions."""
    found = _DURATION.fullmatch(_WORDS.get(duration, duration))
    if not found or int(found[1]) == 0 or _length(int(found[1]), found[2]) > MAX_MS:
        raise ValueError(f"{duration!r} is no duration: write one such as 30s, 1h, 1d, 7d, 30d or 1mo")
    return int(found[1]), found[2]


def length(duration: str) -> int:
    """Returns the milliseconds that a duration lasts from now; a month is 30 days. Raises ValueError."""
    return _length(*parse(duration))


def start(duration: str | None, now: int) -> int:
    """Returns the beginning of the period that contains `now`, in milliseconds since 1970. Raises ValueError."""
    if duration is None:
        return 0
    count, unit = parse(duration)
    if unit == "mo" or (unit, count) == ("d", 30):
        return _month_start(now, 1 if unit == "d" else count)
    size = _UNITS[unit] * count
    origin = _MONDAY if unit == "w" or (unit, count) == ("d", 7) else 0
    return now - (now - origin) % size


def current(began: int, duration: str | None, now: int) -> int:
    """Returns the beginning of an account's current period, given the one it recorded last. That is the period of
    `now`, unless the duration was increased meanwhile or another replica's clock is slightly ahead. Raises
    ValueError."""
    begin = start(duration, now)
    return began if begin <= began <= now + SKEW else begin


def goes_on(began: int, duration: str | None, now: int) -> bool:
    """Whether the period that began at `began` is the current one. Raises ValueError."""
    return current(began, duration, now) == began


def end(duration: str | None, now: int) -> int | None:
    """Returns the beginning of the next period, or None if the period never ends."""
    if duration is None:
        return None
    count, unit = parse(duration)
    if unit == "mo" or (unit, count) == ("d", 30):
        months = 1 if unit == "d" else count
        return _from_months(_months(_month_start(now, months)) + months)
    return start(duration, now) + _UNITS[unit] * count


def iso(at: int | None) -> str | None:
    """Formats milliseconds since 1970 as ISO 8601 in UTC."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _length(count: int, unit: str) -> int:
    return count * (30 * DAY if unit == "mo" else _UNITS[unit])


def _months(at: int) -> int:
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return (moment.year - 1970) * 12 + moment.month - 1


def _from_months(months: int) -> int:
    return int(datetime(1970 + months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


def _month_start(now: int, count: int) -> int:
    months = _months(now)
    return _from_months(months - months % count)
