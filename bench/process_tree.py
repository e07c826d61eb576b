"""CPU time and memory of a process and all its descendants, from the kernel's own books (Linux)."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICK = 1 / os.sysconf("SC_CLK_TCK")
# `CPUCLOCK_SCHED` of <linux/posix-timers.h>: the clock id of another process's CPU time in nanoseconds.
_CPU_CLOCK = 2


@dataclass(frozen=True)
class Memory:
    """Bytes. `pss` counts a page that n processes share as an n-th; 0 where the kernel does not say."""

    rss: int
    pss: int


def descendants(pid: int) -> list[int]:
    """The process itself and everything below it that lives now."""
    found = [pid]
    for parent in found:
        try:
            threads = list((_PROC / str(parent) / "task").iterdir())
        except OSError:  # it has ended
            continue
        for thread in threads:
            try:
                found += map(int, (thread / "children").read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree so far, what its ended children used included."""
    total = 0.0
    for one in descendants(pid):
        try:
            total += time.clock_gettime((~one << 3) | _CPU_CLOCK)
            # The name in parentheses may hold blanks; what follows it does not.
            fields = (_PROC / str(one) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[13]) + int(fields[14])) * _TICK  # cutime, cstime: children that were waited for
    return total


def machine_busy_seconds() -> float:
    """CPU time that the whole machine has used since it started, on all its processors."""
    fields = list(map(int, (_PROC / "stat").read_text().splitlines()[0].split()[1:9]))
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) * _TICK


def memory(pid: int) -> Memory:
    rss = pss = 0
    for one in descendants(pid):
        try:
            lines = (_PROC / str(one) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        rss += sizes.get("Rss", 0)
        pss += sizes.get("Pss", 0)
    return Memory(rss, pss)
