"""deploy/compose/compose.yaml, unchanged, brought up and down: volumes persist.

PostgreSQL and Redis are processes on this machine, so the gateway uses the host network. No other image is needed.
"""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.processes import ROOT, free_tcp_port
from tests.redis_server import RedisServer

from .docker import BUILD_TIMEOUT, COMMAND, MASTER_KEY

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + 180)


class Compose:
    """A separate Compose project. `values` are the contents of its `.env`."""

    def __init__(self, image: str, folder: Path, values: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{free_tcp_port()}"
        shutil.copytree(ROOT / "deploy" / "compose", folder, dirs_exist_ok=True)
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        here = {"image": image, "network_mode": "host", "environment": {"PORT": self.url.rpartition(":")[2]}}
        text = yaml.safe_dump({"services": {"litellm": here}})
        # The host network has no ports to publish.
        (folder / "here.yaml").write_text(text + "    ports: !reset []\n")
        self._folder = folder
        self._command = [*_command(), "-p", f"compose-{uuid.uuid4().hex[:8]}", "-f", "compose.yaml", "-f", "here.yaml"]

    def run(self, *words: str) -> None:
        done = subprocess.run([*self._command, *words], cwd=self._folder, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr

    @contextmanager
    def up(self) -> Iterator[httpx.Client]:
        """A client with the master key, once the gateway serves. Its containers are removed afterwards."""
        self.run("up", "--detach", "--no-build")
        transport = httpx.HTTPTransport(retries=8)  # the delays double: a minute in all
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        with httpx.Client(base_url=self.url, transport=transport, timeout=60, headers=headers) as client:
            assert client.get("/health").json()["status"] == "healthy"
            yield client
        self.run("down")


def _command() -> list[str]:
    if subprocess.run([COMMAND, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [COMMAND, "compose"]
    return [str(Path(sys.executable).with_name("podman-compose"))]


@pytest.fixture(params=["alone", "with PostgreSQL and Redis"])
def compose(image: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Compose]:
    values = {"LITELLM_MASTER_KEY": MASTER_KEY, "OPENAI_API_KEY": "sk-none"}
    with RedisServer(tmp_path, free_tcp_port()) as redis:
        if request.param != "alone":
            values |= {"DATABASE_URL": request.getfixturevalue("new_database")(), "REDIS_URL": redis.url}
        project = Compose(image, tmp_path / "compose", values)
        yield project
        project.run("down", "--volumes")


def test_key_survives_the_containers(compose: Compose) -> None:
    with compose.up() as gateway:
        assert "gpt-4" in [model["id"] for model in gateway.get("/v1/models").json()["data"]]
        key = gateway.post("/key/generate", json={"key_alias": "kept", "max_budget": 1}).json()["key"]
    with compose.up() as gateway:
        found = gateway.get("/key/info", params={"key": key}).json()
        assert (found["info"]["key_alias"], found["info"]["max_budget"]) == ("kept", 1), json.dumps(found)
