"""The check of the import rules, on trees that break each rule."""

from pathlib import Path

import pytest

from dev import imports


@pytest.fixture
def write(tmp_path: Path):
    def write(files: dict[str, str]) -> imports.Graph:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return imports.graph(tmp_path, sorted({name.partition("/")[0] for name in files}))

    return write


@pytest.mark.parametrize(
    "source",
    [
        "from . import b",
        "from .b import Name",
        "import top.b",
        "from top import b",
        "def f():\n    from . import b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import Name",
    ],
)
def test_a_cycle_of_two_modules_is_found(write, source: str) -> None:
    found = write({"top/__init__.py": "", "top/a.py": source, "top/b.py": "from .a import other"})
    assert imports.circles(found) == [["top.a", "top.b"]]


def test_packages_may_form_a_cycle_without_a_cycle_of_modules(write) -> None:
    found = write(
        {
            "top/__init__.py": "",
            "top/a/__init__.py": "",
            "top/a/high.py": "from ..b.high import name",
            "top/a/low.py": "",
            "top/b/__init__.py": "",
            "top/b/high.py": "from ..a.low import name",
        }
    )
    assert imports.circles(found) == [["top.a", "top.b"]]


def test_a_module_that_imports_the_package_that_imports_it_is_a_cycle(write) -> None:
    found = write({"top/__init__.py": "from .a import name", "top/a.py": "from . import other"})
    assert imports.circles(found) == [["top", "top.a"]]


def test_top_level_folders_are_compared_too(write) -> None:
    found = write({"one/__init__.py": "", "one/a.py": "import two.b", "two/b.py": "", "two/c.py": "from one import a"})
    assert imports.circles(found) == [["one", "two"]]


@pytest.mark.parametrize("source", ["from worker.core import errors", "def f():\n    import worker.core.errors"])
def test_an_import_that_only_a_checkout_can_follow_is_found(write, tmp_path: Path, source: str) -> None:
    write({"worker/core/__init__.py": "", "worker/core/errors.py": "", "worker/core/a.py": source})
    [line] = imports.from_the_folder(tmp_path)
    assert line.startswith("worker/core/a.py, line ")


def test_relative_imports_and_those_from_the_root_can_be_followed(write, tmp_path: Path) -> None:
    write(
        {"worker/core/__init__.py": "", "worker/core/a.py": "from . import errors", "worker/b.py": "from core import a"}
    )
    assert imports.from_the_folder(tmp_path) == []


def test_the_worker_names_its_modules_without_the_folder(write) -> None:
    found = write({"worker/a.py": "from core.errors import Name", "worker/core/errors.py": "from a import other"})
    assert found["worker.a"] == {"worker.core.errors": 1}
    assert imports.circles(found) == [["worker.a", "worker.core"]]


def test_imports_in_one_direction_are_allowed(write) -> None:
    found = write({"top/a.py": "from . import b, c", "top/b.py": "from . import c", "top/c.py": "import json"})
    assert imports.circles(found) == []


TREE = {"top/__init__.py": "", "top/low.py": "import json\nfrom . import high", "top/high.py": ""}


def test_an_import_from_a_higher_layer_is_named_with_its_line(write) -> None:
    (line,) = imports.climbing(write(TREE), {"top": ("top", "low", "high")})
    assert line.startswith("top.low, line 2: imports top.high")


def test_an_import_from_a_lower_layer_is_allowed(write) -> None:
    assert imports.climbing(write(TREE), {"top": ("top", "high", "low")}) == []


def test_modules_of_one_layer_do_not_import_each_other(write) -> None:
    (line,) = imports.climbing(write(TREE), {"top": ("top", "high low")})
    assert "top.low may not import top.high" in line


def test_a_module_without_a_layer_is_named(write) -> None:
    assert imports.climbing(write(TREE), {"top": ("top", "low")})[0] == "top.high has no place in LAYERS"


def test_every_layer_names_existing_modules() -> None:
    known = {name for module in imports.graph() for name in _with_parents(module)} | {"worker.catalog"}
    named = {
        name if name == package else f"{package}.{name}".removeprefix(".")
        for package, order in imports.LAYERS.items()
        for names in order
        for name in names.split()
        if name != package.rpartition(".")[2]
    }
    assert named <= known


def test_this_project_has_no_cycles() -> None:
    found = imports.graph()
    assert len(found) > 200
    assert imports.circles(found) == []
    assert imports.climbing(found) == []


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]
