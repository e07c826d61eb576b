"""LiteLLM engines that start in a second or two: forks of a process that has already imported LiteLLM.

Importing LiteLLM takes over ten seconds of CPU. The proxy starts this file as its engine, with the address of the
process that forks and the arguments of an engine. It stays between the proxy and the fork: it passes SIGTERM on, ends
with the status of the fork, and if it is killed, the fork is killed, too.
"""

import array
import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

_MOST_BYTES = 1 << 18


def between(address: str, words: list[str]) -> int:
    """Runs an engine and returns its exit status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        wanted = {"words": words, "cwd": os.getcwd(), "environment": dict(os.environ)}
        signal.signal(signal.SIGTERM, lambda *_: connection.send(b"end"))
        output = array.array("i", [1, 2])
        connection.sendmsg([json.dumps(wanted).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, output)])
        for number in (1, 2):  # whoever reads the output waits for its end
            os.close(number)
        answer = connection.recv(_MOST_BYTES)
    return json.loads(answer)["code"] if answer else 1


def serve(listening: socket.socket, environment: Mapping[str, str]) -> NoReturn:
    """Forks an engine for each connection. LiteLLM is imported, in `environment`, for the first one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    imported = False
    while True:
        connection, _ = listening.accept()
        if not imported:
            os.environ.clear()
            os.environ.update(environment)
            from litellm.proxy import proxy_cli, proxy_server  # noqa: F401 what an engine imports

            imported = True
        if os.fork() == 0:
            listening.close()
            os._exit(_watch(connection))
        connection.close()


def _watch(connection: socket.socket) -> int:
    """Runs one engine, and ends it when its connection closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, 2)
    if not message:
        return 1
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(json.loads(message), descriptors)
    for number in descriptors:
        os.close(number)
    ended = os.pidfd_open(pid)
    while True:
        ready, _, _ = select.select([connection, ended], [], [])
        if ended in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(OSError):
                connection.send(json.dumps({"code": code if code >= 0 else 128 - code}).encode())
            return 0
        if connection.recv(_MOST_BYTES):
            os.kill(pid, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGKILL)
            return 0


def _become(wanted: Mapping[str, Any], descriptors: list[int]) -> NoReturn:
    """Turns the fork into LiteLLM's proxy."""
    code = 1
    try:
        os.setsid()
        for number, descriptor in zip((1, 2), descriptors, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(wanted["cwd"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["litellm", *wanted["words"]]
        from litellm import run_server

        run_server()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(between(sys.argv[1], sys.argv[2:]))
