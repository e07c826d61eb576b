"""A process' memory, file descriptors and tasks over time."""

import os
import signal
import statistics
import time
from pathlib import Path
from typing import NamedTuple

# Early in its life, a process fills caches and pools.
_WARM_UP = 0.35
# MB and counts by which two medians may differ under a random load. A leak under real load keeps growing.
_MEMORY_ALLOWED = 12.0
_ALLOWED = 40


class Point(NamedTuple):
    """`at` is monotonic seconds; then memory in MB, open file descriptors and asyncio tasks."""

    at: float
    memory: float
    files: int
    tasks: int


class Watch:
    """Samples a process while it lives, and the one that takes its place after a restart. `probes` is the directory
    that `inside/sitecustomize.py` writes to. Without it the process is not Python's, and its tasks are not counted.
    `shortest`: seconds that the last life must have for its memory to mean something."""

    def __init__(self, probes: Path | None, shortest: float = 0.0) -> None:
        self._probes = probes
        self._shortest = shortest
        self.lives: dict[int, list[Point]] = {}

    def look(self, pid: int) -> Point | None:
        """None if it does not respond, because it has not started or has exited."""
        try:
            tasks = self._tasks(pid) if self._probes else 0
            files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, ValueError):
            return None
        point = Point(time.monotonic(), pages * os.sysconf("SC_PAGESIZE") / 1e6, files, tasks)
        self.lives.setdefault(pid, []).append(point)
        return point

    def _tasks(self, pid: int) -> int:
        assert self._probes is not None
        answer = self._probes / str(pid)
        answer.unlink(missing_ok=True)
        os.kill(pid, signal.SIGUSR2)
        for _ in range(100):
            if answer.exists():
                break
            time.sleep(0.02)
        return int(answer.read_text())

    def last_life(self) -> list[Point]:
        return next(reversed(self.lives.values()), [])

    def trend(self) -> tuple[Point, Point] | None:
        """Medians of the early and the late part of the last life, after its warm-up. None if there are too few
        samples."""
        points = self.last_life()
        points = points[int(len(points) * _WARM_UP) :]
        if len(points) < 6:
            return None
        third = len(points) // 3
        return _median(points[:third]), _median(points[-third:])

    def findings(self) -> list[str]:
        found = self.trend()
        if found is None:
            return [] if self._shortest else ["too few looks at the process"]
        early, late = found
        life = self.last_life()
        if life[-1].at - life[0].at < self._shortest:
            return []
        grown = []
        if late.memory - early.memory > max(_MEMORY_ALLOWED, early.memory * 0.1):
            grown.append(f"memory grew from {early.memory:.1f} to {late.memory:.1f} MB")
        grown += [
            f"{what} grew from {before} to {after}"
            for what, before, after in (("files", early.files, late.files), ("tasks", early.tasks, late.tasks))
            if after - before > _ALLOWED
        ]
        return grown


def _median(points: list[Point]) -> Point:
    return Point(
        statistics.median(point.at for point in points),
        statistics.median(point.memory for point in points),
        round(statistics.median(point.files for point in points)),
        round(statistics.median(point.tasks for point in points)),
    )
