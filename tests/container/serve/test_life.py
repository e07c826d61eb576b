"""Startup and shutdown of the proxy."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest
import yaml

from tests.container.raw import Connection
from tests.container.serve.support import AUTHORIZED, CHAT, ENDLESS, MESSAGES, get, models, post, resident_megabytes
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import ROOT, RunningProxy, free_tcp_port

FRESH_PROXIES = True  # startup and shutdown are under test


def test_startup_takes_little_cpu_and_memory_even_with_an_engine(proxy, provider):
    content = models(provider)
    params = {"model": "cohere_chat/command-a", "api_key": "k", "api_base": provider.url}
    content["model_list"].append({"model_name": "engine", "litellm_params": params})
    gateway = proxy(content, wait=False)
    gateway.wait_until_ready()
    used = psutil.Process(gateway.pid).cpu_times()
    assert get(gateway, "/health", {}).json["engine"] == "starting"
    for _ in range(20):
        assert post(gateway, stream=True).status == 200
    assert resident_megabytes(gateway.pid) < 90
    assert used.user + used.system < 1.5


def start(path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `serve`, which is expected to exit by itself."""
    command = [sys.executable, "-m", "container", "serve", "--config", str(path), *arguments]
    own = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def config_file(tmp_path: Path, provider: FakeProvider) -> Path:
    path = tmp_path / "my_config.yaml"
    path.write_text(yaml.safe_dump(models(provider), sort_keys=False))
    return path


def test_occupied_port_is_a_clear_error(config_file):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = start(config_file, "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"litellm-router: Cannot listen on 127.0.0.1 port {port}: Address already in use. Choose another with --port.\n"
    )


def test_invalid_config_error_names_file_line_and_key(config_file):
    config_file.write_text(
        "model_list:\n  - model_name: a\n    litellm_params:\n      model: openai/x\n"
        "litellm_settings:\n  max_budget: many\n"
    )
    done = start(config_file)
    assert done.returncode == 1
    assert done.stderr.startswith("my_config.yaml:6: litellm_settings.max_budget: error: has to be an amount")
    assert "Traceback" not in done.stderr


def test_without_a_master_key_only_loopback_is_served(config_file):
    done = start(config_file, "--host", "0.0.0.0", "--port", str(free_tcp_port()))
    assert done.returncode == 1
    assert "Without a LITELLM_MASTER_KEY anyone who reaches 0.0.0.0 could spend your money" in done.stderr


def test_disabled_models_are_reported_once(gateway):
    lines = [json.loads(line) for line in gateway.log().splitlines() if "models_off" in line]
    assert [(line["level"], line["set"], line["models"]) for line in lines] == [("warning", "GROQ_API_KEY", ["off"])]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_stream_finishes_before_the_proxy_exits(proxy, provider, number):
    provider.always(Behaviour(pace=0.1, chunks=15))
    gateway = proxy(models(provider))
    body = orjson.dumps({"model": "gpt", "messages": [{"role": "user", "content": "one " * 30}], "stream": True})
    with Connection(gateway.port) as connection, Connection(gateway.port) as idle:
        idle.request("GET", "/health")
        assert idle.answer("GET").status == 200
        connection.request("POST", CHAT, AUTHORIZED, body)
        assert connection.head().status == 200
        assert connection.chunk()
        os.kill(gateway.pid, number)
        assert idle.closed(), "idle connections are closed at once"
        wait_until_closing(gateway)
        rest = b""
        while data := connection.chunk():
            rest += data
    assert rest.endswith(b"data: [DONE]\n\n")
    assert gateway.wait() == 0


def wait_until_closing(gateway: RunningProxy) -> None:
    """Waits until the proxy accepts no new connections."""
    deadline = time.monotonic() + 10
    while accepts(gateway.port):
        assert time.monotonic() < deadline, "new connections are still taken"
        time.sleep(0.02)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_request_that_exceeds_the_grace_period_is_cut_off(proxy, provider):
    provider.always(ENDLESS)
    gateway = proxy(models(provider), environment={"SHUTDOWN_GRACE": "1"})
    with Connection(gateway.port) as connection:
        connection.request(
            "POST", CHAT, AUTHORIZED, orjson.dumps({"model": "gpt", "messages": MESSAGES, "stream": True})
        )
        assert connection.head().status == 200
        began = time.monotonic()
        gateway.terminate()
        assert connection.closed(10)
    assert gateway.wait() == 0
    assert time.monotonic() - began > 0.9
    provider.wait_for(lambda: provider.last.disconnected_at)


def test_second_signal_ends_the_proxy_at_once(proxy, provider):
    provider.always(ENDLESS)
    gateway = proxy(models(provider), environment={"SHUTDOWN_GRACE": "60"})
    with Connection(gateway.port) as connection:
        connection.request(
            "POST", CHAT, AUTHORIZED, orjson.dumps({"model": "gpt", "messages": MESSAGES, "stream": True})
        )
        assert connection.head().status == 200
        gateway.terminate()
        wait_until_closing(gateway)
        gateway.terminate()
        assert gateway.wait(10) == 0


# The module dict has the only reference to it, so it is destroyed with the module.
SENDS_LAST = """
import functools, os
last = type("Last", (), {{"__del__": functools.partial(os.kill, os.getpid(), {number:d})}})()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_during_interpreter_shutdown_is_ignored(proxy, provider, tmp_path, number):
    """The signal arrives while the interpreter destroys its modules and runs no handlers anymore."""
    (tmp_path / "sitecustomize.py").write_text(SENDS_LAST.format(number=number))
    gateway = proxy(models(provider), environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    gateway.terminate()
    assert gateway.wait() == 0
