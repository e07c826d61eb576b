"""The container's lifecycle as clients see it: started once, replaced when it dies, 503 when none is available."""

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from .conftest import MASTER_KEY, Edge, SharedEdge, StartEdge, wait_for
from .stand_in import Events, image

CHAT = "/v1/chat/completions"
ECHO = {"model": "echo"}
BEARER = {"authorization": f"Bearer {MASTER_KEY}"}
START_TIMEOUT = 3
WORKER = Path(__file__).parents[2] / "worker"
LIFECYCLE = "edge/container_life.py"
PAUSE = 5.5  # the pause after a failed start, plus a margin


@pytest.fixture
def events(tmp_path: Path) -> Events:
    return Events(tmp_path / "events")


def post(edge: Edge, body: dict | None = None, timeout: float = 30) -> httpx.Response:
    return httpx.post(edge.url + CHAT, json=body or ECHO, headers=BEARER, timeout=timeout)


def serving(shared_edge: SharedEdge, events: Events) -> Edge:
    """An edge with a container that has served a request."""
    edge = shared_edge(image=image(events))
    assert post(edge).status_code == 200
    edge.new_log()
    return edge


def assert_unavailable(response: httpx.Response) -> None:
    """Checks for the API's 503 with a Retry-After."""
    assert response.status_code == 503
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("service_unavailable", "service_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-request-id"]
    assert "Traceback" not in response.text


def container_state(edge: Edge) -> str:
    return httpx.get(edge.url + "/health").json()["container"]


def test_fifty_first_requests_start_one_container(shared_edge: SharedEdge, events: Events):
    edge = shared_edge(image=image(events, "slow"))
    assert container_state(edge) == "sleeping"
    with ThreadPoolExecutor(50) as pool:
        responses = list(pool.map(lambda _: post(edge), range(50)))
    assert [response.status_code for response in responses] == [200] * 50
    assert len(events.of("start")) == 1
    assert len({response.json()["headers"]["x-internal-token"] for response in responses}) == 1
    assert container_state(edge) == "running"


def test_a_client_that_disconnects_during_the_start_does_not_affect_the_others(shared_edge: SharedEdge, events: Events):
    edge = shared_edge(image=image(events, "slow"))
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(post, edge, timeout=1)
        events.wait("start", lambda _: True)
        others = [pool.submit(post, edge) for _ in range(4)]
        with pytest.raises(httpx.ReadTimeout):
            first.result()
        assert [other.result().status_code for other in others] == [200] * 4
    assert len(events.of("start")) == 1


def test_a_killed_container_is_replaced(shared_edge: SharedEdge, events: Events):
    edge = serving(shared_edge, events)
    for _ in range(3):
        edge.kill_container()
        response = post(edge)  # served by a new container, or told to retry
        if response.status_code != 200:
            assert_unavailable(response)
        assert post(edge).status_code == 200
    assert len(events.of("start")) == 4
    assert len({start["environment"]["INTERNAL_TOKEN"] for start in events.of("start")}) == 4


def test_a_request_whose_container_dies_is_not_sent_again(shared_edge: SharedEdge, events: Events):
    edge = serving(shared_edge, events)
    assert_unavailable(post(edge, {"model": "die"}))
    assert len(events.of("request")) == 2
    assert post(edge).status_code == 200


