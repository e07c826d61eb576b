"""Whether the time that a function takes grows with its input, and not with a power of it."""

import time
from collections.abc import Callable

_TIMES_LARGER = 8
_MOST = 24  # 8 for what is linear, 64 for what is quadratic
_ROUNDS = 5


def grows_linearly(run: Callable[[str], object], unit: str, size: int = 8_000) -> bool:
    """`run` is given `unit` repeated to about `size` characters, and to 8 times as many."""
    small, large = (unit * (length // len(unit)) for length in (size, _TIMES_LARGER * size))
    return _seconds(run, large) < _MOST * max(_seconds(run, small), 20e-6)


def _seconds(run: Callable[[str], object], text: str) -> float:
    """The fastest of several runs, in CPU time: what else the machine does is not counted."""
    found = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        run(text)
        found.append(time.process_time() - began)
    return min(found)
