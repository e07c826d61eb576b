"""Checks that a function's running time is linear in its input."""

import time
from collections.abc import Callable

_TIMES_LARGER = 8
_MOST = 24  # 8 if linear, 64 if quadratic
_ROUNDS = 5


def grows_linearly(run: Callable[[str], object], unit: str, size: int = 8_000) -> bool:
    """`run` gets `unit` repeated to about `size` characters, and to 8 times as many."""
    small, large = (unit * (length // len(unit)) for length in (size, _TIMES_LARGER * size))
    return _seconds(run, large) < _MOST * max(_seconds(run, small), 20e-6)


def _seconds(run: Callable[[str], object], text: str) -> float:
    """The fastest of several runs in CPU time, which excludes other load on the machine."""
    found = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        run(text)
        found.append(time.process_time() - began)
    return min(found)
