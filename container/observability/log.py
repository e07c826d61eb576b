"""Writes log lines to standard error, one JSON object each, or as text. Lines are buffered briefly, so that no request
waits for a write.

    {"time": "2026-01-01T00:00:00.000Z", "level": "info", "source": "proxy", "event": "attempt", "request_id": "…", …}

docs/logs.md documents the fields. The edge's lines (worker/edge/runtime/log.py) have the same.
Fields never contain secrets: no headers, prompts, responses or keys.
"""

import asyncio
import logging
import os
import re
import threading
import time
import traceback
from contextlib import nullcontext
from typing import Any

import orjson

from worker.core.log_text import text_line

from .process_lock import ProcessLock

# Removes secrets from texts that are logged or shown, such as providers' messages and the engine's output.

# Likely keys: a known prefix followed by characters with a digit among them, or a long run of letters and digits. The
# patterns look ahead only a bounded distance because the texts are untrusted and long.
_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|rk|gsk|csk|xai|pplx|nvapi|r8|hf|tgp|fw)[-_]([A-Za-z0-9_*-]{8,})",
)
_HAS_DIGIT = re.compile(r"[0-9*]")
_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:AIza[A-Za-z0-9_-]{20,}|A[KS]IA[A-Z0-9]{12,}|eyJ[A-Za-z0-9_.-]{20,}|[A-Za-z0-9]{32,})"
)
_IN_ADDRESS = re.compile(
    r"(?<=://)[^\s/@]{1,500}@|(?<=[?&])([\w-]{0,40}?(?:key|token|secret|password|sig)[\w-]{0,40}=)[^&\s\"'<>]+",
    re.IGNORECASE,
)


def hide_secrets(text: str) -> str:
    """Mask likely keys, and the user, password and keys in URLs."""
    text = _IN_ADDRESS.sub(lambda found: f"{found[1]}***" if found[1] else "***@", text)
    text = _PREFIXED.sub(lambda found: "***" if _HAS_DIGIT.search(found[1]) else found[0], text)
    return _SECRET.sub("***", text)


_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_FLUSH_SECONDS = 0.1
_FLUSH_LINES = 500


class _Log:
    def __init__(self, descriptor: int = 2) -> None:
        self.descriptor = descriptor
        self.threshold = _LEVELS["INFO"]
        self.in_text = False
        self.between_processes: ProcessLock | None = None
        self._lines: list[bytes] = []
        self._rest = b""  # of a partially written line
        self._lock = threading.Lock()
        self._flushing = False  # a flush is scheduled on the event loop
        self._stamp = 0, ""  # one tuple, because several threads write it

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if _LEVELS[level] < self.threshold:
            return
        line = self.text(level, event, fields) if self.in_text else self.line(level, event, fields)
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

    def text(self, level: str, event: str, fields: dict[str, Any]) -> bytes:
        head = {"time": self._now(), "level": level, "source": "proxy", "event": event}
        return text_line({**head, **fields}).encode("utf-8", "replace") + b"\n"

    def _flush_soon(self) -> bool:
        if self._flushing:
            return False
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False  # without a loop nothing is waiting
        self._flushing = True
        loop.call_later(_FLUSH_SECONDS, self.flush)
        return True

    def flush(self) -> None:
        """Write the buffered lines.

        Lines that cannot be written (full disk, closed pipe) are lost: requests matter more. After a partial write the
        rest of that line is written first, so that every line stays valid JSON.
        """
        with self._lock:
            rest, data = self._rest, self._rest + b"".join(self._lines)
            self._lines, self._rest = [], b""
            self._flushing = False
            written = 0
            try:
                with self.between_processes or nullcontext():
                    while written < len(data):
                        written += os.write(self.descriptor, data[written:] if written else data)
            except OSError:
                if not written:
                    self._rest = rest
                elif not data.endswith(b"\n", 0, written):
                    self._rest = data[written : data.index(b"\n", written) + 1]

    def _now(self) -> str:
        """Return RFC 3339 in UTC with milliseconds. The part up to the second is cached."""
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


def share() -> None:
    """Several processes write to standard error from now on. Without a lock their lines would mix in a pipe."""
    _log.between_processes = ProcessLock()


def set_format(name: str) -> None:
    """`name`: json or text."""
    _log.in_text = name == "text"


class Libraries(logging.Handler):
    """Logs warnings of libraries. Only the message template is logged, because the arguments may quote a prompt."""

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
