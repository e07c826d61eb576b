"""Proxies that start in a few milliseconds: forks of a process that has already imported the proxy's modules.

A fork behaves like `python -m container`, with its own environment, directory, log and session, but skips the imports.
Its engine is a fork, too (`forked_engine`).
Tests of the startup itself or of memory start a real process: `RunningProxy(…, fresh=True)`.
"""

import ctypes
import importlib
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from tests import forked_engine

ROOT = Path(__file__).parents[1]
_MOST_BYTES = 1 << 18
_POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1


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
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-m", "tests.forked", str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()])

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
    global _parent
    if _parent is None:
        _parent = Parent()
    return _parent.start(words, cwd, environment, log)


def _serve(connection: socket.socket) -> None:
    """Forks on request and reports exit statuses, until the socket closes."""
    engines = _fork_engines(connection)
    package = importlib.import_module("container")
    for module in pkgutil.walk_packages(package.__path__, "container."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    supervisor: Any = importlib.import_module("container.engine.supervisor")
    supervisor._command = lambda: [sys.executable, "-S", forked_engine.__file__, engines]
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
            _become(wanted, log)
        os.close(log)
        connection.send(orjson.dumps({"pid": pid}))


def _fork_engines(connection: socket.socket) -> str:
    """Returns the address of a process that forks engines, see `forked_engine`. It ends with this one."""
    folder = tempfile.mkdtemp(prefix="engines-")
    address = f"{folder}/socket"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(address)
    listening.listen(64)
    if os.fork() == 0:
        connection.close()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        configuration = importlib.import_module("container.engine.configuration")
        forked_engine.serve(listening, {"PATH": os.environ["PATH"], **configuration.environment({}, "")})
    listening.close()
    return address


def _become(wanted: Mapping[str, Any], log: int) -> None:
    """Turns the fork into the proxy."""
    code = 1
    try:
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.chdir(wanted["cwd"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv[1:] = wanted["words"]
        if module := os.environ.get("IMPORT_IN_FORK"):  # what a test changes in the proxy
            importlib.import_module(module)
        # Created at import, once per process.
        importlib.reload(importlib.import_module("container.server.context"))
        runpy.run_module("container", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        _serve(connection)
