"""The output of the build, and the consistency of the pinned versions."""

import dataclasses
import importlib.metadata
import json
import re
import stat
from pathlib import Path

import pytest

from dev.edge import WRANGLER_CONFIG
from dev.offline import build, tools, versions, wrangler
from tests.dev.conftest import PROBE


@pytest.fixture
def config() -> wrangler.WranglerConfig:
    return wrangler.read(PROBE / "wrangler.jsonc")


def capnp(config: wrangler.WranglerConfig, directory: Path, **options) -> str:
    return build.build(config, directory / "build", storage=directory / "storage", **options).read_text()


def test_npms_pyodide_is_the_version_that_workerd_needs() -> None:
    wanted = versions.expected_pyodide(wrangler.read(WRANGLER_CONFIG))
    pinned = json.loads((tools.REPOSITORY / "package.json").read_text())["dependencies"]["pyodide"]
    assert pinned == wanted, f"workerd runs Workers on Pyodide {wanted}: pin that version in package.json"
    assert tools.npm_version("pyodide") == wanted


def test_the_version_follows_the_compatibility_date(config: wrangler.WranglerConfig) -> None:
    older = dataclasses.replace(config, compatibility_date="2025-12-01")
    assert versions.expected_pyodide(older) == "0.28.2"


def test_the_sdk_is_the_installed_version() -> None:
    sources = tools.sdk_sources()
    assert "workers/entrypoints.py" in sources
    assert "workers/workflows.js" in sources
    assert not any("__pycache__" in path for path in sources)
    assert importlib.metadata.version("workers-runtime-sdk") in (tools.REPOSITORY / "pyproject.toml").read_text()


def test_reads_a_wrangler_config(config: wrangler.WranglerConfig) -> None:
    assert config.name == "probe"
    assert config.main == PROBE / "src/entry.py"
    assert config.vars == {"GREETING": "hi, // no comment", "LIMITS": {"a": [1, 2]}}
    assert config.bindings == {"BOX": "Box", "RUNNER": "Runner"}
    assert config.sqlite_classes == {"Box", "Runner"}
    assert config.containers == {"Runner"}
    assert config.image("Runner") == "probe-runner:dev"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, // one\n "b": 2,}', {"a": 1, "b": 2}),
        ('{/* "a": 1, */ "b": [1, 2,],}', {"b": [1, 2]}),
        ('{"a": "// stays", "b": "/* too */", "c": ",}"}', {"a": "// stays", "b": "/* too */", "c": ",}"}),
        ('{"a": "\\"// quoted"}', {"a": '"// quoted'}),
    ],
)
def test_json_with_comments(text: str, value: dict) -> None:
    assert wrangler.parse_jsonc(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n// fine\n"name" 1}', "line 3"),
        ('{"name": "x", "main": 1, "compatibility_date": "2026-11-17"}', '"main" must be a string'),
    ],
)
def test_a_broken_config_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrangler.jsonc"
    path.write_text(text)
    with pytest.raises(wrangler.WranglerConfigError) as caught:
        wrangler.read(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(wrangler.WranglerConfigError, match="There is no"):
        wrangler.read(tmp_path / "wrangler.jsonc")


def test_takes_the_workers_sources_and_no_bytecode(tmp_path: Path) -> None:
    for name in ("src/entry.py", "src/package/__init__.py", "src/__pycache__/entry.cpython-311.py", "src/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}")
    sources = build.worker_sources(tmp_path / "src/entry.py")
    assert sources == {"entry.py": "# src/entry.py", "package/__init__.py": "# src/package/__init__.py"}


def test_generated_sources_replace_the_workers_own(config: wrangler.WranglerConfig, tmp_path: Path) -> None:
    capnp(config, tmp_path, replaced={"helpers.py": "# made"})
    sources = json.loads((tmp_path / "build/sources.json").read_text())
    assert sources["helpers.py"] == "# made"
    assert sources["entry.py"] == (PROBE / "src/entry.py").read_text()


def test_bindings_namespaces_and_flags(config: wrangler.WranglerConfig, tmp_path: Path) -> None:
    text = capnp(config, tmp_path, vars={"GREETING": "other", "KEY": 'say "ü"\n\\'})
    assert '(name = "GREETING", text = "other")' in text
    assert r'(name = "KEY", text = "say \"\303\274\"\012\\")' in text
    assert r'(name = "LIMITS", json = "{\"a\": [1, 2]}")' in text
    assert '(name = "BOX", durableObjectNamespace = "Box")' in text
    assert '(className = "Box", uniqueKey = "probe-Box", enableSql = true)' in text
    assert 'enableSql = true, container = (imageName = "probe-runner:dev")' in text
    assert "python_workers" not in text
    assert "containerEngine = (none = void)" in text


def test_another_version_has_its_own_sources_and_variables_and_shares_the_objects(
    config: wrangler.WranglerConfig, tmp_path: Path
) -> None:
    other = build.Version({"GREETING": "second"}, {"helpers.py": "# of the second"})
    text = capnp(config, tmp_path, vars={"GREETING": "first"}, versions=[other])
    assert '(name = "BOX", durableObjectNamespace = (className = "Box", serviceName = "main"))' in text
    assert f'(name = "{build.version_socket(1)}"' in text
    assert [text.count(f'text = "{one}"') for one in ("first", "second")] == [1, 1]
    assert text.count("durableObjectNamespaces") == 1
    own, others = (json.loads((tmp_path / "build" / name).read_text()) for name in ("sources.json", "1-sources.json"))
    assert others["helpers.py"] == "# of the second" != own["helpers.py"]


def test_a_class_that_is_apart_has_a_worker_with_the_same_modules(
    config: wrangler.WranglerConfig, tmp_path: Path
) -> None:
    text = capnp(config, tmp_path, apart=("Box",))
    main, box = text[text.index("const main :") : text.index("const ofBox :")], text[text.index("const ofBox :") :]
    there = '(className = "{}", serviceName = "{}")'
    assert there.format("Box", "ofBox") in main
    assert there.format("Runner", "main") in box
    assert 'className = "Box", uniqueKey = "probe-Box"' in box
    assert 'className = "Runner", uniqueKey' in main
    assert text.count("uniqueKey") == 2, "each class is in one place"
    assert text.count('embed "sources.json"') == 2


def test_an_engine_is_a_socket_and_a_sidecar(config: wrangler.WranglerConfig, tmp_path: Path) -> None:
    text = capnp(config, tmp_path, engine=build.Engine(Path("/run/e.sock"), "side:1"))
    assert 'localDocker = (socketPath = "unix:/run/e.sock", containerEgressInterceptorImage = "side:1")' in text


def test_the_config_holds_secrets_and_is_readable_only_by_its_owner(
    config: wrangler.WranglerConfig, tmp_path: Path
) -> None:
    path = build.build(config, tmp_path / "build", storage=tmp_path / "storage", vars={"KEY": "secret"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_embedded_file_exists(config: wrangler.WranglerConfig, tmp_path: Path) -> None:
    text = capnp(config, tmp_path)
    embedded = re.findall(r'embed "([^"]+)"', text)
    assert {"main.mjs", "snapshot.bin", "bytecode.bin"} <= set(embedded)
    for path in embedded:
        assert (tmp_path / "build" / path).exists(), path


def test_a_missing_npm_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(tools.MissingTool, match=r"npm package workerd is not installed.*run `just setup`"):
        tools.workerd_binary(tmp_path)
    with pytest.raises(tools.MissingTool, match="npm package pyodide is not installed"):
        tools.pyodide_directory(tmp_path)
