"""How many cores this process may use: those that it may run on, and no more than its container's share of time."""

import math
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores(root: Path = _ROOT, own: Path = _OWN) -> int:
    """`root`: where control groups are mounted. `own`: this process's, in the format of cgroups(7).

    A share of one core and a half counts as two, because one process cannot use it.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for share in _shares(root, own) if share > 0]
    return max(1, min([there, *map(math.ceil, shares)]))


def _shares(root: Path, own: Path) -> list[float]:
    """Return the limits in cores: of the control group itself and of those that it is in.

    https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max), and version 1's cpu.cfs_quota_us
    """
    found = []
    for folder in _folders(root, own):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
        except (OSError, ValueError):
            try:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            except OSError:
                continue
        try:
            found.append(int(quota) / int(period))
        except (ValueError, ZeroDivisionError):  # "max"
            continue
    return found


def _folders(root: Path, own: Path) -> list[Path]:
    """In a container its own control group is usually mounted as the root."""
    found = [root, root / "cpu", root / "cpu,cpuacct"]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        base = root / controllers if controllers else root
        folder = base / path.lstrip("/")
        found += [one for one in (folder, *folder.parents) if one == base or base in one.parents]
    return found
