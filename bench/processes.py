"""Processes of a bench run: started with a log each, waited for until they answer, ended with all they started."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_POLL_SECONDS = 0.01
_END_SECONDS = 10.0
_LOG_TAIL = 1500


class DidNotStart(Exception):
    """Why a process is of no use; the message quotes its log."""


class Process:
    """A command in a session of its own, its output in `log`; ends with `stop`."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, directory: Path = ROOT
    ) -> None:
        """`environment`: more variables. Keys of real providers and proxies do not reach it."""
        self.log = log
        self.began = time.monotonic()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env={**base_environment(), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, url: str, timeout: float) -> float:
        """Seconds from the start until GET `url` is answered 200. Raises DidNotStart."""
        while not _answers(url):
            self._check(timeout, "is not healthy")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - self.began

    def wait_for_line(self, start: str, timeout: float) -> tuple[str, float]:
        """The rest of the first line of the log that starts so, and the seconds until it came. Raises DidNotStart."""
        while True:
            for line in self.log.read_text(errors="replace").splitlines(keepends=True):
                if line.startswith(start) and line.endswith("\n"):
                    return line.removeprefix(start).strip(), time.monotonic() - self.began
            self._check(timeout, "says nothing")
            time.sleep(_POLL_SECONDS)

    def _check(self, timeout: float, trouble: str) -> None:
        """Ends it and raises DidNotStart when it has ended by itself or takes too long."""
        code = self._process.poll()
        if code is not None:
            trouble = f"ended with exit code {code}"
        elif time.monotonic() - self.began > timeout:
            trouble = f"{trouble} after {timeout:.0f} s"
        else:
            return
        self.stop()
        raise DidNotStart(f"{trouble}: {self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace").strip()[-_LOG_TAIL:] or "it said nothing"

    def stop(self) -> None:
        """SIGTERM to it, SIGKILL to what is left of its session."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                pass  # SIGKILL follows
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nothing is left
        self._process.wait()


def base_environment() -> dict[str, str]:
    """What every process gets: no keys, no proxies, and bytecode may be cached as it is in production."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
