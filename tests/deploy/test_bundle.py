"""The bundle that the real wrangler would upload, and the check of its contents."""

import ast
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from container.config.load import load
from container.proxy import catalog
from dev import bundle
from dev.wrangler_command import Wrangler
from tests.deploy.conftest import Project
from tests.processes import ROOT
from worker import dashboard

# Importable in a Worker beside the standard library: the SDK's packages and the JavaScript modules.
AT_THE_EDGE = {"workers", "js", "pyodide", "_pyodide", "pyodide_js"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[bundle.Bundle, Path]:
    """Builds the bundle of this checkout and returns it with its folder."""
    out = tmp_path_factory.mktemp("bundle")
    # An unreachable proxy: any network access would fail.
    nowhere = {
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "DOCKER_HOST": "tcp://127.0.0.1:9",
    }
    with (ROOT / "worker" / "catalog.py").open("a") as own:
        own.write("# This catalog is out of date.\n")  # not removed, because other tests import it meanwhile
    return bundle.make(Wrangler.installed({**os.environ, **nowhere}), out), out


def imports(source: str) -> set[str]:
    """The first part of every absolute import."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_bundle_contains_only_the_workers_modules(made: tuple[bundle.Bundle, Path]) -> None:
    found, _ = made
    sources = {p.relative_to(ROOT / "worker").as_posix() for p in (ROOT / "worker").rglob("*.py")}
    assert found.own.keys() == sources | {f"dashboard/page/{name}" for name in dashboard.TYPES}
    assert {"entry.py", "edge/objects/own_container.py", "catalog.py", "core/api/auth.py"} <= found.own.keys()
    bundle.check(Wrangler.installed(), found)


def test_every_import_resolves_in_the_bundle(made: tuple[bundle.Bundle, Path]) -> None:
    found, out = made
    own = {name.partition("/")[0].removesuffix(".py") for name in found.own}
    for name in [name for name in found.own if name.endswith(".py")]:
        unknown = imports((out / name).read_text()) - own - AT_THE_EDGE - sys.stdlib_module_names
        assert not unknown, f"{name} imports {unknown}"


def test_the_catalog_is_built_from_the_config(made: tuple[bundle.Bundle, Path]) -> None:
    _, out = made
    assert (out / "catalog.py").read_text() == catalog.source(load(ROOT / "litellm_config.yaml", {}))


def test_without_a_setup_the_build_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    shutil.copy(ROOT / "dev" / "catalog", tmp_path / "dev")
    done = subprocess.run([tmp_path / "dev" / "catalog"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "just setup" in done.stderr


def test_the_sdk_is_the_locked_version(made: tuple[bundle.Bundle, Path]) -> None:
    found, out = made
    version = importlib.metadata.version("workers-runtime-sdk")
    assert f"\nworkers-runtime-sdk=={version} " in (ROOT / "requirements" / "dev.txt").read_text()
    assert f"python_modules/workers_runtime_sdk-{version}.dist-info/METADATA" in found.vendored
    for file in importlib.metadata.files("workers-runtime-sdk") or []:
        if file.suffix in (".py", ".js"):
            assert (out / "python_modules" / file).read_bytes() == file.read_binary()


def test_an_unexpected_file_is_named(project: Project, tmp_path: Path) -> None:
    (project.folder / "worker" / "notes.txt").write_text("not for the public")
    made = bundle.make(project.tool, tmp_path / "out")
    with pytest.raises(bundle.BundleError, match=r"notes\.txt would be uploaded"):
        bundle.check(project.tool, made)


def test_a_missing_file_is_named(project: Project, tmp_path: Path) -> None:
    made = bundle.make(project.tool, tmp_path / "out")
    made.own.pop("core/api/errors.py")
    made.vendored.clear()
    with pytest.raises(bundle.BundleError, match=r"core/api/errors\.py is missing; the Workers SDK is missing"):
        bundle.check(project.tool, made)


def test_a_failing_bundle_is_reported(project: Project, tmp_path: Path) -> None:
    project.answers({"deploy --dry-run": (1, "", "✘ [ERROR] The entry-point file was not found.")})
    with pytest.raises(bundle.BundleError, match="entry-point file was not found"):
        bundle.make(project.tool, tmp_path / "out")


def test_vendoring_removes_stale_files_and_keeps_the_others(tmp_path: Path) -> None:
    bundle.vendor(tmp_path)
    entry = tmp_path / "workers" / "__init__.py"
    os.utime(entry, (1, 1))
    (tmp_path / "workers" / "response.py").write_text("changed")
    (tmp_path / "old.py").write_text("stale")
    bundle.vendor(tmp_path)
    assert entry.stat().st_mtime == 1
    assert "changed" not in (tmp_path / "workers" / "response.py").read_text()
    assert not (tmp_path / "old.py").exists()


def test_the_check_command() -> None:
    done = subprocess.run([ROOT / "dev" / "bundle", "--list"], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "  entry.py\n" in done.stdout
    assert "The Worker's bundle: " in done.stdout
