"""Imported by every Python process of the soak: SIGUSR2 makes the proxy write how many asyncio tasks it has."""

import asyncio
import atexit
import os
import signal
import sys
from pathlib import Path


def _write(*_: object) -> None:
    try:
        tasks = len(asyncio.all_tasks(asyncio.get_running_loop()))
    except RuntimeError:  # no loop runs (yet)
        return
    directory = Path(os.environ["SOAK_PROBE"])
    beside = directory / f".{os.getpid()}"
    beside.write_text(str(tasks))
    beside.replace(directory / str(os.getpid()))


if "SOAK_PROBE" in os.environ and "container" in sys.orig_argv:
    signal.signal(signal.SIGUSR2, _write)
    # At its end Python takes its handlers away, and then the signal would kill the process.
    atexit.register(signal.signal, signal.SIGUSR2, signal.SIG_IGN)
