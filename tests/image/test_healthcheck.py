"""The image's health check: an exit code, and a sentence for the container's health log."""

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.processes import ROOT, free_tcp_port

SCRIPT = ROOT / "deploy" / "image" / "healthcheck.py"


class Proxy(http.server.BaseHTTPRequestHandler):
    status = 200
    paths: list[str]

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def proxy() -> Iterator[tuple[type[Proxy], int]]:
    handler = type("ThisProxy", (Proxy,), {"paths": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler, server.server_address[1]
        server.shutdown()


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the check with only PATH and the given variables in its environment."""
    return subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PATH": os.environ["PATH"], **environment},
        check=False,
    )


@pytest.mark.parametrize("host", ["", "::", "0.0.0.0", "127.0.0.1"])
def test_ready(proxy: tuple[type[Proxy], int], host: str) -> None:
    handler, port = proxy
    done = check(LITELLM_HOST=host, LITELLM_PORT=str(port), PORT="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert handler.paths == ["/health/liveliness"]


def test_port_when_litellm_port_is_empty(proxy: tuple[type[Proxy], int]) -> None:
    assert check(LITELLM_PORT="", PORT=str(proxy[1])).returncode == 0


def test_not_ready(proxy: tuple[type[Proxy], int]) -> None:
    proxy[0].status = 503
    done = check(PORT=str(proxy[1]))
    assert done.returncode == 1
    assert "503" in done.stderr


def test_connection_refused() -> None:
    port = free_tcp_port()
    done = check(PORT=str(port))
    assert done.returncode == 1
    assert f"no answer on port {port}" in done.stderr


def test_unresponsive_proxy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = check(PORT=str(silent.getsockname()[1]))
    assert done.returncode == 1
    assert "no answer" in done.stderr
