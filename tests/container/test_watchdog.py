"""The watchdog ends a process with a blocked event loop, but not one that works or was paused."""

import os
import signal
import subprocess
import sys
import time

from container.proxy.process import EXIT_CODE
from tests.processes import ROOT

PROGRAM = """
import asyncio, sys, time
from container.proxy.process import Watchdog

async def main():
    Watchdog(0.5).start()
    print("watching", flush=True)
    await asyncio.sleep(0.2)
    if sys.argv[1] == "hangs":
        time.sleep(30)
    await asyncio.sleep(2)

asyncio.run(main())
"""


def start(what: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, what], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "watching\n"
    return process


def test_blocked_loop_ends_the_process_with_a_message():
    process = start("hangs")
    _, log = process.communicate(timeout=20)
    assert process.returncode == EXIT_CODE
    assert '"event":"hung"' in log


def test_working_process_is_not_ended():
    process = start("works")
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_process_that_was_paused_is_not_ended():
    process = start("works")
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2)
    os.kill(process.pid, signal.SIGCONT)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
