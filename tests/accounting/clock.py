"""A wall clock that tests can set, for proxies under test."""

import os
import time
from pathlib import Path

from tests.processes import ROOT


class Clock:
    """The wall clock of processes started with its `environment`. `jump(seconds)` sets its offset from the real
    time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.environment = {
            "CLOCK_OFFSET": str(file),
            "PYTHONPATH": os.pathsep.join((str(Path(__file__).with_name("steered")), str(ROOT))),
        }
        self.jump(0)

    def jump(self, seconds: float) -> None:
        """Waits for the fifth second of a minute, so that no minute ends while a test is counting."""
        beside = self._file.with_suffix(".new")
        beside.write_text(str(5 - time.time() % 60 + seconds))
        beside.replace(self._file)
