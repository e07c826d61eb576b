"""One run of `litellm-router dev`, from preparation to cleanup."""

import contextlib
import errno
import ipaddress
import json
import os
import shlex
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from container.config.deployment import Deployment
from container.config.document import ConfigError
from container.config.load import load
from container.engine import packages_installed
from container.proxy import catalog
from dev import runtime_choice, setup, variables, wrangler_dev
from dev.edge import PROXY_CLASS, WRANGLER_CONFIG, OfflineEdge, proxy_image
from dev.offline import wrangler
from dev.offline.tools import REPOSITORY, MissingTool
from dev.offline.workerd import WorkerdFailed
from dev.progress import say, step
from dev.runtime_choice import CannotRun
from worker.core.api.health import missing

STATE = REPOSITORY / ".dev"
# What the image is built with, and what worker/catalog.py is made from.
_OWN_CONFIG = REPOSITORY / "litellm_config.yaml"


@dataclass(frozen=True)
class Session:
    """`catalog`: the source of worker/catalog.py for this config; `model`: one that is on, None without;
    `vars`: what the Worker gets; `key_in_file`: the master key is known to `.dev.vars` only; `needs_engine`: a model
    that is on is called through LiteLLM."""

    config: Path
    catalog: str
    model: str | None
    host: str
    port: int
    vars: Mapping[str, str]
    key_in_file: bool
    needs_engine: bool

    @classmethod
    def prepare(cls, config: str, host: str, port: int) -> "Session":
        """Checks everything that can be checked before anything starts. Raises CannotRun."""
        path = Path(config)
        if not path.is_file():
            raise CannotRun(f"There is no config {config}; name one with --config.")
        _check_port(host, port)
        try:
            loaded = load(path, {})
            source, extract = catalog.source(loaded), catalog.catalog(loaded)
            if path.resolve() == _OWN_CONFIG:
                catalog.write(path)
        except ConfigError as error:
            raise CannotRun(str(error)) from None
        dev_vars = variables.read_dev_vars(REPOSITORY, say)
        try:
            settings = wrangler.read(WRANGLER_CONFIG).vars
        except wrangler.WranglerConfigError as error:
            raise CannotRun(str(error)) from None
        names = [*extract["environment"], *(key["variable"] for key in extract["virtual_keys"])]
        given = variables.worker_variables(dev_vars, os.environ, names, settings)
        if given[variables.MASTER_KEY] == variables.WELL_KNOWN_KEY and not _is_loopback(host):
            raise CannotRun(
                f"{host} is open to others and everybody knows the master key sk-1234; set LITELLM_MASTER_KEY to "
                "another one, or leave out --host."
            )
        on = [d for d in loaded.deployments if not missing(d.needs, lambda name: bool(given.get(name)))]
        key_in_file = not os.environ.get(variables.MASTER_KEY)
        needs_engine = any(d.kind == "engine" for d in on)
        return cls(path, source, _example_model(on), host, port, given, key_in_file, needs_engine)

    def run(self, runtime: str) -> int:
        in_image = self.config.resolve() == _OWN_CONFIG
        choice = runtime_choice.choose(runtime, in_image=in_image)
        say(f"Runtime: {choice.name}, because {choice.why}.")
        if choice.name == "wrangler" and not in_image:
            raise CannotRun(
                f"wrangler dev builds the image, which holds {_OWN_CONFIG.name}: change that file, or use "
                "--runtime offline."
            )
        with _signals_interrupt():
            if choice.name == "wrangler":
                return wrangler_dev.run(self.host, self.port, self.url, self.vars, self.example())
            return self._run_offline()

    def example(self) -> str:
        """An example request that works as printed."""
        if self.model is None:
            return f"curl {shlex.quote(f'{self.url}/health')}  # no model is on: litellm-router check says what to set"
        url = shlex.quote(f"{self.url}/v1/chat/completions")
        fields = {"model": self.model, "messages": [{"role": "user", "content": "Hello"}]}
        body = shlex.quote(json.dumps(fields, separators=(",", ":"), ensure_ascii=False))
        return f'curl {url} -H "Authorization: Bearer {self._shown_key()}" -d {body}'

    @property
    def url(self) -> str:
        """The local URL, also if it listens on all addresses."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def directory(self) -> Path:
        """One directory per port, so that two sessions can run side by side."""
        return STATE / str(self.port)

    def _shown_key(self) -> str:
        if self.vars[variables.MASTER_KEY] == variables.WELL_KNOWN_KEY:
            return variables.WELL_KNOWN_KEY
        if self.key_in_file:
            file = shlex.quote(str(REPOSITORY / ".dev.vars"))
            return f"$(. {file}; echo $LITELLM_MASTER_KEY)"
        return "$LITELLM_MASTER_KEY"

    def _run_offline(self) -> int:
        if self.needs_engine and not packages_installed() and setup.main(["engine"]) != 0:
            say("Models that are called through LiteLLM do not answer until that is done; the others do.")
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
                replaced={"catalog.py": self.catalog},
                prepare_later=True,
                log=pass_on,
            )
            try:
                with step("Starting the Worker"):
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
    """Checks the port before any slow step."""
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


def _example_model(on: Sequence[Deployment]) -> str | None:
    """A usable model: one that needs no provider, otherwise the first enabled one that is not a wildcard."""
    named = [d for d in on if not d.wildcard]
    chosen = next((d for d in named if d.kind == "mock"), next(iter(named), None))
    return chosen.group if chosen else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt like Ctrl-C, so that every `finally` runs."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignores signals during the cleanup, which takes a bounded time. A second Ctrl-C would leave orphans."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
