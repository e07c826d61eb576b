"""Bodies are streamed through the Worker in both directions and end when one side disconnects."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from .conftest import Edge, StartEdge
from .stand_in import CHUNKS, GAP, Events, image

CHAT = "/v1/chat/completions"
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Events:
    return Events(tmp_path_factory.mktemp("stand-in") / "events")


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge, events: Events) -> Edge:
    edge = start_module_edge(image=image(events))
    assert edge.client.get("/v1/models").status_code == 200  # wakes the container
    return edge


def test_each_chunk_arrives_before_the_next_one_is_sent(edge: Edge):
    with edge.client.stream("POST", CHAT, json={"model": "stepwise"}) as response:
        assert response.headers["content-type"] == "text/event-stream"
        lines = filter(None, response.iter_lines())
        for number in range(CHUNKS):
            assert next(lines) == f"data: {number}"
            assert edge.client.post(CHAT, json={"model": "step"}).status_code == 200
        assert list(lines) == []


def test_concurrent_streams_run_in_parallel(edge: Edge):
    def run(_: int) -> None:
        with edge.client.stream("POST", CHAT, json={"model": "stream"}) as response:
            assert len([line for line in response.iter_lines() if line]) == CHUNKS

    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(run, range(20)))
    # One after another they would take 20 times as long.
    assert time.monotonic() - began < CHUNKS * GAP * 10


def test_a_client_disconnect_ends_its_stream(edge: Edge, events: Events):
    request_id = "leaves-in-mid-stream"
    with edge.client.stream("POST", CHAT, json={"model": "endless"}, headers={"x-request-id": request_id}) as response:
        for seen, _ in enumerate(response.iter_lines()):
            if seen == 10:
                break
    events.wait("gone", lambda event: event["id"] == request_id)
    # No other stream ended with it.
    assert edge.client.post(CHAT, json={"model": "echo"}).status_code == 200


def test_the_first_chunk_of_a_stalled_stream_is_not_held_back(edge: Edge):
    with edge.client.stream("POST", CHAT, json={"model": "silent"}, timeout=5) as response:
        assert next(response.iter_lines()).startswith("data: ")


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_of_ten_megabytes(edge: Edge, chunked: bool):
    body = b"0123456789abcdef" * (10 * MEGABYTE // 16)
    parts = (body[at : at + 65536] for at in range(0, len(body), 65536))
    response = edge.client.post(CHAT, content=parts if chunked else body)
    assert response.status_code == 200
    assert response.json()["length"] == len(body)


def test_an_aborted_upload_does_not_affect_others(edge: Edge):
    def broken():
        yield b'{"model": "echo", "padding": "'
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        edge.client.post(CHAT, content=broken())
    assert edge.client.post(CHAT, json={"model": "echo"}).status_code == 200


def test_a_container_that_dies_mid_stream_ends_the_stream(edge: Edge):
    with edge.client.stream("POST", CHAT, json={"model": "endless"}) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        edge.kill_container()
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in lines:
                pass
    assert edge.client.post(CHAT, json={"model": "echo"}).status_code == 200
