"""workerd as a child process: starts it on a given port, waits until it answers, forwards its log, stops it."""

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from .. import child
from . import tools
from .build import SOCKET, version_socket

LogLine = Callable[[str], None]
_POLL_SECONDS = 0.02
_LAST_LINES = 40


class WorkerdFailed(Exception):
    """workerd exited or did not answer; the message has the end of its log."""


class Workerd:
    """One workerd that serves `config` (see build.py) on host:port; port 0 takes a free one, see `port`.

    `grace`: seconds that stop() gives it to end its requests and its containers. `versions`: how many other versions of
    the Worker there are, at `version_ports`.
    """

    def __init__(
        self,
        config: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        log: LogLine | None = None,
        grace: float = 5.0,
        versions: int = 0,
    ) -> None:
        self.config = config
        self.grace = grace
        self.host = host
        self.port = port
        self.version_ports = [0] * versions
        self._log = log or _to_stderr
        self._tail: deque[str] = deque(maxlen=_LAST_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Binds the port (OSError when it is taken) and starts the process. Requests wait until it is ready."""
        if self.pid is not None:
            raise RuntimeError("workerd runs already")
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(self._listener(self.port))
            self.port = listener.getsockname()[1]
            others = [stack.enter_context(self._listener(port)) for port in self.version_ports]
            self.version_ports = [one.getsockname()[1] for one in others]
            command = [str(tools.workerd_binary()), "serve", str(self.config)]
            command += ["--socket-fd", f"{SOCKET}={listener.fileno()}"]
            for number, one in enumerate(others, 1):
                command += ["--socket-fd", f"{version_socket(number)}={one.fileno()}"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[one.fileno() for one in (listener, *others)],
                start_new_session=True,  # Ctrl-C is handled by this process, which stops workerd in order
                preexec_fn=child.tied_to_parent(signal.SIGKILL),
            )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _listener(self, port: int) -> socket.socket:
        listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, port))
            listener.listen(512)
        except BaseException:
            listener.close()
            raise
        return listener

    def wait_until_ready(self, path: str = "/", timeout: float = 60.0) -> int:
        """The status of the first answer to GET `path`. Raises WorkerdFailed."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                connection = http.client.HTTPConnection(
                    self.host, self.port, timeout=max(1, deadline - time.monotonic())
                )
                try:
                    connection.request("GET", path)
                    return connection.getresponse().status
                finally:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                if self.pid is None:
                    raise WorkerdFailed(self._explain("workerd ended before it answered")) from None
                if time.monotonic() >= deadline:
                    raise WorkerdFailed(
                        self._explain(f"workerd did not answer within {timeout:g} s: {error}")
                    ) from None
                time.sleep(_POLL_SECONDS)

    def wait(self) -> int:
        """Blocks until workerd exits; returns its exit code."""
        assert self._process is not None
        return self._process.wait()

    def stop(self) -> None:
        """Sends SIGTERM, which gives running requests a moment to finish."""
        if self._process is None:
            return
        child.end(self._process, self.grace)
        self._finish_reading()

    def kill(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._finish_reading()

    def _finish_reading(self) -> None:
        if self._reader is not None:
            self._reader.join()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for raw in lines:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self._tail.append(line)
                self._log(line)

    def _explain(self, what: str) -> str:
        if self._reader is not None and self.pid is None:
            self._reader.join()
        return what + (":\n" + "\n".join(self._tail) if self._tail else ", and said nothing.")


def _to_stderr(line: str) -> None:
    print(f"worker | {line}", file=sys.stderr, flush=True)
