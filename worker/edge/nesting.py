"""How deep JSON is nested, found without parsing it."""

from itertools import accumulate

# Pyodide's JSON parser is recursive, and a stack that overflows there ends the whole isolate: 2,000 levels are still
# fine, 3,000 are not.
MOST_LEVELS = 1000
_OPENS, _CLOSES = b"[{", b"]}"
_STEP = {**dict.fromkeys(_OPENS, 1), **dict.fromkeys(_CLOSES, -1)}
_NO_BRACKETS = bytes(set(range(256)) - set(_STEP))


def can_be_parsed(content: bytes) -> bool:
    """Whether this isolate survives parsing it as JSON."""
    if sum(map(content.count, _OPENS)) <= MOST_LEVELS:  # so many brackets open at most as many levels
        return True
    # With NUL it is UTF-16 or UTF-32, which Python's parser reads, and where any byte may look like a quote.
    return b"\0" not in content and depth(content) <= MOST_LEVELS


def depth(content: bytes) -> int:
    """Levels that a parser goes down before the end, or before the first byte that is no JSON, in UTF-8; at least."""
    outside = content.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets), initial=0))
