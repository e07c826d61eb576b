"""One container: a process with a minimal environment, a port, a state and an exit code."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import child

# What a process needs of this machine to run at all; everything else comes from the image and the create call.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR")
_LOOPBACK = "127.0.0.1"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Image:
    """What `docker run` of an image would start.

    In `command` the text `{port}` stands for the local port; the process finds it in PORT too. `port` is the one
    that the container is asked for; `start_delay` (seconds) lets tests see an image that is slow to come up.
    """

    command: tuple[str, ...]
    port: int = 4000
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    start_delay: float = 0.0


@dataclass(frozen=True)
class ContainerInfo:
    """A container as it was when asked: `state` is created, running or exited; `pid` only while it runs."""

    name: str
    image: str
    state: str
    pid: int | None
    exit_code: int | None
    local_port: int | None
    environment: Mapping[str, str]


class Container:
    """Created, then started at most once, as workerd does it: it makes a new one to start again."""

    def __init__(self, name: str, image_name: str, image: Image, environment: Mapping[str, str], log: Log) -> None:
        self.name = name
        self.image_name = image_name
        self.image = image
        self.environment = dict(environment)
        self.local_port: int | None = None
        self.exit_code: int | None = None
        self.stopped = asyncio.Event()
        self.removed = asyncio.Event()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        if self._task is None:
            return "created"
        return "exited" if self.stopped.is_set() else "running"

    def info(self) -> ContainerInfo:
        pid = self._process.pid if self._process and self._process.returncode is None else None
        return ContainerInfo(
            self.name, self.image_name, self.state, pid, self.exit_code, self.local_port, self.environment
        )

    def start(self) -> None:
        """Returns at once, as an engine does: whether it serves shows at its port."""
        self.local_port = free_port()
        self._task = asyncio.create_task(self._run(self.local_port))

    def signal(self, number: int) -> None:
        """To the first process alone, as an engine does; SIGKILL takes everything along."""
        if self._process is None:
            if number in (signal.SIGKILL, signal.SIGTERM) and self._task is not None:
                self._task.cancel()  # it is still in its start delay
        elif number == signal.SIGKILL:
            self._kill_group()
        else:
            self._process.send_signal(number)

    async def remove(self) -> None:
        """Kills what still runs."""
        self.signal(signal.SIGKILL)
        if self._task is not None:
            await self.stopped.wait()
        self.removed.set()

    async def _run(self, port: int) -> None:
        try:
            await asyncio.sleep(self.image.start_delay)
            self.exit_code = await self._run_process(port)
        except asyncio.CancelledError:
            self.exit_code = 128 + signal.SIGKILL
        except OSError as error:
            self._log(f"cannot start {self.image.command[0]}: {error.strerror}")
            self.exit_code = 127  # as a shell says "command not found"
        finally:
            self.stopped.set()

    async def _run_process(self, port: int) -> int:
        self._process = self._spawn(port)
        threading.Thread(target=self._pass_log, args=(self._process,), daemon=True).start()
        code = await _end_of(self._process)
        self._kill_group()  # with a container's first process everything in it ends
        return 128 - code if code < 0 else code

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        command = [part.replace("{port}", str(port)) for part in self.image.command]
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # Not asyncio's: it takes a process for alive as long as something that it left behind holds its pipe open.
        return subprocess.Popen(
            command,
            env={**inherited, **self.image.environment, **self.environment, "PORT": str(port)},
            cwd=self.image.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, and out of reach of the terminal's Ctrl-C
            preexec_fn=child.tied_to_parent(signal.SIGTERM),  # it ends its own children then
        )

    def _pass_log(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                self._log(line.decode("utf-8", "replace").rstrip("\n"))

    def _kill_group(self) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # nothing of it is left


async def _end_of(process: subprocess.Popen[bytes]) -> int:
    """Its return code. In a thread of its own: a pool would bound how many containers there can be."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def wait() -> None:
        code = process.wait()
        loop.call_soon_threadsafe(ended.set_result, code)

    threading.Thread(target=wait, daemon=True).start()
    return await ended


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return probe.getsockname()[1]
