"""The Worker's bytecode: that it is made once, that Workers use it, and that it is optional."""

from pathlib import Path
from typing import Any

import pytest

from dev.edge import OfflineEdge
from dev.offline import bytecode, snapshot, workerd
from tests.dev.conftest import PROBE, wait_for
from tests.edge.conftest import V8_FLAGS

MAIN = PROBE / "src/entry.py"
# Logs each module that Python has to compile.
WATCH = """
import importlib.machinery
compiled = importlib.machinery.SourceFileLoader.source_to_code
def source_to_code(self, data, path, **options):
    print("compiled", path)
    return compiled(self, data, path, **options)
importlib.machinery.SourceFileLoader.source_to_code = source_to_code
import helpers
print("helpers say", helpers.greeting("you"))
"""


def start(directory: Path, replaced: dict[str, str], *, prepare_later: bool = False) -> list[str]:
    lines: list[str] = []
    wrangler_path = PROBE / "wrangler.jsonc"
    options: dict[str, Any] = {
        "prepare_later": prepare_later,
        "log": lines.append,
        "replaced": replaced,
        "v8_flags": V8_FLAGS,
    }
    edge = OfflineEdge(directory, {}, None, wrangler_path=wrangler_path, **options)
    try:
        assert edge.start("/hello") == 200
        wait_for(lambda: any("helpers say" in line for line in lines), "the helpers")
        assert (edge.preparing is not None) == prepare_later
        if edge.preparing is not None:
            assert edge.preparing.wait(120) == 0
    finally:
        edge.stop()
    return lines


def test_only_replaced_modules_are_compiled_at_a_start(tmp_path: Path) -> None:
    entry = {"entry.py": WATCH + MAIN.read_text(encoding="utf-8")}
    assert not [line for line in start(tmp_path / "as it is", entry) if "compiled /" in line]
    lines = start(tmp_path / "replaced", {**entry, "helpers.py": "def greeting(name): return 'Another'"})
    assert [line.partition("compiled ")[2] for line in lines if "compiled /" in line] == [
        "/session/metadata/helpers.py"
    ]
    assert any(line.endswith("helpers say Another") for line in lines)


def test_is_made_once_for_the_same_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, str]] = []
    monkeypatch.setattr(bytecode, "_make", lambda sources, memory: made.append(sources) or b"code")
    for sources in ({"a.py": "a = 1"}, {"a.py": "a = 1", "catalog.py": "CATALOG = {}"}, {"a.py": "a = 2"}):
        monkeypatch.setattr(bytecode, "all_sources", lambda main, sources=sources: sources)
        assert bytecode.find_or_make(MAIN, None, tmp_path)
    assert made == [{"a.py": "a = 1"}, {"a.py": "a = 2"}]


def test_the_worker_starts_without_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(sources: object, memory: object) -> bytes:
        raise workerd.WorkerdFailed("workerd has no such option")

    memory = snapshot.find_or_make(MAIN)
    monkeypatch.setattr(bytecode, "_make", fail)
    monkeypatch.setattr(snapshot, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(snapshot, "find_or_make", lambda main, make: memory)
    lines = start(tmp_path, {"entry.py": WATCH + MAIN.read_text(encoding="utf-8")})
    assert any(line.endswith("compiled /session/metadata/helpers.py") for line in lines)
    said = capsys.readouterr().err
    assert "The Worker was not compiled beforehand, so the Worker starts slower: workerd has no" in said


def test_a_first_start_makes_them_only_after_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "CACHE", tmp_path / "cache")  # of this process, so that nothing is found
    entry = {"entry.py": WATCH + MAIN.read_text(encoding="utf-8")}
    lines = start(tmp_path, entry, prepare_later=True)
    assert any(line.endswith("compiled /session/metadata/helpers.py") for line in lines)
    assert not (tmp_path / "cache").exists()


def test_making_both_for_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(bytecode.os, "nice", made.append)
    monkeypatch.setattr(bytecode.signal, "signal", lambda *_: None)
    monkeypatch.setattr(snapshot, "CACHE", tmp_path)
    monkeypatch.setattr(snapshot, "_make", lambda modules: b"memory")
    monkeypatch.setattr(bytecode, "_make", lambda sources, memory: memory.read_bytes() + b" and code")
    bytecode.main(MAIN)
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"memory", b"memory and code"]
    assert made == [10]
