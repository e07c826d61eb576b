"""Time limits of a container's life cycle, from the Worker's variables."""

import re
from collections.abc import Callable
from typing import NamedTuple

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")

START_TIMEOUT = 120.0
SLEEP_AFTER = 600.0
# A rollout allows fifteen minutes after SIGTERM:
# https://developers.cloudflare.com/containers/platform-details/rollouts/
SHUTDOWN_GRACE = 870.0


class Limits(NamedTuple):
    """Limits in seconds. `problems`: messages about invalid variables, for the log."""

    start_timeout: float = START_TIMEOUT
    sleep_after: float = SLEEP_AFTER
    shutdown_grace: float = SHUTDOWN_GRACE
    problems: tuple[str, ...] = ()


def seconds(text: str) -> float | None:
    """Parses `"90"`, `"90s"`, `"10m"` or `"1.5h"` into seconds; None if invalid or not positive."""
    match = _DURATION.fullmatch(text.strip().lower())
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    return value if value > 0 else None


def read(variable: Callable[[str], str | None]) -> Limits:
    """Returns the limits set by CONTAINER_START_TIMEOUT, CONTAINER_SLEEP_AFTER and SHUTDOWN_GRACE, or the defaults."""
    problems: list[str] = []

    def duration(name: str, default: float) -> float:
        text = variable(name)
        if not text:
            return default
        value = seconds(text)
        if value is None:
            problems.append(f"{name} is {text!r}, which is not a duration such as 90s or 10m; using {default:g}s.")
            return default
        return value

    start_timeout = duration("CONTAINER_START_TIMEOUT", START_TIMEOUT)
    sleep_after = duration("CONTAINER_SLEEP_AFTER", SLEEP_AFTER)
    shutdown_grace = duration("SHUTDOWN_GRACE", SHUTDOWN_GRACE)
    return Limits(start_timeout, sleep_after, shutdown_grace, tuple(problems))
