"""CPU and memory of a process tree, including children that have exited."""

import os
import subprocess
import sys
import time

from bench import process_tree

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_cpu_includes_running_and_exited_children():
    program = (
        f"import subprocess, sys, time\nburn = {BURN!r}\n"
        "subprocess.run([sys.executable, '-c', burn])\n"  # has exited
        "child = subprocess.Popen([sys.executable, '-c', burn + 'time.sleep(60)'])\n"  # still running
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while process_tree.cpu_seconds(process.pid) < 0.58 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert 0.58 <= process_tree.cpu_seconds(process.pid) < 5
        assert len(process_tree.descendants(process.pid)) == 2
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_memory_of_this_process():
    memory = process_tree.memory(os.getpid())
    assert 5_000_000 < memory.pss <= memory.rss


def test_an_exited_process_uses_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert process_tree.cpu_seconds(process.pid) == 0
    assert process_tree.memory(process.pid) == process_tree.Memory(0, 0)
