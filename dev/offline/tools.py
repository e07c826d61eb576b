"""Where the npm tools and the Workers SDK are: workerd's binary, Pyodide's files, the SDK's sources."""

import importlib.metadata
import json
import platform
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NODE_MODULES = REPOSITORY / "node_modules"

PYODIDE_FILES = {
    "pyodide.mjs": "esModule",
    "pyodide.asm.mjs": "esModule",
    "pyodide.asm.wasm": "wasm",
    "python_stdlib.zip": "data",
    "pyodide-lock.json": "text",
}
"""The files of Pyodide that a Worker needs, and as what kind of module workerd gets them."""


class MissingTool(Exception):
    """A tool that `just setup` installs is missing; the message says which one and how to fix it."""


def workerd_binary(node_modules: Path = NODE_MODULES) -> Path:
    """The native binary, not npm's wrapper, which would need Node."""
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform, sys.platform)
    machine = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "64"
    binary = node_modules / "@cloudflare" / f"workerd-{system}-{machine}" / "bin" / "workerd"
    return _present(binary, "workerd")


def pyodide_directory(node_modules: Path = NODE_MODULES) -> Path:
    directory = node_modules / "pyodide"
    for name in PYODIDE_FILES:
        _present(directory / name, "pyodide")
    return directory


def npm_version(package: str, node_modules: Path = NODE_MODULES) -> str:
    manifest = _present(node_modules / package / "package.json", package)
    return json.loads(manifest.read_text())["version"]


def sdk_sources() -> dict[str, str]:
    """The Workers SDK of this environment as {path below site-packages: text}, Python and JavaScript."""
    try:
        distribution = importlib.metadata.distribution("workers-runtime-sdk")
    except importlib.metadata.PackageNotFoundError:
        raise MissingTool("The package workers-runtime-sdk is not installed here; run `just setup`.") from None
    files = distribution.files or []
    return {
        str(file): file.read_text(encoding="utf-8")
        for file in files
        if file.suffix in (".py", ".js") and "__pycache__" not in file.parts
    }


def _present(path: Path, package: str) -> Path:
    if not path.exists():
        raise MissingTool(f"The npm package {package} is not installed ({path} is missing); run `just setup`.")
    return path