def close(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_an_upload(edge: Edge) -> socket.socket:
    """A client that has sent a tenth of its 30 MB."""
    port = int(edge.url.rpartition(":")[2])
    client = socket.create_connection(("127.0.0.1", port), 20)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {MASTER_KEY}\r\nContent-Length: 30000000\r\n\r\n"
    client.sendall(head.encode() + b" " * 3_000_000)
    return client


@pytest.mark.parametrize("leave", [close, reset])
def test_a_client_that_aborts_an_upload_does_not_mark_the_container_as_lost(
    shared_edge: SharedEdge, events: Events, leave: Callable[[socket.socket], None]
):
    edge = serving(shared_edge, events)
    client = half_an_upload(edge)
    events.wait("park", lambda _: True)
    leave(client)
    assert '"info"' in edge.wait_for_log("client_left")
    assert post(edge).status_code == 200
    for said in ("container_lost", "container_found_running"):
        assert said not in edge.log(), "there was nothing to be doubted"
    assert len(events.of("start")) == 1


def test_a_container_that_dies_during_an_upload_is_lost(shared_edge: SharedEdge, events: Events):
    edge = serving(shared_edge, events)
    with contextlib.closing(half_an_upload(edge)):
        events.wait("park", lambda _: True)
        edge.kill_container()
        edge.wait_for_log("container_lost")
    assert post(edge).status_code == 200
    assert "client_left" not in edge.log()
    assert len(events.of("start")) == 2


@pytest.mark.parametrize("how", ["it exits", "kill -9"])
def test_a_stream_ends_with_its_container_and_the_next_one_is_served(shared_edge: SharedEdge, events: Events, how: str):
    edge = shared_edge(image=image(events))
    body = {"model": "break" if how == "it exits" else "endless"}
    with httpx.stream("POST", edge.url + CHAT, json=body, headers=BEARER, timeout=30) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        if how == "kill -9":
            edge.kill_container()
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    answer = post(edge)
    if answer.status_code != 200:
        assert_unavailable(answer)
    assert post(edge).status_code == 200
    assert len(events.of("start")) == 2
    assert [asked["id"] for asked in events.of("request")][1:].count(events.of("request")[0]["id"]) == 0


def test_a_container_that_hangs_is_replaced(start_edge: StartEdge, events: Events):
    """SIGSTOP: the socket still accepts connections, but nothing answers. The timeouts are shortened."""
    edge = start_edge(
        image=image(events), replaced=shorter({"edge/objects/own_container.py": "_SLACK", LIFECYCLE: "SILENCE_LIMIT"})
    )
    assert post(edge).status_code == 200
    pid = edge.container_pid
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert_unavailable(post(edge))
    assert time.monotonic() - began < 20
    edge.wait_for_log("container_replaced")
    wait_for(lambda: not any(found.pid == pid for found in edge.containers()), "the end of the one that hung")
    assert post(edge).status_code == 200
    assert len(events.of("start")) == 2


def shorter(constants: dict[str, str]) -> dict[str, str]:
    """The Worker's sources with these ten-second constants set to one second."""
    found = {}
    for path, name in constants.items():
        source = (WORKER / path).read_text()
        found[path] = source.replace(f"{name} = 10.0", f"{name} = 1.0")
        assert found[path] != source
    return found


def test_without_an_engine_requests_get_503(edge_without_engine: Edge):
    health = httpx.get(edge_without_engine.url + "/health")
    assert health.status_code == 503
    assert health.json()["status"] == "unhealthy"
    assert health.json()["container"] == "unavailable"
    assert httpx.get(edge_without_engine.url + "/health/liveliness").status_code == 200
    for _ in range(3):
        assert_unavailable(post(edge_without_engine, timeout=10))
    assert_unavailable(httpx.get(edge_without_engine.url + "/v1/models", headers=BEARER))
    edge_without_engine.wait_for_log("instance_unavailable")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("missing", "no such image"),
        ("exit", "exit code 3"),
        ("deaf", "did not get ready within 3 seconds"),
        ("unready", "readiness answered 503"),
    ],
)
def test_a_failed_start_is_retried_after_a_pause(shared_edge: SharedEdge, events: Events, mode: str, reason: str):
    edge = shared_edge(image=image(events, mode), vars={"CONTAINER_START_TIMEOUT": f"{START_TIMEOUT}s"})
    if mode == "missing":
        edge.set_image(None)
    began = time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        for response in pool.map(lambda _: post(edge), range(5)):
            assert_unavailable(response)
    assert time.monotonic() - began < 4 * START_TIMEOUT, "they wait for one start, not for one each"
    assert reason in edge.wait_for_log("container_not_serving")
    assert container_state(edge) == "unavailable"
    # During the pause requests are refused at once, without another start.
    starts = len(events.of("start"))
    assert starts == (0 if mode == "missing" else 1)
    assert_unavailable(post(edge))
    assert len(events.of("start")) == starts
    edge.set_image(image(events))
    time.sleep(PAUSE)
    assert container_state(edge) == "sleeping"
    assert post(edge).status_code == 200
    assert container_state(edge) == "running"


def test_a_restarted_object_finds_its_container(shared_edge: SharedEdge, events: Events):
    """workerd is killed, so it cannot stop its container. The next workerd must find it and start none."""
    edge = serving(shared_edge, events)
    workerd = edge.offline.workerd
    assert workerd is not None
    assert workerd.pid is not None
    os.kill(workerd.pid, signal.SIGKILL)
    edge.restart_worker()
    assert container_state(edge) == "running"
    assert post(edge).status_code == 200
    assert len(events.of("start")) == 1
    edge.wait_for_log("container_found_running")


