"""The proxy as a process: writes its config, starts the command, captures its log and checks its exit."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import httpx
import yaml

from tests import canaries, forked, log_lines

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

ROOT = Path(__file__).parents[1]
MASTER_KEY = "sk-master-of-the-tests"
START_TIMEOUT = 30.0
# Streams may drain this long after SIGTERM, and then the engine needs time to exit.
SHUTDOWN_GRACE = 5
STOP_TIMEOUT = 20.0
LOG_SHOWN = 5_000  # characters of it shown in a failure


class RunningProxy:
    """`python -m container serve` on a free loopback port, inheriting only PATH from our environment.

    config       written as YAML, or a path that is used as it is
    master_key   LITELLM_MASTER_KEY; None: not set, so loopback clients need no key
    environment  more variables; `{url}` in a value stands for the proxy's own address
    arguments    more command line
    cwd          the working directory
    address_in   "arguments", or "environment": LITELLM_HOST and LITELLM_PORT
    log_format   "json", or "text" if the config or the environment asks for it
    fresh        a new Python process that imports everything, instead of a fork, see `tests.forked`
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Path,
        directory: Path,
        *,
        master_key: str | None = MASTER_KEY,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        address_in: Literal["arguments", "environment"] = "arguments",
        wait: bool = True,
        cwd: Path = ROOT,
        log_format: Literal["json", "text"] = "json",
        fresh: bool = False,
    ) -> None:
        self.directory = directory
        self._log_format = log_format
        self._cwd = cwd
        self._fresh = fresh or "PYTHONPATH" in (environment or {})
        self.port = free_tcp_port()
        self.master_key = master_key
        self.log_path = directory / "proxy.log"
        self.config_path = config if isinstance(config, Path) else directory / "litellm_config.yaml"
        if not isinstance(config, Path):
            self.config_path.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        host, port = "127.0.0.1", str(self.port)
        in_environment = address_in == "environment"
        self._arguments = arguments if in_environment else ("--host", host, "--port", port, *arguments)
        self._wait = wait
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),
            "SHUTDOWN_GRACE": str(SHUTDOWN_GRACE),
            "LEDGER_PATH": str(directory / "ledger.db"),
            **({"LITELLM_HOST": host, "LITELLM_PORT": port} if in_environment else {}),
            **({} if master_key is None else {"LITELLM_MASTER_KEY": master_key}),
            **{name: value.replace("{url}", self.url) for name, value in (environment or {}).items()},
        }

    @property
    def _secrets(self) -> set[bytes]:
        try:
            config = yaml.safe_load(self.config_path.read_text())
        except (OSError, yaml.YAMLError):  # a test of broken configs
            config = None
        return canaries.secrets_of(self._environment, config)

    @property
    def url(self) -> str:
        """Without `/v1` and without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def client(self, *, path: str = "/v1", api_key: str | None = None, **options: Any) -> "OpenAI":
        """The official client, without retries by default."""
        options.setdefault("max_retries", 0)
        from openai import OpenAI  # takes half a second

        return OpenAI(base_url=self.url + path, api_key=api_key or self.master_key or "dummy", **options)

    def async_client(self, *, path: str = "/v1", api_key: str | None = None, **options: Any) -> "AsyncOpenAI":
        options.setdefault("max_retries", 0)
        from openai import AsyncOpenAI

        return AsyncOpenAI(base_url=self.url + path, api_key=api_key or self.master_key or "dummy", **options)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def _end_of_log(self) -> str:
        return self.log()[-LOG_SHOWN:]

    def __enter__(self) -> Self:
        canaries.planted |= self._secrets
        words = ["serve", "--config", str(self.config_path), *self._arguments]
        # A separate session, so that no child process can survive unnoticed.
        with self.log_path.open("wb") as log:
            if self._fresh:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "container", *words],
                    cwd=self._cwd,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            else:
                self._process = forked.start(words, self._cwd, self._environment, log.fileno())
        if self._wait:
            try:
                self.wait_until_ready()
            except BaseException:
                self.kill()
                raise
        return self

    def wait_until_ready(self, timeout: float = START_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not _answers(f"{self.url}/health/liveliness"):
            if self._process.poll() is not None:
                raise AssertionError(
                    f"the proxy ended with exit code {self._process.returncode}:\n{self._end_of_log()}"
                )
            if time.monotonic() > deadline:
                raise AssertionError(f"the proxy is not ready within {timeout} s:\n{self._end_of_log()}")
            time.sleep(0.05)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Returns the exit code. Kills a process that hangs and reports it."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the proxy still runs {timeout} s after SIGTERM:\n{self._end_of_log()}") from None

    def stop(self) -> None:
        """Sends SIGTERM. Raises AssertionError unless it exits with 0, leaves no child behind and has leaked no
        secret.
        """
        found: list[str] = []
        if self._process.poll() is None:
            found = canaries.children_leaks(self.pid, self._environment, self._secrets)
            self._refuse_leaks_of_answers()
            self.terminate()
        code = self.wait()
        orphans = _group_exists(self._process.pid)
        if orphans:
            self.kill()
        assert code == 0, f"the proxy ended with exit code {code}:\n{self._end_of_log()}"
        assert not orphans, f"the proxy left a child process behind:\n{self._end_of_log()}"
        assert not found, f"secrets where they do not belong: {found}"
        if self._log_format == "json":
            log_lines.parsed(self.log().splitlines(), "proxy")
        self._refuse_leaks()

    def kill(self) -> None:
        """Kills it. Raises AssertionError if it has leaked a secret."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # all of them have exited
        self._process.wait(10)
        self._refuse_leaks()

    def _refuse_leaks(self) -> None:
        canaries.refuse_leaks("the proxy's log", self.log_path.read_bytes(), self._secrets)
        for ledger in self.directory.glob("ledger.db*"):
            canaries.refuse_leaks(f"the ledger's {ledger.name}", ledger.read_bytes(), self._secrets)

    def _refuse_leaks_of_answers(self) -> None:
        headers = {} if self.master_key is None else {"authorization": f"Bearer {self.master_key}"}
        for path in ("/health", "/metrics"):
            try:
                answer = httpx.get(self.url + path, headers=headers, timeout=5, trust_env=False)
            except httpx.HTTPError:
                continue  # it does not serve (any more), as in some tests
            canaries.refuse_leaks(path, answer.content, self._secrets)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class StartProxy(Protocol):
    """The type of the `proxy` fixture: `proxy(config, master_key=…, environment=…, arguments=…)`."""

    def __call__(self, config: Mapping[str, Any] | Path, **options: Any) -> RunningProxy: ...


def proxy_starter(stack: ExitStack, directory: Path, **defaults: Any) -> StartProxy:
    """Starts proxies that `stack` stops, each in its own directory below `directory`."""

    def start(config: Mapping[str, Any] | Path, **options: Any) -> RunningProxy:
        own = directory / f"proxy-{len(list(directory.glob('proxy-*')))}"
        own.mkdir()
        return stack.enter_context(RunningProxy(config, own, **{**defaults, **options}))

    return start


def free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
