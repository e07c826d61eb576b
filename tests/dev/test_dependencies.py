"""The check of the dependencies in pyproject.toml against the imports."""

import json
from pathlib import Path

import pytest

from dev.dependencies import ROOT, UNIMPORTED_IN_DEVELOPMENT, problems


@pytest.fixture
def project(tmp_path: Path):
    def project(extra: list[str], group: list[str], files: dict[str, str]) -> str:
        text = f"[project.optional-dependencies]\nproxy = {json.dumps(extra)}\nengine = ['litellm']\n"
        (tmp_path / "pyproject.toml").write_text(f"{text}[dependency-groups]\ndev = {json.dumps(group)}\n")
        for name, source in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return "\n".join(problems(tmp_path))

    return project


def test_imported_packages_must_be_declared(project) -> None:
    found = project(["aiohttp"], ["pytest"], {"container/a.py": "import aiohttp, yaml", "tests/a.py": "import pytest"})
    assert "container/a.py imports yaml, and pyyaml is not in the extra proxy" in found
    assert "aiohttp" not in found


def test_an_import_inside_a_function_counts(project) -> None:
    found = project([], [], {"container/a.py": "def f():\n    from redis import asyncio"})
    assert "redis is not in the extra proxy" in found


def test_declared_packages_must_be_imported(project) -> None:
    found = project(["uvloop"], ["httpx"], {"container/a.py": "import json", "tests/a.py": "import uvloop"})
    assert "uvloop is in the extra proxy, and nothing imports it" in found
    assert "httpx is in the group dev, and nothing imports it" in found


def test_the_proxy_does_not_import_the_engines_packages(project) -> None:
    found = project([], [], {"container/a.py": "import litellm", "dev/a.py": "import litellm"})
    assert found == "container/a.py imports litellm, and litellm is not in the extra proxy"


def test_packages_that_share_a_namespace_are_distinguished(project) -> None:
    files = {
        "container/a.py": "from google.auth import exceptions",
        "tests/a.py": "from google.protobuf import message",
    }
    assert project(["google-auth"], ["protobuf"], files) == ""
    assert "protobuf is not in the group dev" in project(["google-auth"], [], files)


def test_code_that_runs_elsewhere_has_its_own_packages(project) -> None:
    assert project([], [], {"tests/x/probe/a.py": "import nonesuch", "worker/a.py": "import js, workers"}) == ""


def test_this_project_declares_what_it_imports() -> None:
    assert problems() == []


def test_every_exception_is_needed() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for name in UNIMPORTED_IN_DEVELOPMENT:
        assert f'"{name}' in text, name
