"""A memory snapshot of Pyodide with the standard library's modules imported, so that a Worker starts in about a second.

It uses private options of Pyodide (`_makeSnapshot`, `_loadSnapshot`) and must be made by the same workerd that loads
it. If it cannot be made, Workers start without it, only slower.
"""

import ast
import functools
import hashlib
import http.client
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from . import tools, workerd
from .build import CONFIG, JS, SOCKET, all_sources, interpreter_modules, module_list

CACHE = tools.REPOSITORY / ".dev" / "snapshots"
# What asyncio and the SDK reach at the first request rather than at import.
_ALWAYS = ("asyncio", "json", "http.client", "email.parser", "random", "inspect", "functools", "logging", "traceback")
# Importing these draws randomness, touches JavaScript or does not work in Pyodide.
_NEVER = ("multiprocessing", "secrets", "ssl", "tkinter", "uuid")
_KEPT = 6  # more than the Workers of the tests, or they would throw out each other's


def find_or_make(main: Path, cache: Path | None = None, *, make: bool = True) -> Path | None:
    """The snapshot for the Worker with this main module, made now if need be; None, and a line, if it cannot be.

    `make`: False only finds it.
    """
    cache = cache or CACHE
    if not make and not cache.exists():  # without reading all sources
        return None
    modules = standard_modules(all_sources(main))
    path = cache / f"{_key(modules)}.bin"
    return kept(path, (lambda: _make(modules)) if make else None, _KEPT, "No snapshot of Python could be made")


def kept(path: Path, make: Callable[[], bytes] | None, most: int, failure: str) -> Path | None:
    """The file, made now if need be. Of its kind, the `most` that were used last are kept beside it."""
    if path.exists():
        path.touch()  # the least recently used are thrown away
        return path
    if make is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        content = make()
    except (workerd.WorkerdFailed, http.client.HTTPException, OSError) as error:
        print(f"{failure}, so the Worker starts slower: {error}", file=sys.stderr)
        return None
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # another process may make the same one
        file.write(content)
    os.replace(file.name, path)
    for old in sorted(path.parent.glob(f"*{path.suffix}"), key=lambda p: p.stat().st_mtime)[:-most]:
        old.unlink(missing_ok=True)
    return path


def standard_modules(sources: Mapping[str, str]) -> list[str]:
    """The standard library's modules that these sources import, anywhere in them."""
    found: set[str] = set(_ALWAYS)
    for path, text in sources.items():
        if not path.endswith(".py"):
            continue
        found |= _imported(text, path)
    top = {name: name.partition(".")[0] for name in found}
    return sorted(n for n in found if top[n] in sys.stdlib_module_names and top[n] not in _NEVER)


@functools.cache
def _imported(text: str, path: str) -> set[str]:
    """Cached, because tests start hundreds of Workers from the same sources, and parsing them all takes 0.3 s."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def _warm_up(modules: list[str]) -> str:
    """Skips modules that are missing in Pyodide's standard library."""
    return f"""
import importlib
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
del name, importlib
"""


def _make(modules: list[str]) -> bytes:
    def fill(out: Path) -> list[tuple[str, str, str]]:
        (out / "warm_up.py").write_text(_warm_up(modules), encoding="utf-8")
        return [("warm_up.py", "text", "warm_up.py")]

    return made_by("snapshot.mjs", fill)


def made_by(entry: str, fill: Callable[[Path], list[tuple[str, str, str]]]) -> bytes:
    """What a throw-away workerd with this main module of dev/offline/js serves. `fill` writes further modules to a
    directory and lists them. Raises WorkerdFailed, HTTPException, OSError."""
    with tempfile.TemporaryDirectory(prefix="workerd-") as scratch:
        out = Path(scratch).resolve()
        for name in ("prelude.mjs", "interpreter.mjs", entry):
            shutil.copyfile(JS / name, out / name)
        modules = [(entry, "esModule", entry), *interpreter_modules(out), *fill(out)]
        (out / CONFIG).write_text(_config(modules), encoding="utf-8")
        server = workerd.Workerd(out / CONFIG, log=lambda line: None)
        server.start()
        try:
            if server.wait_until_ready() != 200:
                raise workerd.WorkerdFailed(f"workerd did not serve {entry}")
            connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
            connection.request("GET", "/")
            return connection.getresponse().read()
        finally:
            server.stop()


def _config(modules: list[tuple[str, str, str]]) -> str:
    return f"""using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = {module_list(modules)}, compatibilityDate = "2026-06-01"))],
  sockets = [(name = "{SOCKET}", address = "127.0.0.1:0", http = (), service = "main")],
);
"""


def _key(modules: list[str]) -> str:
    """Everything that affects the snapshot's contents or the runtime that can load it."""
    digest = hashlib.sha256()
    for package in ("workerd", "pyodide"):
        digest.update(f"{package}={tools.npm_version(package)}\n".encode())
    for name in ("prelude.mjs", "interpreter.mjs", "snapshot.mjs"):
        digest.update((JS / name).read_bytes())
    digest.update(_warm_up(modules).encode())
    return digest.hexdigest()[:16]
