"""Events of a stream that pass unread, because they differ from one that was read by a single string.

The events of one answer open alike, down to the model's name and beyond, and nearly all of them go on alike, too: a
piece of text, of a thought or of a call's arguments is all that changes. Such an event is told by comparing bytes,
which costs far less than to look for everything that it might hold.
"""

import re

# What stands between an event's opening and the string that changes.
_ARGUMENTS = b'"tool_calls":[{"index":'
_STRINGS = (b'"content":"', b'"reasoning_content":"', _ARGUMENTS)
_MOST_SHAPES = 4
_STRING = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)
_BACKSLASH = 0x5C
# What OpenAI adds to hide how long a piece is: letters and digits.
_PADDING = b',"obfuscation":"'

_DELTA = b'"delta":{'
_NEAR = 200  # bytes behind the model's name in which an ordinary event says nothing of its own yet
_OF_INTEREST = (b"\n", b"\r", b'"usage"', b'"error"', b'"finish_reason"', b"[DONE]")


class Alike:
    """The events of one stream that have been looked at. `opening`: how they begin, empty until that is known;
    `ours`: the same with the name that the client gets."""

    __slots__ = ("_shapes", "opening", "ours")

    def __init__(self) -> None:
        self.opening = self.ours = b""
        # Each is what stands before the string, what stands behind it, and what ends the event behind its padding.
        self._shapes: list[tuple[bytes, int, bytes, int, bytes]] = []

    def take(self, data: bytes, at: int, passed: list[bytes]) -> int:
        """Adds the events that are known, from `at` on, to `passed`; where the first other one begins."""
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
        """Of an event that may pass unread: what follows its opening."""
        for prefix in _STRINGS:
            if len(self._shapes) < _MOST_SHAPES and rest.startswith(prefix):
                start = rest.find(b':"', len(prefix)) + 2 if prefix == _ARGUMENTS else len(prefix)
                end = _string_end(rest, start)
                if end > 0 and start >= len(prefix):
                    head, (tail, closing) = self.opening + rest[:start], _behind(rest[end:])
                    self._shapes.append((head, len(head), tail, len(tail), closing))

    def forget(self) -> None:
        """Arguments that pass unread have to be those of the last call, and there may be another."""
        self._shapes.clear()

    def remember_opening(self, event: bytes, theirs: bytes, ours: bytes) -> None:
        """Of an event that names the model, if there is nothing of interest in it so far. `theirs`, `ours`: the name as
        it stands there, and as the client gets it."""
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
    """Where the string that begins at `start` ends: at its closing quote; -1 where it has none."""
    at = data.find(b'"', start)
    if at > start and data[at - 1] == _BACKSLASH:
        found = _STRING.match(data, start)
        return found.end() - 1 if found else -1
    return at
