"""Uploads that hold the memory budget: stalled and trickling ones are cut off when others wait."""

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from dev.process_engine.containers import Image
from tests.container.raw import Connection
from tests.edge.conftest import Edge, StartEdge
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment

CHAT = "/v1/chat/completions"
MEGABYTE = 1024 * 1024
ROOM_MB = 32
# The proxy with shorter limits: 2 s of silence; while others wait, 64 KB/s after the first second.
HASTY = """
import sys
from container.cli.main import main
from container.server.context import Pace
from container.handlers import behind_the_edge
behind_the_edge.PATIENT = Pace(silence=2.0, grace=60.0, rate=512)
behind_the_edge.HURRIED = Pace(silence=2.0, grace=1.0, rate=65536)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge, providers: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Edge:
    """The memory budget holds one upload of the largest size."""
    path = tmp_path_factory.mktemp("hasty") / "litellm_config.yaml"
    path.write_text(yaml.safe_dump({"model_list": [deployment(providers, "gpt")]}))
    command = (sys.executable, "-c", HASTY, "serve", "--config", str(path), "--host", "127.0.0.1", "--port", "{port}")
    started = start_module_edge(path, image=Image(command), vars={"UPLOAD_MEMORY_MB": str(ROOM_MB)})
    assert started.client.post(CHAT, json=chat()).status_code == 200  # wakes the container
    return started


@pytest.fixture
def holder(edge: Edge) -> Iterator[Connection]:
    """An upload that holds the whole budget and has sent its first 100 KB."""
    port = int(edge.url.rpartition(":")[2])
    with Connection(port, timeout=20) as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {edge.master_key}\r\n"
        connection.send(f"{head}Content-Length: {ROOM_MB * MEGABYTE}\r\n\r\n".encode() + b"{" + b" " * 100_000)
        yield connection


def upload(edge: Edge) -> httpx.Response:
    body: Any = chat(content="x" * MEGABYTE)
    return httpx.post(edge.url + CHAT, content=json.dumps(body), headers=edge.client.headers, timeout=30)


def test_a_stalled_upload_releases_its_memory(edge: Edge, holder: Connection):
    assert edge.client.post(CHAT, json=chat()).status_code == 200, "what is quoted at the edge needs no room"
    assert upload(edge).status_code == 200
    answer = holder.answer()
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (408, "body_too_slow")
    assert upload(edge).status_code == 200


def test_a_trickling_upload_continues_until_others_wait(edge: Edge, holder: Connection):
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.1):
            try:
                holder.send(b" " * 1024)
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert not holder.closed(2), "nobody needs its room"
        assert upload(edge).status_code == 200
        assert holder.answer().status == 408
    finally:
        over.set()
        dripping.join()
    assert edge.client.get("/global/spend").json()["running_requests"] == 0
