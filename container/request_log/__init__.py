"""`general_settings.request_logging`: one line for each request, with what was asked and answered.

The request keeps what passes by (Capture), and a thread of its own makes the line and writes it: to the log, or to a
file that may be moved away at any time. When it cannot keep up lines are dropped, and that is said.
"""

import os
import queue
import threading
import time
from typing import Any

from worker.api.endpoints import TABLE

from .. import log
from ..config.request_logging import RequestLogging
from ..exchange import Exchange
from ..recording import Capture
from . import redact
from .redact import OVERLAP, Secrets

# Bytes of bodies that wait to be written; more is dropped.
MOST_WAITING = 64 * 1024 * 1024
# The requests that are logged: those that ask a model.
_LOGGED = frozenset(e.name for e in TABLE.values() if e.methods == ("POST",) and not e.admin)


class RequestLog:
    """`secrets`: texts that are never written, whatever is."""

    def __init__(self, options: RequestLogging, secrets: list[str]) -> None:
        self._options = options
        self._secrets = Secrets(secrets)
        self._queue: queue.SimpleQueue[tuple[dict[str, Any], Capture] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self._file = _File(options.file) if options.file else None
        self._failed = False
        self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
        self._thread.start()

    def capture(self) -> Capture:
        return Capture(self._options.max_bytes + OVERLAP)

    def ended(self, exchange: Exchange, status: int) -> None:
        """The request has been answered. Returns at once."""
        capture = exchange.capture
        if capture is None or exchange.endpoint not in _LOGGED:
            return
        size = len(capture.asked) + min(capture.answer_size, self._options.max_bytes + OVERLAP)
        with self._lock:
            if self._waiting + size > MOST_WAITING:
                self._dropped += 1
                return
            self._waiting += size
        step = exchange.step
        fields = {
            "request_id": exchange.id,
            "endpoint": exchange.endpoint,
            "model": exchange.group,
            "deployment": step.target.deployment.id if step else None,
            "key": exchange.owner,
            "status": status,
            "seconds": round(time.monotonic() - exchange.began, 4),
        }
        self._queue.put((fields, capture))

    def close(self) -> None:
        """Returns when everything has been written, or after a few seconds."""
        self._queue.put(None)  # the end
        self._thread.join(5)

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            fields, capture = entry
            try:
                self._write(self._line(fields, capture))
            except Exception as error:  # noqa: BLE001 the next one may well be written
                self._complain(error)
            with self._lock:
                self._waiting -= len(capture.asked) + sum(map(len, capture.answer))
                dropped, self._dropped = self._dropped, 0
            if dropped:
                log.warning("request_log_full", dropped=dropped, effect="These requests are not in the request log.")
        if self._file:
            self._file.close()

    def _line(self, fields: dict[str, Any], capture: Capture) -> dict[str, Any]:
        answer = b"".join(capture.answer)
        if not self._options.contents:
            asked = redact.without_contents(capture.asked, capture.asked_size)
            said = redact.without_contents(answer, capture.answer_size)
        else:
            most = self._options.max_bytes
            asked = self._secrets.contents(capture.asked, capture.asked_size, most)
            show = self._secrets.spoken if capture.events else self._secrets.contents
            said = show(answer, capture.answer_size, most)
        return {**fields, "request": asked, "response": said}

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            log.info("request", **line)
        else:
            self._file.write(log.line("info", "request", line))

    def _complain(self, error: Exception) -> None:
        if not self._failed:
            log.error("request_log_failed", error=type(error).__name__, effect="Requests are not in the request log.")
        self._failed = True


class _File:
    """Appended to; opened again when it has been moved away, as logrotate does."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._identity: tuple[int, int] | None = None

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        if self._identity is None or self._found() != self._identity:
            self.close()
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            found = os.fstat(self._descriptor)
            self._identity = found.st_dev, found.st_ino
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._identity = -1, None

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def cannot_write(options: RequestLogging | None) -> str | None:
    """Why the file cannot be written, for whoever would start to; nothing is made."""
    if options is None or options.file is None:
        return None
    folder = os.path.dirname(os.path.abspath(options.file))
    there = os.path.exists(options.file)
    if os.access(options.file, os.W_OK) and not os.path.isdir(options.file) if there else os.access(folder, os.W_OK):
        return None
    return (
        f"general_settings.request_logging.file: {options.file} cannot be written. Let the user that the proxy runs as "
        f"write in {folder}."
    )
