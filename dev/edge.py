"""The complete offline edge: workerd with the Worker, and the process engine with the proxy behind it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev import child
from dev.offline import build, bytecode, snapshot, wrangler
from dev.offline.tools import REPOSITORY
from dev.offline.workerd import Workerd
from dev.process_engine.containers import ContainerInfo, Image
from dev.process_engine.engine import SIDECAR_IMAGE, ProcessEngine

WRANGLER_CONFIG = REPOSITORY / "wrangler.jsonc"
PROXY_CLASS = "ProxyContainer"
_HEALTH = "/health"
_GRACE_SECONDS = 5.0
_DOCKER_GRACE_SECONDS = 30.0  # removing a container takes seconds

LogLine = Callable[[str], None]


def proxy_image(config: Path) -> Image:
    """The Dockerfile's image as a process in this environment."""
    command = (sys.executable, "-m", "container", "serve")
    return Image((*command, "--config", str(config.resolve()), "--host", "127.0.0.1", "--port", "{port}"))


@dataclass
class OfflineEdge:
    """What runs together.

    directory      holds the build and the Durable Objects' storage
    vars           the Worker's variables and secrets
    images         by class name, one for each that has a container; None: no process engine
    port           0 takes a free one, and keeps it over restarts
    engine_socket  another engine (Docker's) where there is no process engine; it must have the images that
                   WranglerConfig.image() names
    sidecar_image  that engine's image of workerd's networking sidecar
    replaced       generated sources, see build()
    wrangler_path  which Worker
    versions       other versions of the Worker, each at one of `version_urls`
    apart          classes of Durable Objects with isolates of their own, see build()
    v8_flags       of workerd's JavaScript engine
    prepare_later  the first start uses neither snapshot nor bytecode, because making them takes longer than they save;
                   they are made once the Worker has answered, for its next start
    """

    directory: Path
    vars: Mapping[str, str]
    images: Mapping[str, Image] | None
    host: str = "127.0.0.1"
    port: int = 0
    engine_socket: Path | None = None
    sidecar_image: str = SIDECAR_IMAGE
    replaced: Mapping[str, str] = field(default_factory=dict)
    wrangler_path: Path = WRANGLER_CONFIG
    versions: Sequence[build.Version] = ()
    apart: Sequence[str] = ()
    v8_flags: Sequence[str] = ()
    prepare_later: bool = False
    log: LogLine = print

    def __post_init__(self) -> None:
        self.config = wrangler.read(self.wrangler_path)
        self.engine: ProcessEngine | None = None
        self.workerd: Workerd | None = None
        self.preparing: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        assert self.workerd is not None
        return self.workerd.url

    @property
    def version_urls(self) -> list[str]:
        assert self.workerd is not None
        return [f"http://{self.host}:{port}" for port in self.workerd.version_ports]

    def start(self, health: str = _HEALTH) -> int:
        """Starts everything; the status of GET `health`. Raises OSError (port taken), WorkerdFailed, MissingTool."""
        if self.images is not None:
            images = {self.config.image(name): image for name, image in self._images().items()}
            self.engine = ProcessEngine(images, log=lambda line: self.log(f"proxy | {line}"))
            self.engine.start()
        try:
            self.workerd = Workerd(
                self._build(),
                host=self.host,
                port=self.port,
                log=lambda line: self.log(f"worker | {line}"),
                grace=_GRACE_SECONDS if self.engine is not None else _DOCKER_GRACE_SECONDS,
                versions=len(self.versions),
            )
            status = self.start_worker(health)
            if self.prepare_later and None in self._prepared():
                self._prepare()
            return status
        except BaseException:
            self.stop()
            raise

    def deploy(self, vars: Mapping[str, str], health: str = _HEALTH) -> int:
        """Deploys another version of the Worker on the same port. It finds the running containers."""
        self.kill_worker()
        self.vars = vars
        self._build()
        return self.start_worker(health)

    def _build(self) -> Path:
        memory, code = self._prepared()
        socket = self.engine.socket_path if self.engine is not None else self.engine_socket
        return build.build(
            self.config,
            self.directory / "build",
            storage=self.directory / "storage",
            vars=self.vars,
            engine=build.Engine(socket, self.sidecar_image) if socket else None,
            snapshot=memory,
            bytecode=code,
            replaced=self.replaced,
            versions=self.versions,
            apart=self.apart,
            v8_flags=self.v8_flags,
        )

    def _prepared(self) -> tuple[Path | None, Path | None]:
        """The snapshot and the bytecode."""
        make = not self.prepare_later
        memory = snapshot.find_or_make(self.config.main, make=make)
        return memory, bytecode.find_or_make(self.config.main, memory, make=make)

    def _prepare(self) -> None:
        """In a process of its own, which can be ended at any time."""
        self.preparing = subprocess.Popen(
            [sys.executable, "-m", "dev.offline.bytecode", str(self.config.main)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=child.tied_to_parent(signal.SIGTERM),
        )

    def _images(self) -> dict[str, Image]:
        """Classes with a container but without their own image use the image of PROXY_CLASS."""
        assert self.images is not None
        shared = {name: self.images[PROXY_CLASS] for name in self.config.containers if PROXY_CLASS in self.images}
        return {**shared, **self.images}

    def start_worker(self, health: str = _HEALTH) -> int:
        assert self.workerd is not None
        self.workerd.start()
        return self.workerd.wait_until_ready(health)

    def stop_worker(self) -> None:
        """workerd ends its containers with it."""
        if self.workerd is not None:
            self.workerd.stop()

    def kill_worker(self) -> None:
        """SIGKILL: the containers keep running and the next workerd finds them, like a Durable Object that has moved to
        another machine."""
        assert self.workerd is not None
        self.workerd.kill()

    def restart_worker(self, health: str = _HEALTH) -> int:
        self.stop_worker()
        return self.start_worker(health)

    def stop(self) -> None:
        if self.preparing is not None:
            child.end(self.preparing)
        self.stop_worker()
        if self.engine is not None:
            self.engine.stop()

    def containers(self, state: str | None = None) -> list[ContainerInfo]:
        found = self.engine.containers() if self.engine is not None else []
        return [container for container in found if state in (None, container.state)]

    def set_image(self, image: Image | None, class_name: str | None = None) -> None:
        """Sets the image of future container starts, for one class or all. None: the image is missing."""
        assert self.engine is not None
        for each in self.config.containers if class_name is None else (class_name,):
            name = self.config.image(each)
            if image is None:
                self.engine.images.pop(name, None)
            else:
                self.engine.images[name] = image

    def kill_container(self) -> int:
        """Kills the only container's process, as in a crash; returns its pid."""
        (container,) = self.containers("running")
        assert container.pid is not None
        os.kill(container.pid, signal.SIGKILL)
        return container.pid