def test_a_restarted_worker_starts_a_new_container(shared_edge: SharedEdge, events: Events):
    edge = serving(shared_edge, events)
    edge.restart_worker()  # which stops its containers
    assert container_state(edge) == "sleeping"
    assert post(edge).status_code == 200
    assert len(events.of("start")) == 2


def test_an_idle_object_is_evicted_and_its_container_sleeps(start_edge: StartEdge, events: Events):
    """workerd evicts an object after about ten idle seconds. A container's timeout starts with the container, and
    starts again when the next object finds it.
    """
    edge = start_edge(image=image(events), vars={"CONTAINER_SLEEP_AFTER": "26s"})
    assert post(edge).status_code == 200
    time.sleep(20)  # ten after the last report was fetched
    assert post(edge).status_code == 200  # a new object, the same container
    edge.wait_for_log("container_found_running")
    assert len(events.of("start")) == 1
    wait_for(lambda: not edge.containers(), "the end of the idle container", timeout=60)
    assert container_state(edge) == "sleeping"
    assert post(edge).status_code == 200
    assert len(events.of("start")) == 2


@pytest.mark.parametrize("model", ["stream", "endless"], ids=["a whole stream", "one that its client leaves"])
def test_without_requests_the_container_is_not_polled_and_no_alarm_fires(
    start_edge: StartEdge, events: Events, model: str
):
    """So nothing keeps the object in memory or the container awake. The stand-in never reports, so only the alarm for
    the reservation's expiry remains, two minutes later.
    """
    edge = start_edge(image=image(events))
    with httpx.stream("POST", edge.url + CHAT, json={"model": model}, headers=BEARER, timeout=30) as answer:
        lines = answer.iter_lines()
        assert next(lines)
        assert [seconds < 6 for seconds in edge.alarms()] == [True]
        list(lines) if model == "stream" else None
    wait_for(lambda: all(seconds > 30 for seconds in edge.alarms()), "the end of the alarm", timeout=20)
    polls = len(events.of("poll"))
    assert polls >= 1
    time.sleep(3)  # longer than a poll is held
    assert len(events.of("poll")) == polls
    assert all(seconds > 30 for seconds in edge.alarms())


def test_each_key_has_its_instance(shared_edge: SharedEdge, events: Events):
    edge = shared_edge(image=image(events), vars={"CONTAINER_INSTANCES": "2"})
    keys = [edge.client.post("/key/generate", json={}).json()["key"] for _ in range(8)]
    with httpx.Client(base_url=edge.url, timeout=30) as client:
        for key in keys * 2:
            assert client.post(CHAT, json=ECHO, headers={"authorization": f"Bearer {key}"}).status_code == 200
    served = [asked["pid"] for asked in events.of("request")]
    assert served[:8] == served[8:], "the same key, the same instance"
    assert len(set(served)) == 2, "eight keys fell on both of them (one seed of 128 would not)"


def test_a_request_already_sent_is_not_sent_to_another_instance(shared_edge: SharedEdge, events: Events):
    edge = shared_edge(image=image(events), vars={"CONTAINER_INSTANCES": "2"})
    assert_unavailable(post(edge, {"model": "die"}))
    assert len(events.of("request")) == len(events.of("start")) == 1


def test_keys_are_spread_over_several_instances(start_edge: StartEdge, events: Events):
    edge = start_edge(image=image(events), vars={"CONTAINER_INSTANCES": "3", "PUBLIC_MODELS": "true"})
    assert [post(edge).status_code for _ in range(5)] == [200] * 5
    assert len(events.of("start")) == 1  # one key, one instance
    assert container_state(edge) == "running"


def test_the_next_instance_takes_over(start_edge: StartEdge, events: Events, tmp_path: Path):
    """The first start fails, whichever instance it is for. Another instance serves the same request."""
    once = Events(tmp_path / "once")
    edge = start_edge(image=image(once, "exit"), vars={"CONTAINER_INSTANCES": "2"})
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(post, edge)
        once.wait("start", lambda _: True)
        edge.set_image(image(events))
        assert request.result().status_code == 200
    assert (len(once.of("start")), len(events.of("start"))) == (1, 1)
    edge.wait_for_log("instance_unavailable")
    assert container_state(edge) == "running"
