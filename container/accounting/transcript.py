"""Keeps the text of a response to estimate its tokens when the provider reports no usage or the client leaves early."""

import re
from typing import Any

import orjson

from worker.core.pricing.estimate import text_tokens

from ..formats.shared.events import payload, split

# Longer responses are extrapolated from their beginning.
_MOST_BYTES = 256 * 1024
_SAYING = ("choices", "delta", "content", "content_block", "output", "candidates")
_BLANK = re.compile(rb"\r?\n\r?\n")
_BLANK_BYTES = 4
_NOT_SAID = frozenset(
    "type role id finish_reason stop_reason object model call_id status finishReason thoughtSignature mimeType".split()
)


class Transcript:
    """Accepts whole server-sent events or one JSON body."""

    __slots__ = ("_kept", "_kept_size", "_size")

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._size = 0

    def add(self, data: bytes) -> None:
        size = len(data)
        if self._kept_size < _MOST_BYTES:
            self._kept.append(data)
            self._kept_size += size
        self._size += size

    def __bool__(self) -> bool:
        return self._size > 0

    def whole(self) -> bytes | None:
        """Return all data, or None if only the beginning was kept."""
        return b"".join(self._kept) if self._kept_size == self._size else None

    def payloads(self) -> list[dict[str, Any]]:
        """Return the JSON objects in the data that was kept."""
        data = b"".join(self._kept)
        if data.lstrip()[:1] == b"{":
            try:
                body = orjson.loads(data)
            except orjson.JSONDecodeError:
                return []
            return [body] if isinstance(body, dict) else []
        return [found for event in split(data) if (found := payload(event)) is not None]

    def text(self) -> str:
        """Return the generated text that was kept, or the raw data if it cannot be parsed."""
        texts: list[str] = []
        found = self.payloads()
        if not found and self._kept[:1] and self._kept[0].lstrip()[:1] == b"{":
            return b"".join(self._kept).decode("utf-8", "replace")
        for each in found:
            for name in _SAYING:
                _collect(each.get(name), texts)
        return "".join(texts)

    def tokens(self, tokenizer: str) -> int:
        """Estimate the number of generated tokens, rounded up."""
        text = self.text()
        if not text:
            return 0
        counted = text_tokens(text, tokenizer)
        return counted if self._size == self._kept_size else -(-counted * self._size // self._kept_size)


class UsageEvents:
    """Extracts the usage from event streams of Anthropic's Messages and OpenAI's other APIs."""

    __slots__ = ("_held", "usage")

    def __init__(self) -> None:
        self._held = bytearray()
        self.usage: dict[str, Any] = {}

    def feed(self, data: bytes) -> None:
        start = max(0, len(self._held) - _BLANK_BYTES)  # earlier data was searched already
        self._held += data
        if _BLANK.search(self._held, start) is None:
            return
        *events, self._held = (bytearray(part) for part in _BLANK.split(self._held))
        for event in map(bytes, events):
            found = payload(event) if b'"usage"' in event else None
            if found is None:
                continue
            for holder in (found.get("message"), found.get("response"), found):
                usage = holder.get("usage") if isinstance(holder, dict) else None
                if isinstance(usage, dict):
                    # Anthropic reports input at the start and output at the end.
                    self.usage.update((name, value) for name, value in usage.items() if value is not None)


def _collect(value: Any, texts: list[str]) -> None:
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            stack.extend(reversed(value))
        elif isinstance(value, dict):
            stack.extend(v for k, v in reversed(value.items()) if k not in _NOT_SAID)
