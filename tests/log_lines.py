"""The required format of every log line (docs/logs.md), checked for each proxy and each edge of the test run."""

import datetime
import json
import re
from collections.abc import Iterable
from typing import Any

LEVELS = ("debug", "info", "warning", "error")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_EVENT = re.compile(r"[a-z][a-z0-9_]*")


def parsed(lines: Iterable[str], source: str) -> list[dict[str, Any]]:
    """Raises AssertionError for an invalid line."""
    found = []
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            raise AssertionError(f"not JSON: {text!r}") from None
        assert isinstance(line, dict), text
        assert list(line)[:4] == ["time", "level", "source", "event"], text
        assert _TIME.fullmatch(line["time"]), text
        datetime.datetime.fromisoformat(line["time"])
        assert line["level"] in LEVELS, text
        assert line["source"] == source, text
        assert _EVENT.fullmatch(line["event"]), text
        assert "request_id" not in line or line["request_id"], text
        found.append(line)
    return found
