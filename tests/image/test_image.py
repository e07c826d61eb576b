"""The real image: built, started, called and stopped."""

import json
import time
from pathlib import Path

import pytest

from .docker import BUILD_TIMEOUT, MASTER_KEY, SECRET, Container, DockerError, docker, inspect, run_once

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + 120)  # the first test builds
LARGEST_MB = 475
CHAT = {"model": "mock", "messages": [{"role": "user", "content": "hello"}]}
CONNECT = "import socket; socket.create_connection(({!r}, {}), 5)"

FIND_SECRET = f"""
import os
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = set(folders) - {{"proc", "sys", "dev"}}
    for name in files:
        path = os.path.join(folder, name)
        if name.startswith((".env", ".dev.vars")) or "/.git/" in path:
            print(path)
        elif os.path.isfile(path) and os.access(path, os.R_OK) and {SECRET!r}.encode() in open(path, "rb").read():
            print(path)
"""


def test_container_responds_and_stops(image: str) -> None:
    with Container(image) as proxy:
        status, answer = proxy.post("/v1/chat/completions", CHAT)
        assert status == 200, answer
        assert answer["choices"][0]["message"]["content"]
        assert proxy.post("/v1/chat/completions", CHAT, key="sk-wrong")[0] == 401
        proxy.health()
        assert proxy.python("import os; print(os.getuid(), os.getgid())") == "10001 10001"
        assert proxy.python("print(open('/proc/1/comm').read())") == "tini"
        began = time.monotonic()
        assert proxy.stop(grace=20) == 0, proxy.log()
        assert time.monotonic() - began < 15
        assert '"stopped"' in proxy.log()


def test_container_listens_on_every_address(image: str) -> None:
    with Container(image) as proxy:
        proxy.python(CONNECT.format("127.0.0.1", 4000))
        address = proxy.python("import socket; print(socket.gethostbyname(socket.gethostname()))")
        proxy.python(CONNECT.format(address, 4000))


@pytest.mark.usefixtures("has_ipv6")
def test_container_listens_on_ipv6(image: str) -> None:
    with Container(image) as proxy:
        proxy.python(CONNECT.format("::1", 4000))


@pytest.mark.parametrize(
    ("environment", "port"),
    [
        ({"PORT": "4200"}, 4200),
        ({"LITELLM_PORT": "4100", "PORT": "4200"}, 4100),
        ({"LITELLM_PORT": "", "LITELLM_HOST": "0.0.0.0"}, 4000),
    ],
)
def test_port_and_host_from_the_environment(image: str, environment: dict[str, str], port: int) -> None:
    with Container(image, environment=environment, port=port) as proxy:
        proxy.health()
        docker("exec", proxy.id, "litellm-router", "keys", "list")


def test_health_check_fails_without_a_listener(image: str) -> None:
    with Container(image) as proxy, pytest.raises(DockerError, match="no answer on port 4999"):
        proxy.health("--env=LITELLM_PORT=4999")


def test_arguments_follow_the_entry_point(image: str, tmp_path: Path) -> None:
    model = {"model_name": "mine", "litellm_params": {"model": "openai/x", "mock_response": "from my config"}}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"model_list": [model]}))
    config.chmod(0o644)
    with Container(image, "--config", "/app/config.yaml", files={"/app/config.yaml": config}) as proxy:
        status, answer = proxy.post("/v1/chat/completions", {**CHAT, "model": "mine"})
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "from my config")


def test_start_without_a_master_key_is_refused(image: str) -> None:
    done = run_once(image)
    assert done.returncode == 1
    assert "LITELLM_MASTER_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_image_is_small_and_has_its_labels(image: str) -> None:
    found = inspect(image)
    assert found["Size"] <= LARGEST_MB * 1_000_000, f"{found['Size'] / 1e6:.0f} MB"
    config = found["Config"]
    assert config["User"] == "10001"
    assert config["Entrypoint"][-2:] == ["litellm-router", "serve"]
    assert list(config["ExposedPorts"]) == ["4000/tcp"]
    names = {pair.partition("=")[0] for pair in config["Env"]}
    assert not {name for name in names if any(word in name for word in ("KEY", "SECRET", "TOKEN", "PASSWORD"))}


def test_image_contains_no_secret(image: str) -> None:
    """The build folder contained some, see SECRET_FILES."""
    done = run_once(image, "-", options=("--entrypoint", "python", "--user", "0"), stdin=FIND_SECRET)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_bytecode_is_included(image: str) -> None:
    """It cannot be written later, so every start would compile it again."""
    code = """
import importlib.util, os, container.cli.main, litellm, asyncio, worker.core.api.errors
for module in (container.cli.main, litellm, asyncio, worker.core.api.errors):
    if not os.path.exists(importlib.util.cache_from_source(module.__file__)):
        print(module.__file__)
"""
    done = run_once(image, "-", options=("--entrypoint", "python"), stdin=code)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_engine_runs_below_the_proxy(image: str, tmp_path: Path) -> None:
    params = {"model": "cohere_chat/command-a", "api_base": "http://127.0.0.1:9", "api_key": "k"}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": "command", "litellm_params": params}]}))
    config.chmod(0o644)
    with Container(image, "--config", "/app/config.yaml", files={"/app/config.yaml": config}) as proxy:
        proxy.wait_for_log('"engine_running"', timeout=90)
        status, answer = proxy.post("/v1/chat/completions", {**CHAT, "model": "command"})
        assert status >= 500, answer  # nothing listens at its api_base, and the engine found out
        assert answer["error"]["type"] == "upstream_error", answer
        assert proxy.stop(grace=30) == 0, proxy.log()
        assert MASTER_KEY not in proxy.log()
