"""The wheel, installed without the checkout: one top-level package, and a command that serves."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import httpx
import pytest
import yaml

from tests.processes import ROOT, free_tcp_port

CONFIG = {"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/x", "mock_response": "hello"}}]}
# Neither the checkout nor anything that points to it.
CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of a new environment with the wheel. The packages that it needs are those of this environment."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(python), str(wheel)]
    subprocess.run(install, check=True)
    purelib = environment / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    # Python searches paths named in a .pth file, but ignores the .pth files there, so the checkout is not found.
    (purelib / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False)


def test_it_has_one_top_level_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"litellm_router", "litellm_router-0.1.0.dist-info"}


def test_it_has_the_data_files_and_no_build_output(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {
        f"litellm_router/{path.relative_to(ROOT).as_posix()}"
        for top in ("container", "worker")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "catalog.py"
    }
    assert here - names == set()
    assert not [name for name in names if "worker/catalog.py" in name or name.endswith(".pyc")]


def test_container_and_worker_cannot_be_imported(installed: Path, tmp_path: Path) -> None:
    for name in ("container", "worker", "dev"):
        done = run(installed / "python", "-c", f"import {name}", cwd=tmp_path)
        assert f"No module named '{name}'" in done.stderr
    assert run(installed / "python", "-c", "import litellm_router", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", [("litellm-router",), ("python", "-m", "litellm_router")])
def test_the_command_exists_under_both_names(installed: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(installed / command[0], *command[1:], "--version", cwd=tmp_path)
    assert done.stdout.split() == ["litellm-router", "0.1.0"]


@pytest.mark.parametrize("command", ["dev", "catalog"])
def test_commands_that_need_the_checkout_say_so(installed: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "litellm_config.yaml").write_text(yaml.safe_dump(CONFIG))
    done = run(installed / "litellm-router", command, cwd=tmp_path)
    assert done.returncode == 1
    assert "checkout" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_serves(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "litellm_config.yaml").write_text(yaml.safe_dump(CONFIG))
    port = free_tcp_port()
    url = f"http://127.0.0.1:{port}"
    command = [installed / "litellm-router", "serve", "--port", str(port)]
    with (
        subprocess.Popen(command, cwd=tmp_path, env=CLEAN, stderr=subprocess.DEVNULL) as proxy,
        httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=8)) as client,
    ):
        try:
            asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            answer = client.post("/v1/chat/completions", json=asked)
            page = client.get("/dashboard")
        finally:
            proxy.terminate()
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert page.status_code == 200
    assert proxy.returncode == 0
