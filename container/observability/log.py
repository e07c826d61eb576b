"""Log lines: one JSON object each, to standard error, collected for a moment so that no request waits for a write.

    {"time": "2026-01-01T00:00:00.000Z", "level": "info", "source": "proxy", "event": "attempt", "request_id": "…", …}

docs/logs.md names the fields; the edge's lines (worker/edge/runtime/log.py) have the same.
Nothing secret is ever a field: no header, no prompt, no answer, no key.
"""

import asyncio
import logging
import os
import threading
import time
import traceback
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
        self._rest = b""  # of a line whose beginning is written
        self._lock = threading.Lock()
        self._flushing = False  # the event loop will, in a moment
        self._stamp = 0, ""  # one value, as several threads write

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if _LEVELS[level] < self.threshold:
            return
        line = self.line(level, event, fields)
        with self._lock:
            self._lines.append(line)
            if self._flushing and len(self._lines) < _FLUSH_LINES:
                return
        if _LEVELS[level] < _LEVELS["WARNING"] and self._flush_soon():
            return
        self.flush()

    def line(self, level: str, event: str, fields: dict[str, Any]) -> bytes:
        return orjson.dumps(
            {"time": self._now(), "level": level.lower(), "source": "proxy", "event": event, **fields},
            default=str,
            option=orjson.OPT_APPEND_NEWLINE,
        )

    def _flush_soon(self) -> bool:
        if self._flushing:
            return False
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False  # no loop, so nobody is waiting
        self._flushing = True
        loop.call_later(_FLUSH_SECONDS, self.flush)
        return True

    def flush(self) -> None:
        """Write what is collected.

        What cannot be written is lost (a full disk, a closed pipe): requests matter more.
        A line that a full disk has cut is ended first, once there is room, so that every line stays JSON.
        """
        with self._lock:
            rest, data = self._rest, self._rest + b"".join(self._lines)
            self._lines, self._rest = [], b""
            self._flushing = False
            written = 0
            try:
                while written < len(data):
                    written += os.write(self.descriptor, data[written:] if written else data)
            except OSError:
                if not written:
                    self._rest = rest
                elif not data.endswith(b"\n", 0, written):
                    self._rest = data[written : data.index(b"\n", written) + 1]

    def _now(self) -> str:
        """RFC 3339 in UTC with milliseconds; the date and time of day are made once a second."""
        now = time.time()
        second = int(now)
        known, stamp = self._stamp
        if second != known:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._stamp = second, stamp
        return f"{stamp}.{int((now - second) * 1000):03d}Z"


_log = _Log()
flush = _log.flush
line = _log.line


def configure(level: str) -> None:
    """`level`: DEBUG, INFO, WARNING or ERROR."""
    _log.threshold = _LEVELS[level]


class Libraries(logging.Handler):
    """What libraries warn of, as lines like ours. Of their messages only the opening: the rest may quote a prompt."""

    def emit(self, record: logging.LogRecord) -> None:
        opening = str(record.msg).partition("\n")[0][:200]
        error = record.exc_info[1] if record.exc_info else None
        where = (
            [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)] if error else []
        )
        _log.write(
            "ERROR" if record.levelno >= logging.ERROR else "WARNING",
            "library",
            {
                "library": record.name,
                "message": opening,
                "error": type(error).__name__ if error else None,
                "where": where,
            },
        )


def debug(event: str, **fields: Any) -> None:
    _log.write("DEBUG", event, fields)


def info(event: str, **fields: Any) -> None:
    _log.write("INFO", event, fields)


def warning(event: str, **fields: Any) -> None:
    _log.write("WARNING", event, fields)


def error(event: str, **fields: Any) -> None:
    _log.write("ERROR", event, fields)
