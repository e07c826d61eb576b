"""Every command and snippet of the README, run as they stand but for the port."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import first_minute
from tests.processes import ROOT, free_tcp_port

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, re.DOTALL)
PORT = "8787"
DEV = "pip install uv && uvx --from rust-just just dev\n"
TEST = "pip install uv && uvx --from rust-just just test\n"
BIN = Path(sys.executable).parent
ENVIRONMENT = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}


def block(language: str, word: str) -> str:
    """The one block that holds the word."""
    (found,) = [text for kind, text in BLOCKS if kind == language and word in text]
    return found


@pytest.fixture(scope="module")
def dev() -> Iterator[tuple[int, str]]:
    """`just dev` on a free port, without `pip install uv`, which every machine that runs this test has behind it: the
    port and what it printed until it listened."""
    assert ("bash", DEV) in BLOCKS
    port = free_tcp_port()
    process = subprocess.Popen(
        [BIN / "just", "dev", "--port", str(port), "--runtime", "offline"],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    printed = ""
    deadline = time.monotonic() + 100
    try:
        while "curl" not in printed:
            line = process.stdout.readline()
            assert line, f"just dev ended:\n{printed}"
            assert time.monotonic() < deadline, printed
            printed += line
        yield port, printed
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def shell(command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_last_line_of_just_dev_is_a_curl_that_works_as_printed(dev):
    _, printed = dev
    command = printed.rstrip().splitlines()[-1].split("try: ", 1)[1]
    assert '"chat.completion"' in shell(command)


def test_the_curl(dev):
    command = block("bash", "curl http://127.0.0.1")
    assert '"chat.completion"' in shell(command.replace(PORT, str(dev[0])))


def test_the_openai_client(dev):
    snippet = block("python", "from openai import OpenAI").replace(PORT, str(dev[0]))
    done = subprocess.run(
        [sys.executable, "-c", snippet], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "mock" in done.stdout


def test_a_key_with_a_budget(dev):
    port, _ = dev
    command = block("bash", "keys create").replace(".venv/bin/", f"{BIN}/").replace(PORT, str(port))
    key = shell(command).strip()
    assert key.startswith("sk-")
    asked = block("bash", "curl http://127.0.0.1").replace(PORT, str(port)).replace("sk-1234", key)
    assert '"chat.completion"' in shell(asked)


def test_the_proxy_alone(dev):
    command = block("bash", "litellm-router serve").strip()
    assert command.startswith(".venv/bin/litellm-router ")
    port = free_tcp_port()
    words = [str(BIN / "litellm-router"), *command.replace("4000", str(port)).split()[1:]]
    process = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        health = f"for i in $(seq 100); do curl -sf http://127.0.0.1:{port}/health && break; sleep 0.1; done"
        assert '"healthy"' in shell(health)
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_the_disk_space_is_stated_where_ci_looks_for_it():
    """`just first-minute` measures it, which `.ci/run` calls."""
    assert first_minute.said_in(ROOT) == 650
    assert "recipe first-minute" in (ROOT / ".ci" / "run").read_text()


def test_all_tests_are_what_ci_runs():
    assert ("bash", TEST) in BLOCKS
    ci = (ROOT / ".ci" / "run").read_text()
    assert "uvx --quiet --from rust-just just" in ci
    assert ci.endswith("\nrecipe test\n")


def test_the_command_leaves_no_test_out():
    *_, whole = (ROOT / "dev" / "test").read_text().splitlines()
    assert whole.startswith("exec pytest -n ")
    assert not any(option in whole for option in (" -k", " -m", "--ignore", "--deselect", "tests/"))


def test_the_files_it_speaks_of_are_there():
    for link in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / link).exists(), link
    for folder in re.findall(r"`((?:worker|container|dev|tests|bench)/[\w/]*)`", README):
        assert (ROOT / folder).is_dir(), folder
