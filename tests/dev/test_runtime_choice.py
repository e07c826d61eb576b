"""The choice between wrangler and the offline edge, and its reasons."""

import http.server
import os
import socket
import time
from pathlib import Path

import pytest

from dev import runtime_choice
from dev.wrangler_command import node_is_new_enough


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a `docker` command with this script on the path."""

    def install(script: str) -> None:
        path = tmp_path / "docker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("WRANGLER_DOCKER_BIN", raising=False)

    return install


@pytest.mark.parametrize("name", ["offline", "wrangler"])
def test_a_requested_runtime_is_used(name: str) -> None:
    assert runtime_choice.choose(name) == (name, f"you asked for it with --runtime {name}")


def test_offline_with_a_config_that_is_not_in_the_image() -> None:
    assert runtime_choice.choose("auto", in_image=False).name == "offline"


def test_offline_without_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("WRANGLER_DOCKER_BIN", raising=False)
    assert runtime_choice.choose("auto") == ("offline", "there is no Docker here")


def test_offline_without_an_engine(docker) -> None:
    docker("exit 1")
    assert runtime_choice.choose("auto") == ("offline", "no Docker engine answers")


def test_offline_when_the_engine_hangs(docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_choice, "TIMEOUT_SECONDS", 0.2)
    docker("exec sleep 20")
    assert runtime_choice.choose("auto") == ("offline", "the Docker engine does not answer within 0.2 s")


def test_offline_without_cloudflare(docker, monkeypatch: pytest.MonkeyPatch) -> None:
    docker("exit 0")
    monkeypatch.setattr(runtime_choice, "CLOUDFLARE_HOST", "no-such-host.invalid")
    name, why = runtime_choice.choose("auto")
    assert name == "offline"
    assert why == "a Docker engine answers, but Cloudflare (no-such-host.invalid) cannot be reached"


def test_wrangler_with_both(docker, monkeypatch: pytest.MonkeyPatch) -> None:
    docker("exit 0")
    monkeypatch.setattr(runtime_choice, "reachable", lambda host: host == runtime_choice.CLOUDFLARE_HOST)
    assert runtime_choice.choose("auto").name == "wrangler"


def test_reachable() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        assert runtime_choice.reachable("127.0.0.1", server.server_port)
    assert not runtime_choice.reachable("127.0.0.1", server.server_port)


def test_an_unresponsive_host_takes_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener with a full queue answers no further connection."""
    monkeypatch.setattr(runtime_choice, "TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(address)
        started = time.monotonic()
        assert not runtime_choice.reachable(*address)
        assert time.monotonic() - started < 5
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize(
    ("version", "new_enough"),
    [("v24.19.0", True), ("v22.12.0", True), ("v22.11.9", False), ("v20.20.2", False), ("", False)],
)
def test_node(version: str, new_enough: bool) -> None:
    assert node_is_new_enough(version) is new_enough
