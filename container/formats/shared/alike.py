"""A fast path for stream events that differ from an already inspected event only in the value of a single string.

The events of one response share a long common prefix, up to and beyond the model name, and nearly all of them also end
alike. Only a piece of text, of reasoning or of tool call arguments changes. Comparing bytes detects such an event far
more cheaply than searching it for everything that it could contain.
"""

import re

# What separates the opening of an event from the string that changes.
_ARGUMENTS = b'"tool_calls":[{"index":'
_STRINGS = (b'"content":"', b'"reasoning_content":"', _ARGUMENTS)
_MOST_SHAPES = 4
_STRING = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)
_BACKSLASH = 0x5C
# OpenAI pads events with letters and digits to hide the length of a piece.
_PADDING = b',"obfuscation":"'

_DELTA = b'"delta":{'
_NEAR = 200  # the number of bytes after the model name in which an ordinary event has no content of its own yet
_OF_INTEREST = (b"\n", b"\r", b'"usage"', b'"error"', b'"finish_reason"', b"[DONE]")


class Alike:
    """The events of one stream that have been inspected.

    `opening` is their common prefix, empty until it is known. `ours` is the same prefix with the model name for the
    client.
    """

    __slots__ = ("_shapes", "opening", "ours")

    def __init__(self) -> None:
        self.opening = self.ours = b""
        # Each shape: the bytes before the string, the bytes after it, and the bytes that end the event after the
        # padding.
        self._shapes: list[tuple[bytes, int, bytes, int, bytes]] = []

    def take(self, data: bytes, at: int, passed: list[bytes]) -> int:
        """Appends the events of known shape, starting at `at`, to `passed`.

        Returns the position of the first other event.
        """
        skipped, ours, size, shapes = len(self.opening), self.ours, len(data), self._shapes
        while at < size:
            for head, before, tail, behind, closing in shapes:
                start = at + before
                if data[at:start] != head:
                    continue
                quote = data.find(b'"', start)
                if data[quote - 1] == _BACKSLASH:
                    quote = _string_end(data, start)
                end = quote + behind
                if data[quote:end] != tail:
                    continue
                if closing:
                    end = data.find(b'"', end)
                    if not data.startswith(closing, end):
                        continue
                    end += len(closing)
                passed.append(ours)
                passed.append(data[at + skipped : end])
                at = end
                break
            else:
                break
        return at

    def learn(self, rest: bytes) -> None:
        """Learns the shape of an event that may pass. `rest` is the event after its opening."""
        for prefix in _STRINGS:
            if len(self._shapes) < _MOST_SHAPES and rest.startswith(prefix):
                start = rest.find(b':"', len(prefix)) + 2 if prefix == _ARGUMENTS else len(prefix)
                end = _string_end(rest, start)
                if end > 0 and start >= len(prefix):
                    head, (tail, closing) = self.opening + rest[:start], _behind(rest[end:])
                    self._shapes.append((head, len(head), tail, len(tail), closing))

    def forget(self) -> None:
        """Forgets all shapes.

        Arguments may only pass if they belong to the latest call, and a new call may have begun.
        """
        self._shapes.clear()

    def remember_opening(self, event: bytes, theirs: bytes, ours: bytes) -> None:
        """Learns the opening from an event that contains the model name, unless it contains something of interest.

        `theirs` is the name as it appears in the event, and `ours` the name for the client.
        """
        at = event.find(theirs) if theirs else -1
        start = event.rfind(b"data:", 0, at) if at > 0 else -1
        if start < 0 or (start > 0 and event[start - 1] not in b"\r\n"):
            return
        end = at + len(theirs)
        delta = event.find(_DELTA, end, end + _NEAR)
        opening = event[start : end if delta < 0 else delta + len(_DELTA)]
        if opening == self.opening or opening.count(b'"model"') != 1 or any(what in opening for what in _OF_INTEREST):
            return
        self._shapes.clear()
        self.opening, self.ours = opening, opening.replace(theirs, ours)


def _behind(tail: bytes) -> tuple[bytes, bytes]:
    padding = tail.find(_PADDING)
    if padding < 0:
        return tail, b""
    start = padding + len(_PADDING)
    return tail[:start], tail[tail.find(b'"', start) :]


def _string_end(data: bytes, start: int) -> int:
    """The position of the closing quote of the string that starts at `start`, or -1."""
    at = data.find(b'"', start)
    if at > start and data[at - 1] == _BACKSLASH:
        found = _STRING.match(data, start)
        return found.end() - 1 if found else -1
    return at
