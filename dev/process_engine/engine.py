"""The API on its unix socket, and the thread it runs in."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from .containers import Container, ContainerInfo, Image
from .http import Reply, Request, serve_connection
from .sidecar import PORT as SIDECAR_PORT
from .sidecar import Sidecar

SIDECAR_IMAGE = "networking-sidecar:dev"
_SIDECAR_SUFFIX = "-proxy"  # as workerd names it: the container's own name and this
_NOT_FOUND = 404
_MAX_DIRECTORY = 85


class ProcessEngine:
    """Answers for `images`, which may be changed at any time: {"name:tag": Image}.

    `log` gets every line that containers print, from the engine's thread. The methods may be called from any thread.
    """

    def __init__(self, images: Mapping[str, Image], *, log: Callable[[str], None] | None = None) -> None:
        self.images = dict(images)
        self._log = log or _to_stderr
        self._containers: dict[str, Container] = {}
        self._sidecars: dict[str, Sidecar] = {}
        self._directory: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._ending: asyncio.Event | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def socket_path(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the engine is not started")
        return Path(self._directory) / "engine.sock"

    def start(self) -> None:
        self._directory = _short_directory()
        self._ready.clear()
        # The children are tied to this thread: it lives until stop().
        self._thread = threading.Thread(target=self._run, name="process-engine", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends every container: SIGTERM is workerd's business, here it is SIGKILL."""
        if self._thread is None or self._loop is None or self._ending is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()
        self._thread = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the engine's thread, which also stands in for the network between workerd and the containers."""
        if self._thread is None or self._thread.ident is None:
            raise RuntimeError("the engine is not started")
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident))

    def containers(self) -> list[ContainerInfo]:
        return [container.info() for container in list(self._containers.values())]

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._ready.set()
            raise

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        server = await asyncio.start_unix_server(self._connected, self.socket_path)
        self._ready.set()
        await self._ending.wait()
        server.close()
        await asyncio.gather(*(c.remove() for c in self._containers.values()))
        await asyncio.gather(*(s.stop() for s in self._sidecars.values()))
        self._containers.clear()
        self._sidecars.clear()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await serve_connection(reader, writer, self._answer)
        except asyncio.CancelledError:
            return  # the engine stops
        finally:
            self._connections.discard(task)

    async def _answer(self, request: Request) -> Reply:
        match request.method, request.path:
            case "GET", ["_ping"] | ["version"]:
                return Reply(200, {"ApiVersion": "1.44"})
            case "GET", ["networks", _]:
                # Where the container finds its host. workerd listens there for what containers send out.
                return Reply(200, {"IPAM": {"Config": [{"Subnet": "127.0.0.0/8", "Gateway": "127.0.0.1"}]}})
            case "GET", ["volumes"]:
                return Reply(200, {"Volumes": [], "Warnings": []})
            case "GET", ["images", *name, "json"]:
                return self._inspect_image("/".join(name))
            case "POST", ["containers", "create"]:
                return self._create(request)
            case method, ["containers", name, *action]:
                return await self._act(method, name, action[0] if action else "", request)
        return self._unknown(request)

    def _inspect_image(self, name: str) -> Reply:
        if name != SIDECAR_IMAGE and name not in self.images:
            return _error(_NOT_FOUND, f"No such image: {name}")
        return Reply(200, {"Id": f"sha256:{name}", "Size": 0})

    def _create(self, request: Request) -> Reply:
        name = request.query["name"]
        body = request.json()
        image = body["Image"]
        if name in self._containers or name in self._sidecars:
            return _error(409, f"The container name {name} is already in use.")
        if image == SIDECAR_IMAGE:
            self._sidecars[name] = Sidecar(lambda port: self._local_port(name.removesuffix(_SIDECAR_SUFFIX), port))
        elif image in self.images:
            environment = dict(pair.split("=", 1) for pair in body.get("Env") or [])
            self._containers[name] = Container(name, image, self.images[image], environment, self._log)
        else:
            return _error(_NOT_FOUND, f"No such image: {image}")
        return Reply(201, {"Id": name, "Warnings": []})

    async def _act(self, method: str, name: str, action: str, request: Request) -> Reply:
        if name in self._sidecars:
            return await self._act_on_sidecar(method, name, action, request)
        container = self._containers.get(name)
        if container is None:
            return _error(_NOT_FOUND, f"No such container: {name}")
        match method, action:
            case "GET", "json":
                return Reply(200, _describe(container))
            case "POST", "start":
                if container.state != "created":
                    return Reply(304)
                container.start()
                return Reply(204)
            case "POST", "wait":
                if request.query.get("condition") == "removed":
                    await container.removed.wait()
                else:
                    await container.stopped.wait()
                return Reply(200, {"StatusCode": container.exit_code or 0})
            case "POST", "kill" | "stop":
                if container.state != "running":
                    return Reply(304) if action == "stop" else _error(409, f"Container {name} is not running")
                container.signal(_signal_number(request.query.get("signal"), action))
                return Reply(204)
            case "DELETE", "":
                await container.remove()
                self._containers.pop(name, None)
                return Reply(204)
        return self._unknown(request)

    async def _act_on_sidecar(self, method: str, name: str, action: str, request: Request) -> Reply:
        sidecar = self._sidecars[name]
        match method, action:
            case "GET", "json":
                ports = {} if sidecar.port is None else {f"{SIDECAR_PORT}/tcp": [_published(sidecar.port)]}
                state = "created" if sidecar.port is None else "running"
                return Reply(200, {"Id": name, "State": {"Status": state}, "NetworkSettings": {"Ports": ports}})
            case "POST", "start":
                await sidecar.start()
                return Reply(204)
            case "DELETE", "":
                await sidecar.stop()
                self._sidecars.pop(name, None)
                return Reply(204)
        return self._unknown(request)

    def _local_port(self, name: str, port: int) -> int | None:
        container = self._containers.get(name)
        if container is None or container.state != "running" or port != container.image.port:
            return None
        return container.local_port

    def _unknown(self, request: Request) -> Reply:
        message = f"The process engine does not know {request.method} {request.target}."
        self._log(message)
        return _error(501, message)


def _short_directory() -> str:
    """A fresh one. The path of a unix socket holds some 100 characters, and TMPDIR may be long."""
    directory = tempfile.mkdtemp(prefix="engine-")
    if len(directory) <= _MAX_DIRECTORY:
        return directory
    os.rmdir(directory)
    return tempfile.mkdtemp(prefix="engine-", dir="/tmp")


def _describe(container: Container) -> dict:
    info = container.info()
    ports = {f"{container.image.port}/tcp": [_published(info.local_port)]} if info.local_port else {}
    return {
        "Id": info.name,
        "Name": f"/{info.name}",
        "State": {
            "Status": info.state,
            "Running": info.state == "running",
            "Pid": info.pid or 0,
            "ExitCode": info.exit_code or 0,
        },
        "Config": {"Image": info.image},
        "NetworkSettings": {"Ports": ports},
    }


def _published(port: int) -> dict[str, str]:
    return {"HostIp": "127.0.0.1", "HostPort": str(port)}


def _signal_number(name: str | None, action: str) -> int:
    if not name:
        return signal.SIGTERM if action == "stop" else signal.SIGKILL
    return int(name) if name.isdigit() else signal.Signals["SIG" + name.removeprefix("SIG")]


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"message": message})


def _to_stderr(line: str) -> None:
    print(f"proxy | {line}", file=sys.stderr, flush=True)
