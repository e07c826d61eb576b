"""Forks of a process that has already imported what they need, as child processes of whoever starts this file.

Importing LiteLLM takes over ten seconds of CPU, and importing the proxy almost one. The proxy starts this file as its
engine, and the edge as its container, with the address of the process that forks and the arguments of the fork. It
stays between them: it passes SIGTERM on, ends with the status of the fork, and if it is killed, the fork is killed,
too. It imports little, because it starts hundreds of times.
"""

import array
import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

_MOST_BYTES = 1 << 18

# Runs the program, with the arguments after its name, in the fork.
Run = Callable[[Sequence[str]], None]


def between(address: str, words: list[str]) -> int:
    """Runs a fork and returns its exit status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        wanted = {"words": words, "cwd": os.getcwd(), "environment": dict(os.environ)}
        signal.signal(signal.SIGTERM, lambda *_: connection.send(b"end"))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fork has a session of its own
        numbers = array.array("i", [0, 1, 2])
        connection.sendmsg([json.dumps(wanted).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
        for number in numbers:  # whoever reads the output waits for its end
            os.close(number)
        answer = connection.recv(_MOST_BYTES)
    return json.loads(answer)["code"] if answer else 1


def listen(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(address)
    listening.listen(64)
    return listening


def serve(listening: socket.socket, run: Run, prepare: Callable[[], None] = lambda: None) -> NoReturn:
    """Forks for each connection. `prepare` is called before the first one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    prepared = False
    while True:
        connection, _ = listening.accept()
        if not prepared:
            prepare()
            prepared = True
        if os.fork() == 0:
            listening.close()
            os._exit(_watch(connection, run))
        connection.close()


def _watch(connection: socket.socket, run: Run) -> int:
    """Runs one fork, and ends it when its connection closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, 3)
    if not message:
        return 1
    pid = os.fork()
    if pid == 0:
        connection.close()
        become(json.loads(message), descriptors, run)
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


def become(wanted: Mapping[str, Any], descriptors: Sequence[int], run: Run) -> NoReturn:
    """Turns the fork into the program, with its own session, directory, environment and output. `descriptors`: standard
    output and standard error, or standard input before them."""
    code = 1
    try:
        os.setsid()
        for number, descriptor in zip((2, 1, 0), reversed(descriptors), strict=False):
            os.dup2(descriptor, number)
        for descriptor in {*descriptors}:
            os.close(descriptor)
        os.chdir(wanted["cwd"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        run(wanted["words"])
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
    sys.exit(between(sys.argv[1], sys.argv[2:]))
