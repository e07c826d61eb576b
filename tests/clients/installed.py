"""The clients' packages, installed from npm and PyPI into .dev/clients.

The versions are those of package-lock.json and requirements/ here.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dev.progress import step
from dev.setup import NO_NETWORK, ROOT, digest

HERE = Path(__file__).parent
HOME = ROOT / ".dev" / "clients"
NODE_MODULES = HOME / "node_modules"
TOOLS = ROOT / ".venv" / "bin"  # Node, npm, uv
_STAMP = HOME / "installed"
_LOCKS = ("package.json", "package-lock.json", "requirements/sdk.txt", "requirements/aider.txt")
# npm runs no scripts. These two copy a program of another package to the place where npm's link points to.
_SCRIPTS = ("@anthropic-ai/claude-code/install.cjs", "opencode-ai/postinstall.mjs")


class OutOfReach(Exception):
    """A registry cannot be reached."""


class InstallFailed(Exception):
    """The command and the end of its output."""


def install() -> None:
    """Does nothing if the locked versions are installed. Raises OutOfReach or InstallFailed."""
    wanted = digest([HERE / name for name in _LOCKS])
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    HOME.mkdir(parents=True, exist_ok=True)
    _STAMP.unlink(missing_ok=True)
    with step("Installing the clients from npm"):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, HOME)
        # Not `npm ci`, which refuses the lock where the registry lacks packages for other platforms.
        npm = [str(TOOLS / "npm"), "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
        _run([*npm, "--loglevel=error"])
        for script in _SCRIPTS:
            _run([str(TOOLS / "node"), str(NODE_MODULES / script)])
    for name in ("sdk", "aider"):
        with step(f"Installing the clients from PyPI: {name}"):
            uv, python = str(TOOLS / "uv"), python_of(name)
            _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(HOME / name)])
            sync = [uv, "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", "--compile-bytecode"]
            _run([*sync, str(HERE / "requirements" / f"{name}.txt")])
    _STAMP.write_text(wanted)


def python_of(name: str) -> Path:
    """The interpreter with the packages of requirements/<name>.txt."""
    return HOME / name / "bin" / "python"


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=HOME, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode == 0:
        return
    said = f"{' '.join(command[:3])} failed:\n" + "\n".join(done.stdout.splitlines()[-15:])
    raise OutOfReach(said) if NO_NETWORK.search(done.stdout) else InstallFailed(said)
