"""The process engine: its API as workerd calls it, and its processes as the operating system sees them."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.process_engine.containers import Image
from dev.process_engine.engine import SIDECAR_IMAGE, ProcessEngine
from tests.dev.conftest import PROBE, wait_for

PYTHON = sys.executable
SERVER = Image((PYTHON, str(PROBE / "app.py")), port=8080)
SLEEPER = Image(("sleep", "60"))


class Client:
    """A Docker client on the engine's socket: `client("POST", "/containers/x/start")` returns (status, JSON)."""

    def __init__(self, socket_path: Path) -> None:
        self._path = str(socket_path)

    def __call__(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("engine", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(self._path)
        try:
            connection.request(method, target, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def run(self, name: str, image: str, env: tuple[str, ...] = ()) -> None:
        assert self("POST", f"/containers/create?name={name}", {"Image": image, "Env": list(env)})[0] == 201
        assert self("POST", f"/containers/{name}/start")[0] == 204


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def engine(lines: list[str]) -> Iterator[ProcessEngine]:
    engine = ProcessEngine({"server:1": SERVER, "sleeper:1": SLEEPER}, log=lines.append)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def client(engine: ProcessEngine) -> Client:
    return Client(engine.socket_path)


def pid_of(engine: ProcessEngine) -> int:
    return wait_for(lambda: next((c.pid for c in engine.containers() if c.pid), None), "a process")


def test_images(client: Client) -> None:
    assert client("GET", "/images/server:1/json")[0] == 200
    assert client("GET", f"/images/{SIDECAR_IMAGE}/json")[0] == 200
    assert client("GET", "/images/other%2Fname:1/json") == (404, {"message": "No such image: other/name:1"})
    assert client("POST", "/containers/create?name=a", {"Image": "other"})[0] == 404


def test_the_lifecycle_of_a_container(client: Client, engine: ProcessEngine) -> None:
    assert client("GET", "/containers/a/json")[0] == 404
    assert client("POST", "/containers/create?name=a", {"Image": "sleeper:1"}) == (201, {"Id": "a", "Warnings": []})
    assert client("POST", "/containers/create?name=a", {"Image": "sleeper:1"})[0] == 409
    assert client("GET", "/containers/a/json")[1]["State"]["Status"] == "created"
    assert client("POST", "/containers/a/start")[0] == 204
    assert client("POST", "/containers/a/start")[0] == 304
    pid = pid_of(engine)
    seen = client("GET", "/containers/a/json")[1]
    assert seen["State"] == {"Status": "running", "Running": True, "Pid": pid, "ExitCode": 0}
    assert seen["Config"]["Image"] == "sleeper:1"
    assert client("DELETE", "/containers/a?force=true")[0] == 204
    assert client("GET", "/containers/a/json")[0] == 404
    assert not os.path.exists(f"/proc/{pid}")


def test_exit_codes(client: Client, engine: ProcessEngine) -> None:
    engine.images["exit:1"] = Image(("sh", "-c", "exit 3"))
    client.run("a", "exit:1")
    assert client("POST", "/containers/a/wait") == (200, {"StatusCode": 3})
    state = client("GET", "/containers/a/json")[1]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 3)
    assert client("POST", "/containers/a/kill")[0] == 409
    assert client("POST", "/containers/a/stop")[0] == 304


@pytest.mark.parametrize(("signal", "code"), [("SIGKILL", 137), ("9", 137), ("TERM", 143), ("", 137)])
def test_signals(client: Client, engine: ProcessEngine, signal: str, code: int) -> None:
    client.run("a", "sleeper:1")
    pid_of(engine)
    assert client("POST", f"/containers/a/kill?signal={signal}")[0] == 204
    assert client("POST", "/containers/a/wait") == (200, {"StatusCode": code})


def test_a_command_that_does_not_exist(client: Client, engine: ProcessEngine, lines: list[str]) -> None:
    engine.images["none:1"] = Image(("no-such-command-here",))
    client.run("a", "none:1")
    assert client("POST", "/containers/a/wait") == (200, {"StatusCode": 127})
    assert lines == ["cannot start no-such-command-here: No such file or directory"]


def test_waiting_for_removal(client: Client, engine: ProcessEngine) -> None:
    engine.images["exit:1"] = Image(("sh", "-c", "exit 3"))
    client.run("a", "exit:1")
    client("POST", "/containers/a/wait")
    answers: list[tuple[int, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(client("POST", "/containers/a/wait?condition=removed")))
    thread.start()
    thread.join(0.3)
    assert answers == []
    client("DELETE", "/containers/a")
    thread.join(10)
    assert answers == [(200, {"StatusCode": 3})]


def test_all_processes_of_a_container_end_with_its_first(client: Client, engine: ProcessEngine) -> None:
    engine.images["tree:1"] = Image(("sh", "-c", "sleep 61 & wait"))
    client.run("a", "tree:1")
    parent = pid_of(engine)
    children = Path(f"/proc/{parent}/task/{parent}/children")
    (child,) = wait_for(lambda: children.read_text().split(), "a child")
    os.kill(parent, 9)
    wait_for(lambda: _has_ended(int(child)), "the child's end")


def test_a_start_delay_may_be_interrupted(client: Client, engine: ProcessEngine) -> None:
    engine.images["slow:1"] = Image(("sleep", "60"), start_delay=60)
    client.run("a", "slow:1")
    assert [(c.state, c.pid) for c in engine.containers()] == [("running", None)]
    assert client("DELETE", "/containers/a?force=true")[0] == 204
    assert engine.containers() == []


def test_the_environment_comes_from_the_create_call(
    client: Client, engine: ProcessEngine, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DEVELOPER", "1")
    engine.images["env:1"] = Image(("env",), environment={"FROM_IMAGE": "1", "BOTH": "image"})
    client.run("a", "env:1", ("BOTH=call", "EQUALS=a=b"))
    client("POST", "/containers/a/wait")
    (container,) = engine.containers()
    wait_for(lambda: f"PORT={container.local_port}" in lines, "the environment")
    assert {"FROM_IMAGE=1", "BOTH=call", "EQUALS=a=b", f"PATH={os.environ['PATH']}"} <= set(lines)
    assert not any("SECRET_OF_THE_DEVELOPER" in line for line in lines)


def test_the_port_is_part_of_the_command(client: Client, engine: ProcessEngine, lines: list[str]) -> None:
    engine.images["echo:1"] = Image(("echo", "--port", "{port}"))
    client.run("a", "echo:1")
    client("POST", "/containers/a/wait")
    wait_for(lambda: lines, "its output")
    assert lines == [f"--port {engine.containers()[0].local_port}"]


def test_a_last_line_without_a_newline_is_logged(client: Client, engine: ProcessEngine, lines: list[str]) -> None:
    engine.images["half:1"] = Image(("printf", "one\\ntwo"))
    client.run("a", "half:1")
    wait_for(lambda: len(lines) == 2, "two lines")
    assert lines == ["one", "two"]


def test_an_unknown_call_is_refused(client: Client, lines: list[str]) -> None:
    assert client("POST", "/build")[0] == 501
    assert lines == ["The process engine does not know POST /build."]


class TestSidecar:
    @pytest.fixture
    def port(self, client: Client) -> int:
        """The port of container `a`'s sidecar."""
        assert client("POST", "/containers/create?name=a-proxy", {"Image": SIDECAR_IMAGE})[0] == 201
        assert client("POST", "/containers/a-proxy/start")[0] == 204
        ports = client("GET", "/containers/a-proxy/json")[1]["NetworkSettings"]["Ports"]
        return int(ports["39001/tcp"][0]["HostPort"])

    @staticmethod
    def connect(sidecar: int, port: int) -> tuple[str, socket.socket]:
        """The status line, and the connection, which is a tunnel if the status is 200."""
        connection = socket.create_connection(("127.0.0.1", sidecar), 10)
        connection.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        return head.split(b"\r\n")[0].decode(), connection

    def test_leads_to_the_containers_port(self, client: Client, port: int) -> None:
        client.run("a", "server:1")
        tunnels: list[socket.socket] = []

        def reached() -> bool:
            status, connection = self.connect(port, 8080)
            tunnels.append(connection)
            return status == "HTTP/1.1 200 OK"

        wait_for(reached, "the container's port")
        with tunnels[-1] as tunnel:
            tunnel.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := tunnel.recv(65536):
                answer += chunk
        assert b'"pid"' in answer
        for connection in tunnels:
            connection.close()

    @pytest.mark.parametrize("port_asked", [8080, 8081])
    def test_refuses_while_nothing_listens(self, client: Client, port: int, port_asked: int) -> None:
        assert self.connect(port, port_asked)[0] == "HTTP/1.1 400 Bad Request"
        client.run("a", "sleeper:1")
        assert self.connect(port, port_asked)[0] == "HTTP/1.1 400 Bad Request"

    def test_accepts_egress_settings(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("PUT", "/egress", json.dumps({"internet": {"enabled": True}}))
        assert connection.getresponse().status == 200
        connection.close()


def test_stopping_the_engine_ends_its_containers(engine: ProcessEngine, client: Client) -> None:
    client.run("a", "sleeper:1")
    pid, directory = pid_of(engine), engine.socket_path.parent
    engine.stop()
    assert not os.path.exists(f"/proc/{pid}")
    assert not directory.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_containers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    program = """
import time
from dev.process_engine import Image, ProcessEngine
from tests.dev.test_process_engine import Client, pid_of
engine = ProcessEngine({"sleeper:1": Image(("sleep", "60"))})
engine.start()
Client(engine.socket_path).run("a", "sleeper:1")
print(pid_of(engine), engine.socket_path.parent, flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [PYTHON, "-c", program], stdout=subprocess.PIPE, text=True, env=environment, cwd=root
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        parent.kill()
    wait_for(lambda: _has_ended(pid), "the container's end")


def _has_ended(pid: int) -> bool:
    """Whether it is gone, or dead but not yet reaped by its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
