"""Log lines: one JSON object each, to standard error, collected for a moment so that no request waits for a write.

    {"time": "2026-01-01T00:00:00.000Z", "level": "info", "event": "attempt", "request_id": "…", …}

Nothing secret is ever a field: no header, no prompt, no answer, no key.
"""

import datetime
import os
import threading
from typing import Any

import orjson

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_FLUSH_SECONDS = 0.1
_FLUSH_LINES = 500


class _Log:
    def __init__(self, descriptor: int = 2) -> None:
        self.descriptor = descriptor
        self.threshold = _LEVELS["INFO"]
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if _LEVELS[level] < self.threshold:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = orjson.dumps(
            {"time": now, "level": level.lower(), "event": event, **fields},
            default=str,
            option=orjson.OPT_APPEND_NEWLINE,
        )
        with self._lock:
            self._lines.append(line)
            if _LEVELS[level] < _LEVELS["WARNING"] and len(self._lines) < _FLUSH_LINES:
                if self._timer is None:
                    self._timer = threading.Timer(_FLUSH_SECONDS, self.flush)
                    self._timer.daemon = True
                    self._timer.start()
                return
        self.flush()

    def flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            self._timer = None
        data = b"".join(lines)
        while data:
            try:
                data = data[os.write(self.descriptor, data) :]
            except OSError:
                return  # nobody reads the log any more; the requests matter more


_log = _Log()
flush = _log.flush


def configure(level: str) -> None:
    """`level`: DEBUG, INFO, WARNING or ERROR."""
    _log.threshold = _LEVELS[level]


def debug(event: str, **fields: Any) -> None:
    _log.write("DEBUG", event, fields)


def info(event: str, **fields: Any) -> None:
    _log.write("INFO", event, fields)


def warning(event: str, **fields: Any) -> None:
    _log.write("WARNING", event, fields)


def error(event: str, **fields: Any) -> None:
    _log.write("ERROR", event, fields)
