"""What Prometheus' client libraries say of every process, read from /proc; nothing where there is none.

Source: https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
"""

import os
import resource
from pathlib import Path

from .families import Gauge, Total

_SELF = Path("/proc/self")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def families() -> list[Gauge]:
    """Of this process, the engine's not among it."""
    try:
        # The name in brackets may hold anything, blanks too.
        fields = (_SELF / "stat").read_text().rpartition(")")[2].split()
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
        descriptors = len(os.listdir(_SELF / "fd"))
    except (OSError, StopIteration):
        return []
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, counted from the field after the name.
    user, system, started, virtual, resident = (int(fields[index]) for index in (11, 12, 19, 20, 21))
    cpu = (user + system) / _TICK
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [
        Total("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", values=[((), cpu)]),
        _gauge("process_resident_memory_bytes", "Resident memory size in bytes.", resident * _PAGE),
        _gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", virtual),
        _gauge("process_open_fds", "Number of open file descriptors.", descriptors),
        _gauge("process_max_fds", "Maximum number of open file descriptors.", most),
        _gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            int(booted.split()[1]) + started / _TICK,
        ),
    ]


def _gauge(name: str, help: str, value: float) -> Gauge:
    return Gauge(name, help, values=[((), value)])
