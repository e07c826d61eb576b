"""The wall clock of proxies under test."""

import os
import time
from pathlib import Path

from tests.processes import ROOT


class Clock:
    """Of processes started with its `environment`; `jump(seconds)`: how far it is from the right time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.environment = {
            "CLOCK_OFFSET": str(file),
            "PYTHONPATH": os.pathsep.join((str(Path(__file__).with_name("steered")), str(ROOT))),
        }
        self.jump(0)

    def jump(self, seconds: float) -> None:
        """From the fifth second of a minute on, so that none ends while a test counts."""
        beside = self._file.with_suffix(".new")
        beside.write_text(str(5 - time.time() % 60 + seconds))
        beside.replace(self._file)
