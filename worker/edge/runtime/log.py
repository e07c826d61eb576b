"""Logs one JSON object per line, which Cloudflare indexes by field, or text; see docs/logs.md. Never log secrets or
bodies."""

import json
import traceback
from datetime import UTC, datetime
from typing import Any

from catalog import CATALOG

from .javascript import bindings, variable

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
DEFAULT = "INFO"
_threshold: int | None = None
_as_text: bool | None = None


def where(error: BaseException, deepest: int = 6) -> list[str]:
    """Returns the last frames of a traceback, without values."""
    frames = traceback.extract_tb(error.__traceback__)[-deepest:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def log(level: str, event: str, **fields: Any) -> None:
    """`level`: debug, info, warning or error. `event`: a name such as `part_word`."""
    if LEVELS[level.upper()] < _lowest():
        return
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": time, "level": level, "source": "edge", "event": event, **fields}
    if _in_text():
        from core.log_text import text_line  # imported on first use, so that other isolates start sooner

        print(text_line(line), flush=True)
    else:
        print(json.dumps(line, default=str), flush=True)


def _lowest() -> int:
    """Returns the threshold from LITELLM_LOG_LEVEL. It is read on first use: at import there are no variables."""
    global _threshold
    if _threshold is None:
        name = (variable(bindings(), "LITELLM_LOG_LEVEL") or DEFAULT).strip().upper()
        _threshold = LEVELS.get(name, LEVELS[DEFAULT])
    return _threshold


def _in_text() -> bool:
    """Whether LITELLM_LOG_FORMAT, or else the config, asks for text. It is read on first use, like the threshold."""
    global _as_text
    if _as_text is None:
        asked = (variable(bindings(), "LITELLM_LOG_FORMAT") or "").strip().lower()
        _as_text = (asked if asked in ("json", "text") else CATALOG.get("log_format")) == "text"
    return _as_text
