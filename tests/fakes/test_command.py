"""`python -m tests.fakes`: the fake provider as a separate process."""

import re
import signal
import subprocess
import sys

import httpx

from tests.processes import ROOT


def test_serves_and_exits_on_sigterm():
    command = [sys.executable, "-m", "tests.fakes", "--chunks", "3", "--behave", "sick:503"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        url = f"{found[0]}/v1/chat/completions"
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        answer = httpx.post(url, json=body, headers={"authorization": "Bearer k"})
        assert answer.text.count('"content":"') == 1 + 3
        sick = httpx.post(url, json={**body, "model": "sick"}, headers={"authorization": "Bearer k"})
        assert sick.status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_invalid_behavior_is_reported():
    command = [sys.executable, "-m", "tests.fakes", "--behave", "nonsense"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 2
    assert "unknown behaviour 'nonsense'" in ended.stderr
