"""Small bodies that never come: they are cut off, and what they hold at the edge is given back."""

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
    """There is room for two such bodies at a time, and they have three seconds."""
    replaced = {
        "edge/body.py": with_constant("edge/body.py", "MOST_SECONDS = 30", f"MOST_SECONDS = {SECONDS}"),
        "edge/admission.py": with_constant(
            "edge/admission.py", "MOST_HELD_BYTES = 8 * 1024 * 1024", f"MOST_HELD_BYTES = {2 * LENGTH}"
        ),
    }
    edge = start_module_edge(image=image(events), replaced=replaced)
    assert edge.client.post(CHAT, json={"model": "echo"}).status_code == 200  # it is awake
    return edge


def with_constant(path: str, line: str, other: str) -> str:
    source = (WORKER / path).read_text()
    assert line in source
    return source.replace(line, other)


@pytest.fixture
def stalled(edge: Edge) -> Iterator[list[Connection]]:
    """Two strangers' bodies of which one byte has come."""
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


def test_a_strangers_body_that_stalls_is_408_and_gives_its_room_back(
    edge: Edge, stalled: list[Connection], events: Events
):
    def parks() -> int:
        """How many bodies the edge had no room for, for one more."""
        before = len(events.of("park"))
        assert edge.client.post(CHAT, json={"model": "echo"}).status_code == 200
        return len(events.of("park")) - before

    time.sleep(0.5)
    assert parks() == 1, "all the room is taken"
    for connection in stalled:
        assert_too_slow(connection)
    assert parks() == 0


def test_an_admin_call_that_stalls_is_408(edge: Edge):
    assert edge.master_key
    with begun(edge, "/key/generate", edge.master_key) as connection:
        assert_too_slow(connection)


def test_a_body_that_drips_is_408_all_the_same(edge: Edge):
    assert edge.master_key
    began = time.monotonic()
    with begun(edge, CHAT, edge.master_key) as connection:
        while time.monotonic() - began < SECONDS - 0.5:
            connection.send(b" ")
            time.sleep(0.1)
        assert_too_slow(connection)


def test_a_body_that_takes_its_time_is_served(edge: Edge):
    assert edge.master_key
    with begun(edge, CHAT, edge.master_key, b'{"model": "echo"') as connection:
        time.sleep(SECONDS / 3)
        connection.send(b" " * (LENGTH - 17) + b"}")
        assert connection.answer().status == 200
