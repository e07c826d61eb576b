"""Fixtures: the real Worker in workerd, the process engine, and the proxy (or a stand-in) as the container.

def test_it(edge):                       # shared by the whole session; leave it as you found it
    edge.client.get("/health")

def test_other(start_edge):              # your own, stopped after the test (`start_module_edge`: after the module)
    edge = start_edge(config={"model_list": [...]}, vars={"PUBLIC_MODELS": "true"})

def test_one_of_many(shared_edge):       # shared with the module's next test that wants the same, unless this one fails
    edge = shared_edge(image=image(events), vars={"CONTAINER_INSTANCES": "2"})
"""

import contextlib
import dataclasses
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import pytest
import yaml

from container.config.load import load
from container.proxy import catalog
from dev.edge import PROXY_CLASS, WRANGLER_CONFIG, OfflineEdge
from dev.offline import wrangler
from dev.offline.build import Version
from dev.process_engine.containers import ContainerInfo, Image
from tests import canaries, forked, log_lines
from tests.edge.stand_in import CONFIG as STAND_IN_CONFIG

ROOT = Path(__file__).parents[2]
SHIPPED_CONFIG = ROOT / "litellm_config.yaml"
MASTER_KEY = "sk-master-of-the-tests"

# Optimizing Pyodide's WebAssembly takes two seconds of CPU, too much for a Worker that serves a few requests.
V8_FLAGS = ("--liftoff-only",)

Found = TypeVar("Found")
FAILED = pytest.StashKey[bool]()


class Edge:
    """A running edge. `client` sends the master key; `url` is without `/v1`.

    `offline` is the OfflineEdge, with its engine, images and workerd.
    """

    def __init__(
        self, offline: OfflineEdge, master_key: str | None, lines: list[str], secrets: Iterable[bytes] = ()
    ) -> None:
        self.offline = offline
        self.secrets = secrets
        self.master_key = master_key
        self.lines = lines
        self._log_starts = 0
        headers = {} if master_key is None else {"authorization": f"Bearer {master_key}"}
        self.client = httpx.Client(base_url=offline.url, headers=headers, timeout=30)

    @property
    def url(self) -> str:
        return self.offline.url

    def log(self) -> str:
        """The output of the Worker and the containers since `new_log`. Each line is prefixed with its source."""
        return "\n".join(self.lines[self._log_starts :])

    def new_log(self) -> None:
        self._log_starts = len(self.lines)

    def wait_for_log(self, text: str, timeout: float = 10) -> str:
        """Waits for a line that contains `text` and returns it."""
        return wait_for(
            lambda: next((line for line in self.lines[self._log_starts :] if text in line), None),
            f"{text!r} in the log",
            timeout,
        )

    def containers(self, state: str | None = "running") -> list[ContainerInfo]:
        return self.offline.containers(state)

    @property
    def container_pid(self) -> int:
        """Waits for the only container to start and returns its process id."""
        return wait_for(lambda: next((c.pid for c in self.containers()), None), "a running container")

    def kill_container(self) -> int:
        """kill -9. Waits until the engine has noticed and returns the process id."""
        pid = self.offline.kill_container()
        wait_for(lambda: not any(c.pid == pid for c in self.containers()), f"the end of process {pid}")
        return pid

    def end_containers(self) -> None:
        """kill -9. Waits until the Worker knows that none runs."""

        def asleep() -> bool:
            for container in self.containers():
                if container.pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(container.pid, signal.SIGKILL)
            return not self.containers() and self.client.get("/health").json()["container"] == "sleeping"

        wait_for(asleep, "the end of every container", timeout=30)

    def set_image(self, image: Image | None) -> None:
        """Sets the image for the next start of the container. None: the image is missing."""
        self.offline.set_image(image)

    def alarms(self) -> list[float]:
        """Seconds until each alarm of the ledger's object, as stored on disk by workerd."""
        (path,) = self.offline.directory.glob("storage/*Ledger/metadata.sqlite")
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return [at / 1e9 - time.time() for (at,) in database.execute("SELECT scheduled_time FROM _cf_ALARM")]

    def stop_worker(self) -> None:
        self.offline.stop_worker()

    def start_worker(self) -> None:
        self.offline.start_worker()

    def kill_worker(self) -> None:
        """kill -9. The container survives, and the next workerd finds it running."""
        self.offline.kill_worker()

    def deploy(self, *, replaced: Mapping[str, str] | None = None) -> None:
        """Replaces the running Worker with this checkout's; containers survive. `replaced` is merged with the
        catalog.
        """
        self.offline.config = wrangler.read(WRANGLER_CONFIG)
        self.offline.replaced = {"catalog.py": self.offline.replaced["catalog.py"], **(replaced or {})}
        assert self.offline.images is not None
        self.set_image(self.offline.images[PROXY_CLASS])
        self.offline.deploy(self.offline.vars)

    def restart_worker(self) -> None:
        """Restarts workerd on the same port with the same storage. Its containers end."""
        self.offline.restart_worker()

    def stop(self) -> None:
        """Stops the edge. Raises AssertionError if the Worker or a container has leaked a secret."""
        with contextlib.suppress(httpx.HTTPError):  # a test may have stopped it
            canaries.refuse_leaks("/health", httpx.get(f"{self.url}/health", timeout=10).content, self.secrets)
        self.client.close()
        self.offline.stop()
        ours = (line.partition(" | ") for line in list(self.lines))
        log_lines.parsed((text for part, _, text in ours if part == "worker" and text.startswith("{")), "edge")
        canaries.refuse_leaks("the edge's log", "\n".join(self.lines).encode(), self.secrets)


