"""Log lines as text, for people: `LITELLM_LOG_FORMAT=text`.

    2026-01-01T00:00:00.000Z INFO proxy request_finished request_id=… model=gpt-4o cost=0.000012 status=200

Every line is one JSON line's fields as `name=value`, in the same order. Fields that are null are left out.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

FORMATS = ("json", "text")
_HEAD = ("time", "level", "source", "event")
# Text that needs no quotes: printable, and without spaces, quotes, backslashes and equals signs.
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")


def text_line(line: Mapping[str, Any]) -> str:
    """Returns the line without a line break. `line`: time, level, source, event and more fields."""
    head = f"{line['time']} {line['level'].upper()} {line['source']} {line['event']}"
    fields = (f" {name}={_text(value)}" for name, value in line.items() if name not in _HEAD and value is not None)
    return head + "".join(fields)


def _text(value: Any) -> str:
    if isinstance(value, float):
        # Small amounts of money without an exponent, down to a nano-dollar.
        return f"{value:.9f}".rstrip("0").rstrip(".") if 0 < abs(value) < 1e-3 else repr(value)
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, default=str)
