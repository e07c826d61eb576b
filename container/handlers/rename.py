"""A name in a stream of bytes, replaced by another even where it is split over two reads."""

from collections.abc import Iterable


class Rename:
    """`feed` returns what may go on; the end of a read that could be the beginning of `old` waits for the next one."""

    __slots__ = ("_held", "_new", "_old")

    def __init__(self, old: bytes, new: bytes) -> None:
        self._old = old
        self._new = new
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
        cut = len(data) - self._begun(data)
        self._held = data[cut:]
        return data[:cut].replace(self._old, self._new)

    def end(self) -> bytes:
        """What was held back, as nothing follows any more."""
        rest, self._held = self._held, b""
        return rest

    def _begun(self, data: bytes) -> int:
        """How many bytes at the end are the beginning of the old name, and not part of a whole one."""
        old = self._old
        first = old[:1]
        whole = data.rfind(old)
        at = data.find(first, max(len(data) - len(old) + 1, whole + len(old) if whole >= 0 else 0))
        while at >= 0:
            if old.startswith(data[at:]):
                return len(data) - at
            at = data.find(first, at + 1)
        return 0


class Renames:
    """Several at once: `pairs` of an old and a new name."""

    __slots__ = ("_each",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._each = [Rename(old, new) for old, new in pairs]

    def feed(self, data: bytes) -> bytes:
        for one in self._each:
            data = one.feed(data)
        return data

    def end(self) -> bytes:
        rest = b""
        for one in self._each:
            rest = one.feed(rest) + one.end()
        return rest