class StartEdge(Protocol):
    """Options of an edge.

    config      a path, or a mapping to be written as YAML (default: the shipped one, or the stand-in's)
    vars        added to the master key; None removes a variable
    image       instead of the proxy with this config
    engine      False: no container engine is configured; or the one at `engine_socket`
    containers  False: no Durable Object has a container; or the classes that have one
    ledger      False: the Worker has no LEDGER binding
    local       LOCAL_DEVELOPMENT
    directory   for the storage, to find it again (default: a fresh one)
    replaced    sources of the Worker, {path below worker/: text}
    checkout    whose Worker (default: this one's)
    versions    other versions of the Worker, at `edge.offline.version_urls`
    port        0 takes a free one
    """

    def __call__(
        self,
        config: Path | Mapping[str, Any] | None = ...,
        *,
        vars: Mapping[str, str | None] | None = ...,
        image: Image | None = ...,
        engine: bool = ...,
        engine_socket: Path | None = ...,
        containers: bool | frozenset[str] = ...,
        ledger: bool = ...,
        local: bool = ...,
        directory: Path | None = ...,
        replaced: Mapping[str, str] | None = ...,
        checkout: Path = ...,
        versions: Sequence[Version] = ...,
        port: int = ...,
    ) -> Edge: ...


@pytest.fixture
def start_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartEdge]:
    """Starts edges that are stopped after the test. Each needs about 300 MB."""
    with _starter(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def start_module_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartEdge]:
    """Starts edges that are stopped after the module."""
    with _starter(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def start_session_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartEdge]:
    """Starts edges that are stopped after the session."""
    with _starter(tmp_path_factory) as start:
        yield start


class SharedEdge:
    """One edge after another, each for all tests in a row that want the same."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._tmp_path_factory = tmp_path_factory
        self._wanted: object = None
        self._edge: Edge | None = None
        self._stack = contextlib.ExitStack()

    def __call__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        image: Image | None = None,
        vars: Mapping[str, str] | None = None,
        replaced: Mapping[str, str] | None = None,
    ) -> Edge:
        """Options as of StartEdge. Without an image the proxy may be running. With one no container is, and the image
        is for the next ones.
        """
        wanted = (config, image is None, vars, replaced)
        if self._edge is None or wanted != self._wanted:
            self.stop()
            start = self._stack.enter_context(_starter(self._tmp_path_factory))
            self._edge, self._wanted = start(config, image=image, vars=vars, replaced=replaced), wanted
        elif image is not None:
            self._edge.end_containers()
            self._edge.set_image(image)
        self._edge.new_log()
        return self._edge

    def stop(self) -> None:
        self._edge = None
        self._stack.close()


@pytest.fixture(scope="module")
def _module_shared_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedEdge]:
    shared = SharedEdge(tmp_path_factory)
    yield shared
    shared.stop()


@pytest.fixture
def shared_edge(request: pytest.FixtureRequest, _module_shared_edge: SharedEdge) -> Iterator[SharedEdge]:
    """Edges that a module's tests share. A test that fails takes its edge away."""
    yield _module_shared_edge
    if request.node.stash.get(FAILED, False):
        _module_shared_edge.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@contextlib.contextmanager
