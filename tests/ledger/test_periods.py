"""Budget periods: boundaries, durations and their order."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.values import periods


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("duration", "now", "start", "end"),
    [
        ("30s", "2026-11-20T12:00:45", "2026-11-20T12:00:30", "2026-11-20T12:01:00"),
        ("1h", "2026-11-20T12:59:59", "2026-11-20T12:00:00", "2026-11-20T13:00:00"),
        ("6h", "2026-11-20T12:59:59", "2026-11-20T12:00:00", "2026-11-20T18:00:00"),
        ("1d", "2026-11-20T23:59:59", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
        ("24h", "2026-11-20T00:00:00", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
        ("7d", "2026-11-20T12:00:00", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),  # Monday to Monday
        ("1w", "2026-11-16T00:00:00", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("30d", "2026-11-20T12:00:00", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
        ("1mo", "2028-02-29T12:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("3mo", "2026-12-31T23:59:59", "2026-10-01T00:00:00", "2027-01-01T00:00:00"),
        ("daily", "2026-11-20T12:00:00", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
    ],
)
def test_periods_start_on_utc_boundaries(duration: str, now: str, start: str, end: str) -> None:
    assert periods.start(duration, at(now)) == at(start)
    assert periods.end(duration, at(now)) == at(end)


def test_without_a_duration_there_is_one_endless_period() -> None:
    assert (periods.start(None, at("2026-11-20T12:00:00")), periods.end(None, 5)) == (0, None)


@pytest.mark.parametrize("text", ["", "d", "1", "0d", "-1d", "1.5h", "1y", "1d ", "99999999s", "999999mo", "١d"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        periods.start(text, 0)


@given(
    duration=st.sampled_from(["1s", "30s", "7m", "1h", "5h", "1d", "3d", "7d", "2w", "30d", "1mo", "5mo"]),
    now=st.integers(0, 4_000_000_000_000),
)
def test_periods_are_contiguous(duration: str, now: int) -> None:
    start, end = periods.start(duration, now), periods.end(duration, now)
    assert end is not None
    assert start <= now < end
    assert periods.start(duration, start) == start
    assert periods.start(duration, end - 1) == start
    assert periods.start(duration, end) == end
