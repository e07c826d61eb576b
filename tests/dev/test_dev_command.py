"""`litellm-router dev` as a process: its output works as printed, and it leaves nothing behind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dev.conftest import wait_for
from tests.ipv6 import needs_ipv6
from tests.processes import free_tcp_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


class Dev:
    """The command and its output so far."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self.port = free_tcp_port()
        self._out, self._err = directory / "out", directory / "err"
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "litellm_router", "dev", "--port", str(self.port), *arguments],
                cwd=ROOT,
                env={**clean, **environment},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_until_it_listens(self) -> str:
        """Waits for the line that says it listens."""

        def line() -> str | None:
            assert self.process.poll() is None, self.err
            return next((line for line in self.out.splitlines() if line.startswith("Listening on ")), None)

        return wait_for(line, "the line that says where it listens", START_SECONDS)

    def descendants(self) -> list[int]:
        return _descendants(self.process.pid)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def start(*arguments: str, **environment: str) -> Dev:
        started.append(Dev(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for dev in started:
        dev.kill()
        shutil.rmtree(ROOT / f".dev/{dev.port}", ignore_errors=True)  # missing if it never got that far


def run_curl(line: str, **environment: str) -> str:
    command = line.partition(" - try: ")[2]
    assert command.startswith("curl ")
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True, timeout=30, env={**os.environ, **environment}
    )
    return done.stdout


def test_listens_and_its_curl_works_as_printed(start: Callable[..., Dev]) -> None:
    dev = start("--runtime", "offline")
    line = dev.wait_until_it_listens()
    assert line.startswith(f"Listening on http://127.0.0.1:{dev.port} - try: curl ")
    assert dev.out.splitlines()[-1] == line
    assert "Bearer sk-1234" in line
    assert "Runtime: offline, because you asked for it with --runtime offline." in dev.err
    assert '"object":"chat.completion"' in run_curl(line)
    assert "proxy | " in dev.err
    assert (ROOT / f".dev/{dev.port}/dev.log").read_text().count("proxy | ") > 0


def test_a_custom_key_is_not_printed(start: Callable[..., Dev]) -> None:
    dev = start("--runtime", "offline", LITELLM_MASTER_KEY="sk-my-own-key")
    line = dev.wait_until_it_listens()
    assert "Bearer $LITELLM_MASTER_KEY" in line
    assert '"object":"chat.completion"' in run_curl(line, LITELLM_MASTER_KEY="sk-my-own-key")
    assert "invalid_api_key" in run_curl(line, LITELLM_MASTER_KEY="sk-1234")
    assert "sk-my-own-key" not in dev.out + dev.err


def test_another_config_is_served_and_the_built_catalog_is_unchanged(start: Callable[..., Dev], tmp_path: Path) -> None:
    built = ROOT / "worker" / "catalog.py"
    before = built.read_bytes() if built.exists() else None
    config = tmp_path / "other.yaml"
    config.write_text(
        "model_list:\n"
        "  - {model_name: later, litellm_params: {model: openai/x}}\n"
        "  - {model_name: fri\u00e9nd's, litellm_params: {model: openai/x, mock_response: hi}}\n"
    )
    dev = start("--config", str(config), "--runtime", "auto")
    line = dev.wait_until_it_listens()
    assert "Runtime: offline, because the image of `wrangler dev` holds litellm_config.yaml" in dev.err
    assert '"content":"hi"' in run_curl(line)
    assert (built.read_bytes() if built.exists() else None) == before
    refused = start("--config", str(config), "--runtime", "wrangler")
    assert refused.process.wait(30) == 1
    assert "wrangler dev builds the image, which holds litellm_config.yaml" in refused.err


def test_without_an_enabled_model_the_curl_requests_health(start: Callable[..., Dev], tmp_path: Path) -> None:
    config = tmp_path / "other.yaml"
    config.write_text("model_list: [{model_name: later, litellm_params: {model: openai/x}}]\n")
    line = start("--config", str(config), "--runtime", "offline").wait_until_it_listens()
    assert '"models":[]' in run_curl(line).replace(" ", "")
    assert line.endswith("/health  # no model is on: litellm-router check says what to set")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_everything(start: Callable[..., Dev], number: signal.Signals) -> None:
    dev = start("--runtime", "offline")
    run_curl(dev.wait_until_it_listens())
    family = dev.descendants()
    assert len(family) >= 2  # workerd and the proxy
    dev.process.send_signal(number)
    assert dev.process.wait(20) == 0
    assert [pid for pid in family if _runs(pid)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_kill_9_leaves_no_orphans(start: Callable[..., Dev]) -> None:
    dev = start("--runtime", "offline")
    run_curl(dev.wait_until_it_listens())
    family = dev.descendants()
    dev.process.kill()
    dev.process.wait(10)
    wait_for(lambda: not [pid for pid in family if _runs(pid)], "the end of its children", 30)


def test_a_dead_workerd_is_reported(start: Callable[..., Dev]) -> None:
    dev = start("--runtime", "offline")
    dev.wait_until_it_listens()
    (workerd,) = dev.descendants()
    os.kill(workerd, signal.SIGKILL)
    assert dev.process.wait(20) == 1
    assert "workerd ended by itself" in dev.err


def test_a_taken_port_is_reported(start: Callable[..., Dev]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        dev = start("--port", str(port))
        assert dev.process.wait(30) == 1
    wanted = f"Port {port} on 127.0.0.1 is taken; end what listens there or choose another with --port."
    assert dev.err == f"litellm-router dev: {wanted}\n"


def test_a_missing_config_is_reported(start: Callable[..., Dev]) -> None:
    dev = start("--config", "no-such.yaml")
    assert dev.process.wait(30) == 1
    assert dev.err == "litellm-router dev: There is no config no-such.yaml; name one with --config.\n"


@needs_ipv6
def test_listens_on_ipv6_if_requested(start: Callable[..., Dev]) -> None:
    dev = start("--runtime", "offline", "--host", "::1")
    line = dev.wait_until_it_listens()
    assert f"http://[::1]:{dev.port}/v1" in line
    assert '"object":"chat.completion"' in run_curl(line)


def test_the_default_key_is_refused_on_public_addresses(start: Callable[..., Dev]) -> None:
    dev = start("--host", "0.0.0.0")
    assert dev.process.wait(30) == 1
    assert "everybody knows the master key sk-1234; set LITELLM_MASTER_KEY" in dev.err


def test_wrangler_without_docker_is_refused(start: Callable[..., Dev], tmp_path: Path) -> None:
    dev = start("--runtime", "wrangler", WRANGLER_DOCKER_BIN=str(tmp_path / "none"))
    assert dev.process.wait(30) == 1
    assert re.search(r"wrangler dev needs Docker, and there is no Docker here; .*--runtime offline", dev.err)


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_an_invalid_port_is_refused(start: Callable[..., Dev], port: str) -> None:
    dev = start("--port", port)
    assert dev.process.wait(30) == 2
    assert f"'{port}' is not a port (1 to 65535)" in dev.err


def test_the_second_start_answers_soon(start: Callable[..., Dev]) -> None:
    """The Python snapshot exists after the first start. It takes about five seconds, and more on a busy machine."""
    start("--runtime", "offline").wait_until_it_listens()
    started = time.monotonic()
    assert '"object":"chat.completion"' in run_curl(start("--runtime", "offline").wait_until_it_listens())
    assert time.monotonic() - started < 60


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