def _starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartEdge]:
    with contextlib.ExitStack() as stack:

        def start(
            config: Path | Mapping[str, Any] | None = None,
            *,
            vars: Mapping[str, str | None] | None = None,
            image: Image | None = None,
            engine: bool = True,
            engine_socket: Path | None = None,
            containers: bool | frozenset[str] = True,
            ledger: bool = True,
            local: bool = True,
            directory: Path | None = None,
            replaced: Mapping[str, str] | None = None,
            checkout: Path = ROOT,
            versions: Sequence[Version] = (),
            port: int = 0,
        ) -> Edge:
            own = directory or tmp_path_factory.mktemp("edge")
            if config is None:
                config = SHIPPED_CONFIG if image is None else STAND_IN_CONFIG
            path = config if isinstance(config, Path) else _written(config, own / "litellm_config.yaml")
            variables: dict[str, str | None] = {"LITELLM_MASTER_KEY": MASTER_KEY}
            if local:
                variables["LOCAL_DEVELOPMENT"] = "true"
            variables.update(vars or {})
            lines: list[str] = []
            offline = OfflineEdge(
                own,
                {name: value for name, value in variables.items() if value is not None},
                {PROXY_CLASS: image or forked.image(path)} if engine else None,
                engine_socket=engine_socket,
                replaced={"catalog.py": catalog.source(load(path, {})), **(replaced or {})},
                wrangler_path=checkout / WRANGLER_CONFIG.name,
                log=lines.append,
                versions=versions,
                v8_flags=V8_FLAGS,
                port=port,
            )
            if containers is not True:
                offline.config = dataclasses.replace(offline.config, containers=containers or frozenset())
            if not ledger:
                bindings = {name: kind for name, kind in offline.config.bindings.items() if name != "LEDGER"}
                offline.config = dataclasses.replace(offline.config, bindings=bindings)
            offline.start()
            given = {name: value for name, value in variables.items() if value is not None}
            secrets = canaries.secrets_of(given, yaml.safe_load(path.read_text(encoding="utf-8")))
            canaries.planted |= secrets
            edge = Edge(offline, variables["LITELLM_MASTER_KEY"], lines, secrets)
            stack.callback(edge.stop)
            return edge

        yield start


@pytest.fixture(scope="session")
def edge(start_session_edge: StartEdge) -> Edge:
    """An edge with the shipped config and the real proxy."""
    return start_session_edge()


@pytest.fixture(scope="session", params=["no engine", "dead engine", "no container"])
def edge_without_engine(request: pytest.FixtureRequest, start_session_edge: StartEdge) -> Edge:
    """Three edges without a container: no engine is configured, nothing listens on its socket, or the Durable Object
    has no container (`ctx.container` is None).
    """
    if request.param == "no engine":
        return start_session_edge(engine=False)
    if request.param == "dead engine":
        return start_session_edge(engine=False, engine_socket=Path("/nobody/listens/here.sock"))
    return start_session_edge(containers=False)


def wait_for(condition: Callable[[], Found | None], what: str, timeout: float = 10) -> Found:
    """Returns the first true value of `condition`. Raises AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"no sign of {what} within {timeout:g} s"
        time.sleep(0.02)
    return found


def _written(config: Mapping[str, Any], path: Path) -> Path:
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
