"""Request and reservation ids: unique, 32 hexadecimal digits, in chronological order.

Ids created together are adjacent in the ledger's indexes, so a commit writes few pages.
"""

import itertools
import os
import time

_COUNT_DIGITS = 5
_process = os.urandom(8).hex()
_count = itertools.count()


def new() -> str:
    """Milliseconds since 1970 (11 digits), a counter (5) and 64 random bits of this process (16)."""
    return f"{time.time_ns() // 1_000_000:011x}{next(_count) % 16**_COUNT_DIGITS:05x}{_process}"


def _forked() -> None:
    """Ids of two processes must differ."""
    global _process
    _process = os.urandom(8).hex()


os.register_at_fork(after_in_child=_forked)
