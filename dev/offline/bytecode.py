"""The Worker's modules as bytecode of Pyodide's Python, so that a Worker starts without compiling them.

In production nothing is compiled at a start either: the platform's snapshot is made after the Worker's imports. The
bytecode is made once for the same sources, and Workers start without it, only slower. Python checks each module's
bytecode against its source, so sources that are replaced later are compiled as usual.

    python -m dev.offline.bytecode MAIN_MODULE      makes the snapshot and the bytecode, with little priority
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from . import snapshot, tools
from .build import JS, all_sources

# Generated, and different in every deployment.
_GENERATED = "catalog.py"
_KEPT = 8
_MODULES = ("prelude.mjs", "interpreter.mjs", "bytecode.mjs")


def main(main_module: Path) -> None:
    os.nice(10)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # also ends the throw-away workerd, and removes its files
    find_or_make(main_module, snapshot.find_or_make(main_module))


def find_or_make(main: Path, memory: Path | None, cache: Path | None = None, *, make: bool = True) -> Path | None:
    """The bytecode for the Worker with this main module, made now if need be; None, and a line, if it cannot be.

    `memory`: the snapshot to make it with. Its format is known to dev/offline/js alone. `make`: False only finds it.
    """
    cache = cache or snapshot.CACHE
    if not make and not cache.exists():
        return None
    sources = {path: text for path, text in all_sources(main).items() if path.endswith(".py") and path != _GENERATED}
    path = cache / f"{_key(sources)}.bytecode"
    making = (lambda: _make(sources, memory)) if make else None
    return snapshot.kept(path, making, _KEPT, "The Worker was not compiled beforehand")


def _make(sources: Mapping[str, str], memory: Path | None) -> bytes:
    def fill(out: Path) -> list[tuple[str, str, str]]:
        (out / "sources.json").write_text(json.dumps(sources), encoding="utf-8")
        if memory is None:
            (out / "snapshot.bin").touch()
        else:
            shutil.copyfile(memory, out / "snapshot.bin")
        return [("sources.json", "text", "sources.json"), ("snapshot.bin", "data", "snapshot.bin")]

    return snapshot.made_by("bytecode.mjs", fill)


def _key(sources: Mapping[str, str]) -> str:
    digest = hashlib.sha256(f"pyodide={tools.npm_version('pyodide')}\n".encode())
    for name in _MODULES:
        digest.update((JS / name).read_bytes())
    digest.update(json.dumps(sources).encode())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
