"""Determines the nesting depth of JSON without parsing it."""

from itertools import accumulate

# Pyodide's JSON parser is recursive, and a stack overflow ends the whole isolate. 2,000 levels work, 3,000 do not.
MOST_LEVELS = 1000
_OPENS, _CLOSES = b"[{", b"]}"
_STEP = {**dict.fromkeys(_OPENS, 1), **dict.fromkeys(_CLOSES, -1)}
_NO_BRACKETS = bytes(set(range(256)) - set(_STEP))


def can_be_parsed(content: bytes) -> bool:
    """Whether parsing the content as JSON is safe for this isolate."""
    if sum(map(content.count, _OPENS)) <= MOST_LEVELS:  # the depth cannot exceed the number of opening brackets
        return True
    # With NUL it may be UTF-16 or UTF-32, which Python's parser accepts, and in which any byte may look like a quote.
    return b"\0" not in content and depth(content) <= MOST_LEVELS


def depth(content: bytes) -> int:
    """Returns the depth that a parser reaches before the end or the first invalid byte, or more. Expects UTF-8."""
    outside = content.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets), initial=0))
