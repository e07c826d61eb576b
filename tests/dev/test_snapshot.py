"""The memory snapshot: its contents, that it is made once, and that it is optional."""

from pathlib import Path

import pytest

from dev.offline import snapshot, workerd
from tests.dev.conftest import PROBE

MAIN = PROBE / "src/entry.py"


def test_contains_the_standard_library_modules_imported_anywhere() -> None:
    sources = {
        "a.py": "import js\nimport html.parser\ndef late():\n    from base64 import b64encode\n",
        "b.py": "from .a import x\nfrom workers import fetch\nimport secrets, uuid",
        "c.js": "import nothing",
    }
    found = snapshot.standard_modules(sources)
    assert {"html.parser", "base64", "asyncio"} <= set(found)
    assert not {"js", "workers", "a", "secrets", "uuid"} & set(found)


def test_is_made_once_and_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's, which other tests use, too."""
    made = snapshot.find_or_make(MAIN)
    assert made is not None
    assert made.stat().st_size > 10_000_000

    def never(modules: list[str]) -> bytes:
        raise AssertionError("made again")

    monkeypatch.setattr(snapshot, "_make", never)
    assert snapshot.find_or_make(MAIN) == made


def test_other_versions_or_modules_make_another_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_make", lambda modules: b"memory")
    first = snapshot.find_or_make(MAIN, tmp_path)
    monkeypatch.setattr(snapshot, "standard_modules", lambda sources: ["asyncio"])
    second = snapshot.find_or_make(MAIN, tmp_path)
    monkeypatch.setattr(snapshot.tools, "npm_version", lambda package: "1.2.3")
    third = snapshot.find_or_make(MAIN, tmp_path)
    assert len({first, second, third}) == 3


def test_old_snapshots_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_make", lambda modules: b"memory")
    for number in range(9):
        monkeypatch.setattr(snapshot, "standard_modules", lambda sources, number=number: [str(number)])
        newest = snapshot.find_or_make(MAIN, tmp_path)
    left = list(tmp_path.iterdir())
    assert len(left) == 6
    assert newest in left


def test_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """test_bytecode starts a Worker without one."""

    def fail(modules: list[str]) -> bytes:
        raise workerd.WorkerdFailed("workerd has no such option")

    monkeypatch.setattr(snapshot, "_make", fail)
    assert snapshot.find_or_make(MAIN, tmp_path) is None
    said = capsys.readouterr().err
    assert "No snapshot of Python could be made, so the Worker starts slower: workerd has no such option" in said
