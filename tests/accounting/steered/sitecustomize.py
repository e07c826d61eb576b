"""Shifts the wall clock of a Python process by the seconds in the file named by CLOCK_OFFSET.

Python imports it when this folder is first in PYTHONPATH. Monotonic clocks are not changed, as a time server does not
change them either.
"""

import os
import time
from pathlib import Path

_FILE = Path(os.environ["CLOCK_OFFSET"])
_seconds, _nanoseconds = time.time, time.time_ns


def _offset() -> float:
    return float(_FILE.read_text())


time.time = lambda: _seconds() + _offset()
time.time_ns = lambda: _nanoseconds() + int(_offset() * 1e9)
