"""The probe Worker in workerd: each feature that the offline edge must support, tested once."""

import concurrent.futures
import os
import signal
import time

import httpx
import pytest

from dev.process_engine.containers import Image
from tests.dev.conftest import APP, Probe, wait_for
from tests.edge.conftest import V8_FLAGS


@pytest.fixture
def image(probe: Probe):
    """Sets the image for one test and removes all containers afterwards."""
    yield lambda image: probe.edge.set_image(image, "Runner")
    probe.edge.set_image(APP, "Runner")


@pytest.fixture
def own(request: pytest.FixtureRequest) -> str:
    """The name of a Durable Object for this test only."""
    return request.node.name


def container_pid(probe: Probe) -> int:
    (container,) = (c for c in probe.edge.containers("running") if c.pid)
    assert container.pid is not None
    return container.pid


@pytest.fixture(autouse=True)
def no_containers_left(probe: Probe, own: str):
    yield
    if probe.edge.containers("running"):
        probe.get("/container/destroy", id=own)
    wait_for(lambda: not probe.edge.containers("running"), "the container's end")


def test_answers_requests(probe: Probe) -> None:
    assert probe.get("/hello", name="Ann").text == "Hello, Ann!"


def test_has_the_expected_runtime(probe: Probe) -> None:
    info = probe.get("/info").json()
    assert info["platform"] == "emscripten"
    assert info["pyodide"] == "314.0.6"
    assert info["greeting"] == "hi, // no comment"
    assert info["limits"] == {"a": [1, 2]}


def test_random_numbers_differ_between_starts(probe: Probe) -> None:
    first = probe.get("/info").json()["random"]
    probe.edge.restart_worker("/hello")
    assert probe.get("/info").json()["random"] != first


def test_passes_bodies_and_headers(probe: Probe) -> None:
    answer = probe.client.post("/echo", json={"a": [1, "ü", None]}, headers={"x-in": "1, 2"})
    assert (answer.status_code, answer.headers["x-echo"]) == (201, "1, 2")
    assert answer.json() == {"method": "POST", "body": {"a": [1, "ü", None]}}


def test_calls_a_durable_object(probe: Probe, own: str) -> None:
    answer = probe.get("/box/add", id=own, name="x").json()
    assert answer == {"name": "x", "value": 1, "extra": {"a": [1, 2]}, "list": [1, None, "x"]}
    assert probe.get("/box/add", id=own, name="x", amount="4").json()["value"] == 5
    assert probe.get("/box/add", id=own + "2", name="x").json()["value"] == 1
    assert probe.get("/box/shout", id=own, text="abc").text == "ABC"


def test_fetches_from_a_durable_object(probe: Probe, own: str) -> None:
    probe.get("/box/add", id=own, name="y")
    answer = probe.get("/box/rows", id=own).json()
    assert answer["rows"] == [["y", 1]]
    assert "/box/rows" in answer["url"]


def test_a_durable_objects_error_reaches_its_caller(probe: Probe, own: str) -> None:
    answer = probe.get("/box/fail", id=own)
    assert answer.status_code == 500
    assert "ValueError" in answer.text
    assert "on purpose" in answer.text


def test_alarms_fire(probe: Probe, own: str) -> None:
    probe.get("/box/alarm", id=own)
    wait_for(lambda: probe.get("/box/rows", id=own).json()["rows"] == [["alarm", 1]], "the alarm")


def test_storage_survives_workerd(probe: Probe, own: str) -> None:
    probe.get("/box/add", id=own, name="z")
    probe.edge.restart_worker("/hello")
    assert probe.get("/box/add", id=own, name="z").json()["value"] == 2


def test_wait_until_continues_after_the_response(probe: Probe) -> None:
    assert "word" not in probe.get("/later", word="word").json()
    wait_for(lambda: "word" in probe.get("/said").json(), "what was promised for later")


def test_requests_wait_concurrently(probe: Probe) -> None:
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: probe.get("/sleep", seconds="1").text, range(20)))
    assert answers == ["slept"] * 20
    assert time.monotonic() - started < 15  # one after another they would take twenty


def test_an_exception_is_a_500_and_is_logged(probe: Probe) -> None:
    assert probe.get("/fail").status_code == 500
    probe.wait_for_line("RuntimeError: a bug of the Worker")


def test_prints_to_the_log(probe: Probe) -> None:
    probe.get("/print")
    assert probe.wait_for_line("printed by Python").startswith("worker | ")


def test_starts_its_container(probe: Probe, own: str) -> None:
    answer = probe.get("/container/see", id=own).json()
    assert answer["pid"] == container_pid(probe)
    assert probe.wait_for_line("listening").startswith("proxy | ")
    assert probe.get("/container/running", id=own).json() is True


