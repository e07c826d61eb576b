"""The engine as a child process, with a stand-in for `litellm`."""

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from container import engine as engines
from container.config.providers import Address
from container.engine import MASTER_KEY_VARIABLE, Engine, EngineUnavailable
from container.http_client.client import IDLE_SECONDS
from tests.processes import ROOT

FAKE = Path(__file__).with_name("fake_litellm.py")
CONFIG = {
    "model_list": [
        {"model_name": "a", "litellm_params": {"model": "anthropic/x", "api_key": "k"}, "model_info": {"id": "dep"}}
    ]
}
CREDENTIALS = '{"type": "service_account", "private_key": "s3cret"}'
StartEngine = Callable[..., Engine]


@pytest.fixture
async def engine(load_config, tmp_path, monkeypatch) -> AsyncIterator[StartEngine]:
    """`engine(mode, **environment)`: an engine that has not started. It is stopped after the test."""
    monkeypatch.setattr(engines, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(engines, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(engines, "STOP_SECONDS", 0.3)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[Engine] = []

    def make(mode: str = "", *, start_timeout: float = 20.0, command: list[str] | None = None, **environment: str):
        own = {"PATH": os.environ["PATH"], "FAKE_LITELLM": mode, **environment}
        one = Engine(
            load_config(CONFIG), own, start_timeout=start_timeout, command=command or [sys.executable, str(FAKE)]
        )
        made.append(one)
        return one

    yield make
    for one in made:
        await one.stop()


async def about(address: Address) -> dict[str, Any]:
    """The arguments and environment with which the stand-in started."""

    def get() -> bytes:
        with urllib.request.urlopen(address.base.removesuffix("/v1") + "/", timeout=5) as response:
            return response.read()

    return json.loads(await asyncio.to_thread(get))


def exists(pid: int) -> bool:
    """Whether the process runs. A zombie does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def content(path: str) -> str:
    return Path(path).read_text()


async def until(condition: Callable[[], Any], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


async def test_engine_is_idle_until_needed(engine):
    one = engine()
    assert (one.state, one.pid) == ("idle", None)


async def test_requests_wait_for_the_start(engine):
    one = engine()
    waiting = [asyncio.ensure_future(one.ready(20)) for _ in range(5)]
    await asyncio.sleep(0)
    assert one.state == "starting"
    addresses = await asyncio.gather(*waiting)
    assert one.state == "running"
    assert len({a.base for a in addresses}) == 1
    assert (await about(addresses[0]))["pid"] == one.pid


async def test_concurrent_starts_start_one_process(engine):
    one = engine()
    one.start()
    first = await one.ready(20)
    pid = one.pid
    one.start()
    assert await one.ready(20) == first
    assert one.pid == pid


async def test_cancelled_waiter_does_not_affect_the_others(engine):
    one = engine()
    leaving, staying = asyncio.ensure_future(one.ready(20)), asyncio.ensure_future(one.ready(20))
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert (await staying).base.startswith("http://127.0.0.1:")


async def test_engine_listens_on_loopback_with_its_own_key(engine):
    one = engine(LITELLM_MASTER_KEY="sk-ours", OPENAI_API_KEY="sk-openai")
    address = await one.ready(20)
    found = await about(address)
    assert found["options"]["host"] == "127.0.0.1"
    assert f"http://127.0.0.1:{found['options']['port']}/v1" == address.base
    key = found["environment"][MASTER_KEY_VARIABLE]
    assert address.headers["authorization"] == f"Bearer {key}"
    assert len(key) > 40
    assert "LITELLM_MASTER_KEY" not in found["environment"]
    assert found["environment"]["OPENAI_API_KEY"] == "sk-openai"


async def test_the_engine_keeps_idle_connections_longer_than_the_client(engine):
    found = await about(await engine().ready(20))
    assert int(found["options"]["keepalive_timeout"]) > 2 * IDLE_SECONDS


async def test_configuration_is_readable_only_by_the_owner(engine):
    found = await about(await engine().ready(20))
    assert found["config_mode"] == 0o600
    assert found["directory_mode"] == 0o700
    assert found["directory"] == str(Path(found["options"]["config"]).parent)
    assert yaml.safe_load(found["config"])["model_list"][0]["model_name"] == "dep"


async def test_google_credentials_as_json_become_a_private_file(engine):
    found = await about(await engine(GOOGLE_APPLICATION_CREDENTIALS=f"  {CREDENTIALS}\n").ready(20))
    path = found["environment"]["GOOGLE_APPLICATION_CREDENTIALS"]
    assert json.loads(content(path)) == json.loads(CREDENTIALS)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_google_credentials_as_a_path_stay_a_path(engine):
    found = await about(await engine(GOOGLE_APPLICATION_CREDENTIALS="/run/key.json").ready(20))
    assert found["environment"]["GOOGLE_APPLICATION_CREDENTIALS"] == "/run/key.json"


async def test_invalid_google_credentials_are_reported(engine, monkeypatch):
    monkeypatch.setattr(engines, "LONGEST_PAUSE_SECONDS", 60.0)
    one = engine(GOOGLE_APPLICATION_CREDENTIALS='{"private_key": s3cret}')
    said = await _unavailable(one)
    assert "GOOGLE_APPLICATION_CREDENTIALS is neither a path nor valid JSON" in said
    assert "s3cret" not in said


# Crashes and restarts


async def _unavailable(one: Engine) -> str:
    """The error raised during the pause after a crash."""
    one.start()
    await until(lambda: one._pausing)
    with pytest.raises(EngineUnavailable) as caught:
        await one.ready(20)
    assert caught.value.retry_after >= 1
    return str(caught.value)


@pytest.mark.parametrize("mode", ["", "grandchild"])
async def test_killed_engine_restarts_at_a_new_address_with_a_new_key(engine, mode):
    one = engine(mode)
    first = await one.ready(20)
    pid, grandchild = one.pid, (await about(first))["grandchild"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: one.pid not in (pid, None))
    second = await one.ready(20)
    assert second.base != first.base
    assert second.headers["authorization"] != first.headers["authorization"]
    assert (await about(second))["pid"] == one.pid
    assert grandchild is None or not exists(grandchild)


async def test_address_of_a_dead_engine_is_never_returned(engine):
    one = engine()
    first = await one.ready(20)
    os.kill(one.pid, signal.SIGKILL)
    await until(lambda: one.state == "starting")
    assert (await one.ready(20)).base != first.base


async def test_failed_start_is_reported_with_the_retry_delay(engine):
    said = await _unavailable(engine("crash"))
    assert said.startswith("The translation engine ended with exit code 3; it starts again in ")


async def test_restart_delays_grow_up_to_a_limit(engine, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(engines, "LONGEST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(
        engines.log,
        "error",
        lambda event, **fields: pauses.append(fields["pause_seconds"]) if event == "engine_died" else None,
    )
    one = engine(command=["false"])
    one.start()
    await until(lambda: len(pauses) >= 5)
    assert pauses[:5] == [0.05, 0.1, 0.2, 0.2, 0.2]


async def test_engine_that_never_becomes_ready_is_replaced(engine, monkeypatch):
    monkeypatch.setattr(engines, "LONGEST_START_SECONDS", 1.0)
    one = engine("mute", start_timeout=0.2)
    one.start()
    pids: set[int] = set()
    deadline = time.monotonic() + 20
    while len(pids) < 2:
        assert time.monotonic() < deadline
        pids |= {one.pid} if one.pid else set()
        await asyncio.sleep(0.05)
    assert sum(exists(pid) for pid in pids) <= 1


async def test_missing_command_is_reported(engine):
    said = await _unavailable(engine(command=["/nonesuch/litellm"]))
    assert "could not be started (No such file or directory)" in said


async def test_another_listener_on_the_port_is_not_mistaken_for_the_engine(engine, monkeypatch):
    """A server that answers every request with 200 occupies the port before the engine starts."""
    asked: list[str] = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Discards log messages."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = iter([server.server_port])
        free = engines._free_port
        monkeypatch.setattr(engines, "_free_port", lambda: next(ports, 0) or free())
        one = engine("late")
        found = await about(await one.ready(20))
        server.shutdown()
    assert found["pid"] == one.pid
    assert found["options"]["port"] != str(server.server_port)
    assert "/health/readiness" in asked, "it was asked, and not believed"


async def test_start_that_is_too_slow_for_one_request_serves_the_next(engine):
    one = engine("late", start_timeout=0.2)
    with pytest.raises(EngineUnavailable, match="still starting"):
        await one.ready(20)
    await until(lambda: one.pid is not None)  # on a busy machine the process may not exist yet
    pid = one.pid
    await until(lambda: one.state == "running")
    assert (await about(await one.ready(20)))["pid"] == pid


async def test_request_waits_at_most_the_start_timeout(engine):
    one = engine("mute", start_timeout=0.2)
    began = time.monotonic()
    with pytest.raises(EngineUnavailable) as caught:
        await one.ready(60)
    assert time.monotonic() - began < 10
    assert str(caught.value) == "The translation engine is still starting."
    assert caught.value.retry_after > 0


async def test_request_waits_at_most_its_own_timeout(engine):
    one = engine("mute")
    began = time.monotonic()
    with pytest.raises(EngineUnavailable):
        await one.ready(0.2)
    assert 0.1 < time.monotonic() - began < 10


async def test_output_without_line_breaks_does_not_block_the_engine(engine):
    assert (await engine("chatty").ready(20)).base


# Shutdown


@pytest.mark.parametrize("mode", ["", "stubborn", "grandchild"])
async def test_stop_ends_the_engine_and_its_children(engine, mode, tmp_path):
    one = engine(mode)
    found = await about(await one.ready(20))
    await one.stop()
    assert (one.state, one.pid) == ("idle", None)
    await until(lambda: not exists(found["pid"]))
    if found["grandchild"]:
        await until(lambda: not exists(found["grandchild"]))
    assert found["directory"] not in map(str, tmp_path.iterdir())


async def test_stop_during_the_start_leaves_no_process(engine):
    one = engine("mute")
    one.start()
    await until(lambda: one.pid)
    pid = one.pid
    await one.stop()
    assert not exists(pid)


async def test_stop_without_a_start_does_nothing(engine):
    await engine().stop()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends the child of a parent that was killed")
def test_engine_ends_when_the_proxy_is_killed(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    program = dedent(f"""
        import asyncio, os, pathlib, sys
        from container.config.load import load
        from container.engine import Engine

        async def main():
            engine = Engine(load(pathlib.Path({str(config)!r}), {{}}), dict(os.environ), start_timeout=20,
                            command=[sys.executable, {str(FAKE)!r}])
            await engine.ready(20)
            print(engine.pid, flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """)
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    try:
        child = int(parent.stdout.readline())
        assert exists(child)
        parent.kill()
        asyncio.run(until(lambda: not exists(child)))
    finally:
        parent.kill()
        parent.wait(10)
        parent.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
