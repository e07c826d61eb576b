"""The Worker's modules as bytecode of Pyodide's Python, so that a Worker starts without compiling them.

In production nothing is compiled at a start either: the platform's snapshot is made after the Worker's imports. The
bytecode is made once for the same sources, and Workers start without it, only slower. Python checks each module's
bytecode against its source, so sources that are replaced later are compiled as usual.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import snapshot, tools
from .build import JS, all_sources

# Generated, and different in every deployment.
_GENERATED = "catalog.py"
_KEPT = 8
_MODULES = ("prelude.mjs", "interpreter.mjs", "bytecode.mjs")


def find_or_make(main: Path, memory: Path | None, cache: Path | None = None) -> Path | None:
    """The bytecode for the Worker with this main module, made now if need be; None, and a line, if it cannot be.

    `memory`: the snapshot to make it with. Its format is known to dev/offline/js alone.
    """
    sources = {path: text for path, text in all_sources(main).items() if path.endswith(".py") and path != _GENERATED}
    path = (cache or snapshot.CACHE) / f"{_key(sources)}.bytecode"
    return snapshot.kept(path, lambda: _make(sources, memory), _KEPT, "The Worker was not compiled beforehand")


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
