"""Proxies and engines that start in a few milliseconds: forks of processes that have already imported their modules.

A fork behaves like `python -m container`, with its own environment, directory, log and session, but skips the imports.
Its engine is a fork, too. The containers of an edge are forks that stay child processes of the edge (`forked_child`).
Tests of the startup itself or of memory start a real process: `RunningProxy(…, fresh=True)`.
"""

import atexit
import contextlib
import ctypes
import importlib
import os
import pkgutil
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from dev.process_engine.containers import Image
from tests import forked_child

ROOT = Path(__file__).parents[1]
_MOST_BYTES = 1 << 18
_POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1
# The address of the process that forks engines for all of xdist's workers.
_SHARED_ENGINES = "TESTS_ENGINES"


class Forked:
    """A fork with the interface of `subprocess.Popen`."""

    def __init__(self, parent: "Parent", pid: int) -> None:
        self._parent = parent
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._parent.asked({"poll": self.pid})["code"]
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"proxy {self.pid}", timeout or 0)
            time.sleep(_POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Parent:
    """The process that forks. It exits with the tests, when its socket closes."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="forks-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.containers = f"{folder}/containers"
        shared = os.environ.get(_SHARED_ENGINES)
        self.engines = shared or f"{folder}/engines"
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, forked_child.listen(self.containers) as containers:
            own = None if shared else forked_child.listen(self.engines)
            self._process = _started("proxies", self.engines, theirs, containers, *([own] if own else ()))
            if own:
                own.close()

    def start(self, words: Sequence[str], cwd: Path, environment: Mapping[str, str], log: int) -> Forked:
        """Starts a fork. `words` follow `python -m container`."""
        wanted = {"words": list(words), "cwd": str(cwd), "environment": dict(environment)}
        socket.send_fds(self._socket, [orjson.dumps(wanted)], [log])
        return Forked(self, self._answer()["pid"])

    def asked(self, question: Mapping[str, Any]) -> dict[str, Any]:
        self._socket.send(orjson.dumps(question))
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        answer = self._socket.recv(_MOST_BYTES)
        assert answer, "the process that forks proxies has ended"
        return orjson.loads(answer)


_parent: Parent | None = None


def start(words: Sequence[str], cwd: Path, environment: Mapping[str, str], log: int) -> Forked:
    return _the_parent().start(words, cwd, environment, log)


def image(config: Path) -> Image:
    """The container of an edge as a fork, which serves as `dev.edge.proxy_image` does."""
    command = (sys.executable, "-S", forked_child.__file__, _the_parent().containers, "serve")
    return Image((*command, "--config", str(config.resolve()), "--host", "127.0.0.1", "--port", "{port}"))


def wait_for_engines() -> None:
    """Until LiteLLM is imported where engines are forked. On a busy machine that takes longer than a request waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(_the_parent().engines)
        asking.shutdown(socket.SHUT_WR)
        asking.recv(1)


@contextlib.contextmanager
def shared_engines(*, at_once: bool) -> Iterator[None]:
    """Within it, all processes that are started get their engines from one that imports LiteLLM once: at once, so that
    no test waits for it, or for the first engine."""
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        address = f"{folder}/engines"
        with forked_child.listen(address) as listening:
            process = _started("engines", address, listening)
        os.environ[_SHARED_ENGINES] = address
        if at_once:
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(address)
        try:
            yield
        finally:
            del os.environ[_SHARED_ENGINES]
            process.kill()
            process.wait()


def _the_parent() -> Parent:
    global _parent
    if _parent is None:
        _parent = Parent()
    return _parent


def _started(what: str, engines: str, *sockets: socket.socket) -> "subprocess.Popen[bytes]":
    """This module as a process, which inherits the sockets."""
    numbers = [one.fileno() for one in sockets]
    command = [sys.executable, "-m", "tests.forked", what, engines, *map(str, numbers)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=numbers)


def _proxies(
    engines: str, connection: socket.socket, containers: socket.socket, own: socket.socket | None = None
) -> None:
    """Forks on request and reports exit statuses, until the socket closes. `own`: where engines are asked for, if no
    other process forks them."""
    if own is not None:
        _beside(connection, _engines, own)
    package = importlib.import_module("container")
    for module in pkgutil.walk_packages(package.__path__, "container."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    engine: Any = importlib.import_module("container.engine")
    engine._command = lambda: [sys.executable, "-S", forked_child.__file__, engines]
    _beside(connection, _containers, containers)
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, 1)
        if not message:
            return
        wanted = orjson.loads(message)
        if "poll" in wanted:
            pid, status = os.waitpid(wanted["poll"], os.WNOHANG)
            connection.send(orjson.dumps({"code": os.waitstatus_to_exitcode(status) if pid else None}))
            continue
        (log,) = descriptors
        pid = os.fork()
        if pid == 0:
            connection.close()
            forked_child.become(wanted, (log, log), _run_proxy)
        os.close(log)
        connection.send(orjson.dumps({"pid": pid}))


def _beside(connection: socket.socket, serve: Callable[[socket.socket], None], listening: socket.socket) -> None:
    """Serves in a fork, which ends with this process."""
    if os.fork() == 0:
        connection.close()
        serve(listening)
    listening.close()


def _containers(listening: socket.socket) -> None:
    end_with_the_parent()
    forked_child.serve(listening, _run_proxy)


def _engines(listening: socket.socket) -> None:
    """LiteLLM is imported for the first engine."""
    end_with_the_parent()
    engine = importlib.import_module("container.engine")
    environment = {"PATH": os.environ["PATH"], **engine.engine_environment({}, "")}

    def prepare() -> None:
        os.environ.clear()
        os.environ.update(environment)
        from litellm.proxy import proxy_cli, proxy_server  # noqa: F401 what an engine imports

    forked_child.serve(listening, _run_engine, prepare)


def end_with_the_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run_proxy(words: Sequence[str]) -> None:
    if module := os.environ.get("IMPORT_IN_FORK"):  # what a test changes in the proxy
        importlib.import_module(module)
    sys.argv[1:] = words
    runpy.run_module("container", run_name="__main__", alter_sys=True)


def _run_engine(words: Sequence[str]) -> None:
    from litellm import run_server

    sys.argv = ["litellm", *words]
    run_server()


if __name__ == "__main__":
    _, what, address, *numbers = sys.argv
    sockets = [socket.socket(fileno=int(number)) for number in numbers]
    if what == "engines":
        _engines(sockets[0])
    else:
        _proxies(address, *sockets)
