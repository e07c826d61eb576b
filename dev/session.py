"""One run of `litellm-router dev`, from its preparations to the end of everything it started."""

import contextlib
import errno
import ipaddress
import os
import runpy
import shlex
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import runtime_choice, variables
from .edge import PROXY_CLASS, WRANGLER_CONFIG, OfflineEdge, proxy_image
from .offline import wrangler
from .offline.tools import REPOSITORY, MissingTool
from .offline.workerd import WorkerdFailed
from .progress import say, step

STATE = REPOSITORY / ".dev"
_CATALOG = REPOSITORY / "worker" / "catalog.py"


class CannotRun(Exception):
    """What is wrong and how to mend it, in one sentence."""


@dataclass(frozen=True)
class Session:
    """`vars`: what the Worker gets; `key_in_file`: the master key is known to `.dev.vars` only."""

    config: Path
    host: str
    port: int
    vars: Mapping[str, str]
    key_in_file: bool

    @classmethod
    def prepare(cls, config: str, host: str, port: int) -> "Session":
        """Everything that can be wrong before anything is started. Raises CannotRun."""
        path = Path(config)
        if not path.is_file():
            raise CannotRun(f"There is no config {config}; name one with --config.")
        _check_port(host, port)
        environment_names = _regenerate_catalog(path)
        dev_vars = variables.read_dev_vars(REPOSITORY)
        try:
            settings = wrangler.read(WRANGLER_CONFIG).vars
        except wrangler.WranglerConfigError as error:
            raise CannotRun(str(error)) from None
        given = variables.worker_variables(dev_vars, os.environ, environment_names, settings)
        if given[variables.MASTER_KEY] == variables.WELL_KNOWN_KEY and not _is_loopback(host):
            raise CannotRun(
                f"{host} is open to others and everybody knows the master key sk-1234; set LITELLM_MASTER_KEY to "
                "another one, or leave out --host."
            )
        return cls(path, host, port, given, key_in_file=not os.environ.get(variables.MASTER_KEY))

    def run(self, runtime: str) -> int:
        choice = runtime_choice.choose(runtime)
        say(f"Runtime: {choice.name}, because {choice.why}.")
        with _signals_interrupt():
            if choice.name == "wrangler":
                from . import wrangler_dev

                return wrangler_dev.run(self)
            return self._run_offline()

    def example(self) -> str:
        """A request that works as it is printed."""
        url = shlex.quote(f"{self.url}/v1/chat/completions")
        body = shlex.quote('{"model":"mock","messages":[{"role":"user","content":"Hello"}]}')
        return f'curl {url} -H "Authorization: Bearer {self._shown_key()}" -d {body}'

    @property
    def url(self) -> str:
        """Where this machine reaches it, also when it listens on all addresses."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def directory(self) -> Path:
        """One for each port, so that two may run side by side."""
        return STATE / str(self.port)

    def _shown_key(self) -> str:
        if self.vars[variables.MASTER_KEY] == variables.WELL_KNOWN_KEY:
            return variables.WELL_KNOWN_KEY
        if self.key_in_file:
            file = shlex.quote(str(REPOSITORY / ".dev.vars"))
            return f"$(. {file}; echo $LITELLM_MASTER_KEY)"
        return "$LITELLM_MASTER_KEY"

    def _run_offline(self) -> int:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "dev.log").open("w", encoding="utf-8", buffering=1) as log:

            def pass_on(line: str) -> None:
                say(line)
                log.write(line + "\n")

            edge = OfflineEdge(
                self.directory,
                self.vars,
                {PROXY_CLASS: proxy_image(self.config)},
                host=self.host,
                port=self.port,
                log=pass_on,
            )
            try:
                with step("Starting the Worker (the first time Python's memory is prepared)"):
                    status = edge.start()
                if status != 200:
                    raise CannotRun(f"The Worker answers GET {self.url}/health with {status}; see {log.name}.")
                print(f"Listening on {self.url} - try: {self.example()}", flush=True)
                assert edge.workerd is not None
                try:
                    code = edge.workerd.wait()
                except KeyboardInterrupt:
                    return 0  # told to end, as servers are
                raise CannotRun(f"workerd ended by itself with exit code {code}; see {log.name}.")
            except (MissingTool, WorkerdFailed) as error:
                raise CannotRun(str(error)) from None
            except OSError as error:
                raise CannotRun(f"Cannot serve on {self.host}:{self.port}: {error}.") from None
            finally:
                with _signals_ignored():
                    edge.stop()


def _check_port(host: str, port: int) -> None:
    """Early, before anything takes time."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except socket.gaierror:
        raise CannotRun(f"{host} is no address of this machine; leave out --host or name another.") from None
    except PermissionError:
        raise CannotRun(f"Port {port} needs privileges; choose one above 1023 with --port.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotRun(
                f"Port {port} on {host} is taken; end what listens there or choose another with --port."
            ) from None
        raise CannotRun(f"Cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port.") from None


def _regenerate_catalog(config: Path) -> list[str]:
    """The names of the variables that the proxy may read with this config."""
    from container.config import ConfigError, catalog

    try:
        catalog.write(config)
    except ConfigError as error:
        raise CannotRun(str(error)) from None
    return runpy.run_path(str(_CATALOG))["CATALOG"]["environment"]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end us as Ctrl-C does: through every `finally`."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """While everything is being ended, which takes a bounded time: a second Ctrl-C would leave orphans."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
