"""Imported by every Python process of the soak. On SIGUSR2 the proxy writes the number of its asyncio tasks."""

import asyncio
import atexit
import os
import signal
import sys
from pathlib import Path


def _write(*_: object) -> None:
    try:
        tasks = len(asyncio.all_tasks(asyncio.get_running_loop()))
    except RuntimeError:  # no running loop (yet)
        return
    directory = Path(os.environ["SOAK_PROBE"])
    beside = directory / f".{os.getpid()}"
    beside.write_text(str(tasks))
    beside.replace(directory / str(os.getpid()))


if "SOAK_PROBE" in os.environ and {"container", "tests.forked"} & {*sys.orig_argv}:
    signal.signal(signal.SIGUSR2, _write)
    # Python removes its handlers at exit, and then the signal would kill the process.
    atexit.register(signal.signal, signal.SIGUSR2, signal.SIG_IGN)
