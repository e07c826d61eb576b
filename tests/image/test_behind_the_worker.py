"""The whole edge with only Cloudflare simulated: the Worker in workerd, and its container from the real image."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dev.edge import OfflineEdge
from dev.process_engine.engine import SIDECAR_IMAGE
from tests.image.docker import BUILD_TIMEOUT, docker

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + 300)
MASTER_KEY = "sk-master-of-the-tests"
CHAT = {"model": "mock", "messages": [{"role": "user", "content": "hello"}]}
LEDGER_CLASS = "Ledger"  # of the object that has the first container
RECOVERY_TIMEOUT = 60.0  # seconds; an engine takes a while to remove killed containers
# workerd starts it beside every container. wrangler pulls Cloudflare's image unless this names another one.
SIDECAR_VARIABLE = "MINIFLARE_CONTAINER_EGRESS_IMAGE"


@pytest.fixture
def edge(image: str, tmp_path: Path) -> Iterator[OfflineEdge]:
    socket = Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
    sidecar = os.environ.get(SIDECAR_VARIABLE)
    if not socket.is_socket() or not sidecar:
        pytest.skip(f"workerd needs a Docker engine on a Unix socket, and {SIDECAR_VARIABLE}")
    docker("tag", sidecar, SIDECAR_IMAGE)
    one = OfflineEdge(tmp_path, {"LITELLM_MASTER_KEY": MASTER_KEY}, images=None, engine_socket=socket)
    for class_name in one.config.containers:
        docker("tag", image, one.config.image(class_name))
    assert one.start() == 200
    try:
        yield one
    finally:
        one.stop()


def proxy_containers() -> list[str]:
    """The names of running containers that workerd started for the first instance, without sidecars."""
    names = docker("ps", "--format", "{{.Names}}").split()
    return [name for name in names if f"-{LEDGER_CLASS}-" in name and not name.endswith("-proxy")]


def test_worker_starts_and_restarts_the_image(edge: OfflineEdge) -> None:
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    with httpx.Client(base_url=edge.url, headers=headers, timeout=60) as client:
        assert client.get("/health").json()["container"] == "sleeping"
        answer = client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        streamed = client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert streamed.text.rstrip().endswith("data: [DONE]")
        assert client.get("/health").json()["container"] == "running"

        (container,) = proxy_containers()
        environment = docker("container", "inspect", "--format", "{{json .Config.Env}}", container)
        assert "INTERNAL_TOKEN=" in environment
        assert MASTER_KEY not in environment

        started = docker("container", "inspect", "--format", "{{.State.StartedAt}}", container)
        docker("kill", container)
        statuses = [client.post("/v1/chat/completions", json=CHAT).status_code]
        deadline = time.monotonic() + RECOVERY_TIMEOUT
        while statuses[-1] != 200 and time.monotonic() < deadline:
            time.sleep(0.5)
            statuses.append(client.post("/v1/chat/completions", json=CHAT).status_code)
        assert set(statuses) <= {200, 503}, statuses
        assert statuses[-1] == 200, statuses
        (again,) = proxy_containers()
        assert docker("container", "inspect", "--format", "{{.State.StartedAt}}", again) != started
