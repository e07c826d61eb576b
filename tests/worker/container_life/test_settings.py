"""Settings of the container's lifecycle."""

import pytest

from worker.edge.container_life.settings import Limits, read, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), (" 10M ", 600), ("1.5h", 5400), ("0.5", 0.5), ("10 m", 600)],
)
def test_valid_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-5", "ten", "10 min", "5d", "1e3", "s"])
def test_invalid_durations(text):
    assert seconds(text) is None


def test_defaults_and_settings():
    assert read({}.get) == Limits(start_timeout=120, sleep_after=600, shutdown_grace=870)
    variables = {"CONTAINER_START_TIMEOUT": "3s", "CONTAINER_SLEEP_AFTER": "1h"}
    assert read(variables.get) == Limits(start_timeout=3, sleep_after=3600)


def test_invalid_settings_are_named():
    found = read({"CONTAINER_SLEEP_AFTER": "soon"}.get)
    assert found.sleep_after == 600
    assert found.problems == (
        "CONTAINER_SLEEP_AFTER is 'soon', which is not a duration such as 90s or 10m; using 600s.",
    )
