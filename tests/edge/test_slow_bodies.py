"""Small bodies that never finish: they time out and release their memory at the edge."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.container.raw import Connection

from .conftest import Edge, StartEdge
from .stand_in import Events, image

CHAT = "/v1/chat/completions"
WORKER = Path(__file__).parents[2] / "worker"
SECONDS = 3
LENGTH = 50_000


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Events:
    return Events(tmp_path_factory.mktemp("stand-in") / "events")


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge, events: Events) -> Edge:
    """The edge has memory for two such bodies, and a timeout of three seconds."""
    replaced = {
        "edge/messages.py": with_constant(
            "edge/messages.py", "MOST_BODY_SECONDS = 30", f"MOST_BODY_SECONDS = {SECONDS}"
        ),
        "edge/admission.py": with_constant(
            "edge/admission.py", "MOST_HELD_BYTES = 8 * 1024 * 1024", f"MOST_HELD_BYTES = {2 * LENGTH}"
        ),
    }
    edge = start_module_edge(image=image(events), replaced=replaced)
    assert edge.client.post(CHAT, json={"model": "echo"}).status_code == 200  # wakes the container
    return edge


def with_constant(path: str, line: str, other: str) -> str:
    source = (WORKER / path).read_text()
    assert line in source
    return source.replace(line, other)


@pytest.fixture
def stalled(edge: Edge) -> Iterator[list[Connection]]:
    """Two unauthenticated uploads stalled after one byte."""
    with ExitStack() as stack:
        yield [stack.enter_context(begun(edge, CHAT, "sk-wrongwrong")) for _ in range(2)]


def begun(edge: Edge, path: str, key: str, first: bytes = b"{") -> Connection:
    connection = Connection(int(edge.url.rpartition(":")[2]), timeout=SECONDS + 20)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {LENGTH}\r\n\r\n"
    connection.send(head.encode() + first)
    return connection


def assert_too_slow(connection: Connection) -> None:
    answer = connection.answer()
    assert answer.status == 408
    error = answer.json["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "body_too_slow")
    assert answer.headers["x-request-id"]
    assert connection.closed()


def test_a_stalled_unauthenticated_body_gets_408_and_releases_its_memory(
    edge: Edge, stalled: list[Connection], events: Events
):
    def parks() -> int:
        """Sends one request and returns how many bodies the edge parked for it because its memory was full."""
        before = len(events.of("park"))
        assert edge.client.post(CHAT, json={"model": "echo"}).status_code == 200
        return len(events.of("park")) - before

    time.sleep(0.5)
    assert parks() == 1, "all the room is taken"
    for connection in stalled:
        assert_too_slow(connection)
    assert parks() == 0


def test_a_stalled_admin_call_gets_408(edge: Edge):
    assert edge.master_key
    with begun(edge, "/key/generate", edge.master_key) as connection:
        assert_too_slow(connection)


def test_a_trickling_body_gets_408(edge: Edge):
    assert edge.master_key
    began = time.monotonic()
    with begun(edge, CHAT, edge.master_key) as connection:
        while time.monotonic() - began < SECONDS - 0.5:
            connection.send(b" ")
            time.sleep(0.1)
        assert_too_slow(connection)


def test_a_slow_body_within_the_timeout_is_served(edge: Edge):
    assert edge.master_key
    with begun(edge, CHAT, edge.master_key, b'{"model": "echo"') as connection:
        time.sleep(SECONDS / 3)
        connection.send(b" " * (LENGTH - 17) + b"}")
        assert connection.answer().status == 200
