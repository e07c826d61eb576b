"""Runs the commands of the pages in `docs/` as printed, with a test's address and folders substituted."""

import json
import os
import re
import subprocess
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.processes import ROOT

# The block's language and text.
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Page:
    """`docs/<name>.md`."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / f"{name}.md").read_text()

    def block(self, word: str, language: str = "bash") -> str:
        """The only code block that contains `word`."""
        (found,) = [text for kind, text in BLOCK.findall(self.text) if kind == language and word in text]
        return found


def shell(
    script: str, replaced: Mapping[str, str], environment: Mapping[str, str], folder: Path = ROOT, timeout: float = 60
) -> str:
    """Runs a script and returns its output. Fails unless every command succeeds."""
    for old, new in replaced.items():
        assert old in script, f"{old} is not in the page any more"
        script = script.replace(old, new)
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def curl(script: str, replaced: Mapping[str, str], environment: Mapping[str, str]) -> Any:
    """Runs a block with one `curl` and returns the JSON that it prints."""
    return json.loads(shell(script.replace("curl ", "curl --silent --fail-with-body "), replaced, environment))


def wait_until_healthy(url: str, process: subprocess.Popen) -> None:
    """Waits up to 30 s while the process runs."""
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(url).raise_for_status()
            return
        except httpx.TransportError:
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < deadline, "it does not listen within 30 s"
            time.sleep(0.05)


def railway(name: str) -> dict[str, Any]:
    """Railway's settings in `deploy/<name>`."""
    return tomllib.loads((ROOT / "deploy" / name / "railway.toml").read_text())
