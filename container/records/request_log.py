"""`general_settings.request_logging`: one line per request with its redacted request and response bodies."""

import os
import queue
import re
import threading
import time
from collections.abc import Iterable
from typing import Any

import orjson

from worker.core.api.endpoints import CALLS_A_MODEL

from ..accounting.reservation import Transcript
from ..config.observability import RequestLogging
from ..observability import log
from ..observability.log import hide_secrets
from ..server.context import Capture, RequestContext

# API fields whose values come from a short list and contain no personal data.
_KEPT = frozenset(
    "model role type object finish_reason stop_reason service_tier reasoning_effort encoding_format code param "
    "tool_choice detail media_type format".split()
)
# Fields that contain more such fields.
_ENTERED = frozenset(
    "messages choices message delta content usage prompt_tokens_details completion_tokens_details "
    "input_tokens_details output_tokens_details tools function tool_calls response_format stream_options error data "
    "thinking output input system embedding prompt source image_url cache_control".split()
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LONGEST_KEPT = 100
_MOST_ITEMS = 50
# Secrets are masked before a text is cut, so that none is cut in two.
OVERLAP = 512


def without_contents(raw: bytes, size: int) -> Any:
    """Return the structure of a body: names, numbers and lengths. `raw`: its beginning. `size`: its full size."""
    if len(raw) < size:
        return f"[{size} bytes]"
    try:
        return _shape(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return f"[{size} bytes]"


def _shape(value: Any, name: str = "") -> Any:
    if isinstance(value, str):
        return value if name in _KEPT and len(value) <= _LONGEST_KEPT else f"[{len(value)} characters]"
    if isinstance(value, dict):
        if name and name not in _ENTERED:
            return f"[{len(value)} fields]"
        return {key if _NAME.fullmatch(key) else "[field]": _shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        if name not in _ENTERED or not any(isinstance(one, dict | str) for one in value):
            return f"[{len(value)} items]"
        more = [f"[{len(value) - _MOST_ITEMS} more]"] if len(value) > _MOST_ITEMS else []
        return [_shape(one) for one in value[:_MOST_ITEMS]] + more
    return value


class Secrets:
    """Values that are always redacted: `known` texts, and whatever looks like a key."""

    def __init__(self, known: Iterable[str]) -> None:
        # Longest first, because one may be part of another.
        self._known = sorted({one for one in known if len(one) >= 6}, key=len, reverse=True)

    def hidden(self, text: str) -> str:
        for one in self._known:
            text = text.replace(one, "***")
        return hide_secrets(text)

    def contents(self, raw: bytes, size: int, most: int) -> str:
        """Return at most `most` characters of a body. `raw`: its beginning, OVERLAP longer if there is more."""
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            if error.start < len(raw) - 4:
                return f"[{size} bytes]"
            text = raw[: error.start].decode()
        text = self.hidden(text)
        return text if len(text) <= most and len(raw) == size else f"{text[:most]}[… {size} bytes]"

    def spoken(self, raw: bytes, size: int, most: int) -> dict[str, Any]:
        """Return the combined text of a stream's events, because a secret may be spread over several."""
        said = Transcript()
        said.add(raw)
        text = self.hidden(said.text())
        return {"text": text[:most], "bytes": size, "whole": len(raw) == size and len(text) <= most}


# Maximum size of bodies in the queue. Further ones are dropped.
MOST_WAITING = 64 * 1024 * 1024


class RequestLog:
    """`secrets`: texts that are always redacted."""

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

    def ended(self, context: RequestContext, status: int) -> None:
        """Queue a finished request for logging."""
        capture = context.capture
        if capture is None or context.endpoint not in CALLS_A_MODEL:
            return
        size = len(capture.asked) + min(capture.answer_size, self._options.max_bytes + OVERLAP)
        with self._lock:
            if self._waiting + size > MOST_WAITING:
                self._dropped += 1
                return
            self._waiting += size
        step = context.step
        fields = {
            "request_id": context.id,
            "endpoint": context.endpoint,
            "model": context.group,
            "deployment": step.target.deployment.id if step else None,
            "key": context.owner,
            "status": status,
            "seconds": round(time.monotonic() - context.began, 4),
        }
        self._queue.put((fields, capture))

    def close(self) -> None:
        """Wait a few seconds at most until everything is written."""
        self._queue.put(None)  # the end marker
        self._thread.join(5)

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            fields, capture = entry
            try:
                self._write(self._line(fields, capture))
            except Exception as error:  # noqa: BLE001 the next line may succeed
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
            asked = without_contents(capture.asked, capture.asked_size)
            said = without_contents(answer, capture.answer_size)
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
    """Appends to a file. Opens it again after it was moved, as logrotate does."""

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
    """Explain why the file cannot be written, or return None. Creates nothing."""
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
