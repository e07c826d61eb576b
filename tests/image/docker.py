"""Builds the image once and runs containers of it, with any engine that provides `docker`."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.processes import ROOT

COMMAND = os.environ.get("WRANGLER_DOCKER_BIN") or "docker"
IMAGE = "litellm-router:test"
BUILD_TIMEOUT = 900.0
READY_TIMEOUT = 60.0
MASTER_KEY = "sk-image-tests-0123456789"

# Files that may be in the build folder but never in an image. Each is placed beside the files that belong there.
SECRET = "sk-this-must-not-be-in-the-image"
SECRET_FILES = (
    ".git/config",
    ".dev.vars",
    ".dev.vars.production",
    ".env",
    "container/.env",
    "container/.env.local",
    "worker/.dev.vars",
    "worker/__pycache__/stale.cpython-313.pyc",
    "deploy/image/.env",
    "node_modules/package/index.js",
)


class DockerError(AssertionError):
    """A docker command failed. The message contains its output."""


def docker(*arguments: str, timeout: float = 60.0, stdin: str | None = None) -> str:
    """The output of the command. Raises DockerError."""
    # podman keeps a HEALTHCHECK only in Docker's own format.
    environment = {**os.environ, "BUILDAH_FORMAT": "docker"}
    done = subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        input=stdin,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-4000:]
        raise DockerError(f"docker {' '.join(arguments)}: exit code {done.returncode}\n{said}")
    return done.stdout


def build(folder: Path) -> str:
    """Builds from a copy of this project in `folder` that also contains secrets. Returns the image name."""
    context = folder / "context"
    shutil.copytree(ROOT, context, ignore=_not_part_of_it, symlinks=True)
    for name in SECRET_FILES:
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)
    docker("build", "-t", IMAGE, str(context), timeout=BUILD_TIMEOUT)
    return IMAGE


def _not_part_of_it(_folder: str, names: list[str]) -> set[str]:
    hidden = {name for name in names if name.startswith(".") and name != ".dockerignore"}
    return hidden | {"node_modules", "python_modules", "__pycache__"}


def inspect(image: str) -> dict[str, Any]:
    return json.loads(docker("image", "inspect", image))[0]


def run_once(
    image: str, *arguments: str, options: tuple[str, ...] = (), stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a container that exits by itself."""
    return subprocess.run(
        [COMMAND, "run", "--rm", "-i", *options, image, *arguments],
        capture_output=True,
        text=True,
        timeout=READY_TIMEOUT,
        input=stdin,
        check=False,
    )


class Container:
    """`with Container(image) as one:` runs a proxy. `arguments` follow the entry point.

    `files` maps paths inside to paths on this machine, `port` is where the proxy listens inside, and `options` are
    options of `docker create`.
    """

    def __init__(
        self,
        image: str,
        *arguments: str,
        environment: dict[str, str] | None = None,
        files: dict[str, Path] | None = None,
        port: int = 4000,
        options: tuple[str, ...] = (),
    ) -> None:
        settings = {"LITELLM_MASTER_KEY": MASTER_KEY, **(environment or {})}
        variables = [f"--env={name}={value}" for name, value in settings.items()]
        created = docker("create", f"--publish=127.0.0.1::{port}", *options, *variables, image, *arguments)
        self.id = created.split()[-1]
        self._port = port
        for inside, here in (files or {}).items():
            docker("cp", str(here), f"{self.id}:{inside}")

    def __enter__(self) -> Self:
        try:
            docker("start", self.id)
            published = docker("port", self.id, f"{self._port}/tcp").split()[0]
            self.url = f"http://127.0.0.1:{published.rpartition(':')[2]}"
            self._wait_until_ready()
        except BaseException:
            self.remove()
            raise
        return self

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            try:
                if self.get("/health/readiness")[0] == 200:
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise DockerError(f"the container is not ready within {READY_TIMEOUT:g} s:\n{self.log()}")

    def get(self, path: str) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, body: dict[str, Any], key: str = MASTER_KEY) -> tuple[int, Any]:
        """The status and the parsed response."""
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        return self._ask(urllib.request.Request(self.url + path, json.dumps(body).encode(), headers))

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def python(self, code: str, *options: str) -> str:
        """The output of Python code inside the container. Raises DockerError if it fails."""
        return docker("exec", *options, self.id, "python", "-c", code).strip()

    def health(self, *options: str) -> None:
        """Runs the image's own health check once, as the engine does. Raises DockerError if it fails."""
        command = inspect_health(self.id)
        docker("exec", *options, self.id, *command)

    def log(self) -> str:
        done = subprocess.run([COMMAND, "logs", self.id], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def wait_for_log(self, text: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.log():
            assert time.monotonic() < deadline, f"no {text!r} within {timeout:g} s:\n{self.log()}"
            time.sleep(0.2)

    def stop(self, grace: int = 30) -> int:
        """Sends SIGTERM, and SIGKILL after `grace` seconds. Returns the exit code."""
        docker("stop", "-t", str(grace), self.id, timeout=grace + 30)
        return json.loads(docker("container", "inspect", self.id))[0]["State"]["ExitCode"]

    def remove(self) -> None:
        docker("rm", "--force", self.id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()


def inspect_health(container: str) -> list[str]:
    """The health check command of a container."""
    check = json.loads(docker("container", "inspect", container))[0]["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD", check
    return check[1:]