def test_the_container_gets_its_own_environment_and_little_else(
    probe: Probe, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-developer")
    environment = probe.get("/container/see", id=own).json()["environment"]
    assert environment["GREETING"] == "hi, // no comment"
    assert environment["PATH"] == os.environ["PATH"]
    assert "OPENAI_API_KEY" not in environment
    allowed = {"GREETING", "PORT", "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "VIRTUAL_ENV"}
    allowed |= {"SSL_CERT_FILE", "SSL_CERT_DIR"}
    assert {name for name in environment if not name.startswith("CLOUDFLARE_")} <= allowed


def test_each_chunk_of_a_stream_arrives_before_the_next_one_is_sent(probe: Probe, own: str) -> None:
    with probe.client.stream("GET", "/container/stream", params={"id": own}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = filter(None, answer.iter_lines())
        for number in range(4):
            assert next(lines) == f"data: {number}"
            probe.get("/container/step", id=own)
        assert list(lines) == []


def test_uploads_are_streamed(probe: Probe, own: str) -> None:
    # the probe retries until the container listens, but a body can be sent only once
    probe.get("/container/see", id=own)
    answer = probe.client.post(
        "/container/upload", params={"id": own}, content=(b"x" * 65536 for _ in range(64)), timeout=30
    )
    assert answer.json() == {"size": 64 * 65536}


def test_the_container_notices_a_client_disconnect(probe: Probe, own: str) -> None:
    with probe.client.stream("GET", "/container/stream?long", params={"id": own, "long": "1"}) as answer:
        next(answer.iter_lines())
    assert probe.wait_for_line("the client has left")


def test_the_container_restarts_after_kill_9(probe: Probe, own: str) -> None:
    first = probe.get("/container/see", id=own).json()["pid"]
    os.kill(first, signal.SIGKILL)
    assert "exit code 137" in probe.get("/container/ended", id=own).json()
    second = probe.get("/container/see", id=own).json()["pid"]
    assert second == container_pid(probe) != first


def test_the_container_may_exit_by_itself(probe: Probe, own: str) -> None:
    probe.get("/container/see", id=own)
    probe.get("/container/exit", id=own)
    assert "exit code 3" in probe.get("/container/ended", id=own).json()


def test_signals_reach_the_container(probe: Probe, own: str) -> None:
    probe.get("/container/see", id=own)
    probe.get("/container/signal", id=own, number=str(int(signal.SIGTERM)))
    assert "exit code 7" in probe.get("/container/ended", id=own).json()


def test_destroy_ends_the_container(probe: Probe, own: str) -> None:
    pid = probe.get("/container/see", id=own).json()["pid"]
    probe.get("/container/destroy", id=own)
    assert probe.get("/container/running", id=own).json() is False
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), f"the end of process {pid}")


def test_a_container_that_starts_slowly(probe: Probe, own: str, image) -> None:
    image(Image(APP.command, port=8080, start_delay=0.7))
    assert probe.get("/container/see", id=own).status_code == 200


def test_a_missing_image(probe: Probe, own: str, image) -> None:
    image(None)
    answer = probe.get("/container/see", id=own)
    assert answer.status_code == 503
    assert "failed to start" in answer.text


def test_a_container_that_exits_at_once(probe: Probe, own: str, image) -> None:
    image(Image(("sh", "-c", "echo going; exit 5"), port=8080))
    answer = probe.get("/container/see", id=own)
    assert (answer.status_code, "exit code 5" in answer.text) == (503, True), answer.text
    assert probe.wait_for_line("going") == "proxy | going"


def test_a_container_whose_command_is_missing(probe: Probe, own: str, image) -> None:
    image(Image(("no-such-command-here",), port=8080))
    answer = probe.get("/container/see", id=own)
    assert (answer.status_code, "exit code 127" in answer.text) == (503, True), answer.text


def test_a_container_that_never_listens(probe: Probe, own: str, image) -> None:
    image(Image(("sleep", "60"), port=8080))
    answer = probe.get("/container/see", id=own)
    assert answer.status_code == 503
    assert "not listening" in answer.text


def test_containers_end_with_workerd(probe: Probe, own: str) -> None:
    pid = probe.get("/container/see", id=own).json()["pid"]
    probe.edge.restart_worker("/hello")
    answer = probe.get("/container/see", id=own)
    assert answer.status_code == 200
    assert answer.json()["pid"] != pid
    assert not os.path.exists(f"/proc/{pid}")


def test_containers_are_found_again_after_kill_9_of_workerd(probe: Probe, own: str) -> None:
    pid = probe.get("/container/see", id=own).json()["pid"]
    probe.edge.kill_worker()
    probe.edge.start_worker("/hello")
    assert probe.get("/container/running", id=own).json() is True
    assert probe.get("/container/see", id=own).json()["pid"] == pid


def test_a_missing_engine_is_an_error_that_the_caller_can_catch(probe: Probe, tmp_path) -> None:
    from dev.edge import OfflineEdge

    lines: list[str] = []
    edge = OfflineEdge(tmp_path, {}, None, wrangler_path=probe.edge.wrangler_path, log=lines.append, v8_flags=V8_FLAGS)
    edge.start("/hello")
    try:
        answer = httpx.get(f"{edge.url}/container/see", timeout=20)
        assert (answer.status_code, answer.text[:6]) == (503, "caught")
    finally:
        edge.stop()
