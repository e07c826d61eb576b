"""Installs the locked requirements into .venv and node_modules; does nothing if they are up to date.

    dev/setup [--force]

Uses only the standard library, because it runs first on a fresh machine.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .progress import say, step

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"
MINIMUM_PYTHON = (3, 11)
_STAMP = ".litellm-router-setup"
NO_NETWORK = re.compile(
    r"dns error|error sending request|failed to lookup|connection refused|could not connect|timed out|unreachable"
    r"|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH",
    re.IGNORECASE,
)


class SetupFailed(Exception):
    """The problem and its fix."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev/setup", description="Installs what the project needs into itself.")
    parser.add_argument("--force", action="store_true", help="install again although nothing has changed")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        python = set_up_python(given.force)
        npm = set_up_npm(given.force)
    except SetupFailed as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    if python or npm:
        say(f"Everything is installed ({time.monotonic() - started:.0f} s).")
    return 0


def set_up_python(force: bool = False) -> bool:
    """.venv with the requirements of requirements/dev.txt and the project itself. Whether there was anything to do."""
    python = VENV / "bin" / "python"
    wanted = digest([ROOT / "requirements" / "dev.txt", ROOT / "pyproject.toml"])
    if not force and python.exists() and _stamp(VENV) == wanted:
        return False
    uv = _uv()
    if not python.exists():
        version = sys.version_info[:2]
        if version < MINIMUM_PYTHON:
            raise SetupFailed(f"Python {version[0]}.{version[1]} is too old; install Python 3.11 or newer.")
        with step("Making .venv"):
            _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)])
    target = ["--quiet", "--python", str(python)]
    with step("Installing the Python packages"):
        _run([uv, "pip", "sync", *target, "--require-hashes", "requirements/dev.txt"])
        _run([uv, "pip", "install", *target, "--no-deps", "--no-build-isolation", "--editable", "."])
    (VENV / _STAMP).write_text(wanted)
    return True


def set_up_npm(force: bool = False) -> bool:
    """node_modules as package-lock.json says, by the Node of .venv. Whether there was anything to do."""
    wanted = digest([ROOT / "package.json", ROOT / "package-lock.json"])
    if not force and _stamp(NODE_MODULES) == wanted:
        return False
    with step("Installing the npm packages"):
        # Not `npm ci`: it refuses the lock where the index lacks workerd for platforms other than this one. This
        # installs the locked versions, checks their hashes and writes neither package.json nor the lock.
        _run([str(VENV / "bin" / "npm"), "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"])
    (NODE_MODULES / _STAMP).write_text(wanted)
    return True


def digest(files: Sequence[Path]) -> str:
    """Of the files' contents and of the interpreter's version."""
    hashed = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for file in files:
        hashed.update(file.read_bytes())
    return hashed.hexdigest()


def explain(command: Sequence[str], output: str) -> str:
    """A sentence about a failed command, with the end of its output."""
    name = " ".join([Path(command[0]).name, *(word for word in command[1:3] if not word.startswith("-"))])
    said = "\n".join(output.strip().splitlines()[-15:])
    if NO_NETWORK.search(output):
        return f"{name} could not reach its package index; connect to the network and try again. It said:\n{said}"
    return f"{name} failed; mend what it names and try again. It said:\n{said}"


def _stamp(directory: Path) -> str | None:
    path = directory / _STAMP
    return path.read_text() if path.exists() else None


def _uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=str(VENV / "bin"))
    if found is None:
        raise SetupFailed("uv is not installed; run: pip install uv")
    return found


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise SetupFailed(explain(command, done.stdout))


if __name__ == "__main__":
    sys.exit(main())
