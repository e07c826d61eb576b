"""`litellm-router dev` as a process: its output works as printed, and it leaves nothing behind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from litellm_router import main

from dev.session import Session
from tests.dev.conftest import wait_for
from tests.ipv6 import HAS_IPV6
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


def end(dev: Dev, number: signal.Signals) -> None:
    """The signal ends it in order, with workerd and the proxy."""
    family = dev.descendants()
    assert len(family) >= 2
    dev.process.send_signal(number)
    assert dev.process.wait(20) == 0
    assert [pid for pid in family if _runs(pid)] == []


def test_listens_and_its_curl_works_as_printed_until_sigterm(start: Callable[..., Dev]) -> None:
    dev = start("--runtime", "offline")
    line = dev.wait_until_it_listens()
    assert line.startswith(f"Listening on http://127.0.0.1:{dev.port} - try: curl ")
    assert dev.out.splitlines()[-1] == line
    assert "Bearer sk-1234" in line
    assert "Runtime: offline, because you asked for it with --runtime offline." in dev.err
    assert '"object":"chat.completion"' in run_curl(line)
    assert "proxy | " in dev.err
    assert (ROOT / f".dev/{dev.port}/dev.log").read_text().count("proxy | ") > 0
    end(dev, signal.SIGTERM)


def test_another_config_is_served_until_ctrl_c_and_the_built_catalog_is_unchanged(
    start: Callable[..., Dev], tmp_path: Path
) -> None:
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
    end(dev, signal.SIGINT)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_a_custom_key_is_not_printed_and_kill_9_leaves_no_orphans(start: Callable[..., Dev]) -> None:
    dev = start("--runtime", "offline", LITELLM_MASTER_KEY="sk-my-own-key")
    line = dev.wait_until_it_listens()
    assert "Bearer $LITELLM_MASTER_KEY" in line
    assert '"object":"chat.completion"' in run_curl(line, LITELLM_MASTER_KEY="sk-my-own-key")
    assert "invalid_api_key" in run_curl(line, LITELLM_MASTER_KEY="sk-1234")
    assert "sk-my-own-key" not in dev.out + dev.err
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


def test_listens_on_another_address_until_sighup(start: Callable[..., Dev]) -> None:
    """IPv6, where the machine has it."""
    host = "::1" if HAS_IPV6 else "127.0.0.2"
    dev = start("--runtime", "offline", "--host", host)
    line = dev.wait_until_it_listens()
    assert f"http://{'[::1]' if HAS_IPV6 else host}:{dev.port}/v1" in line
    assert '"object":"chat.completion"' in run_curl(line)
    end(dev, signal.SIGHUP)


def test_without_an_enabled_model_the_curl_requests_health(tmp_path: Path) -> None:
    config = tmp_path / "other.yaml"
    config.write_text("model_list: [{model_name: later, litellm_params: {model: openai/x}}]\n")
    port = free_tcp_port()
    example = Session.prepare(str(config), "127.0.0.1", port).example()
    assert example == f"curl http://127.0.0.1:{port}/health  # no model is on: litellm-router check says what to set"


class Refused(Protocol):
    def __call__(self, *arguments: str) -> str: ...


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs the command in this process until it is refused, and returns what it says."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)

    def refused(*arguments: str) -> str:
        assert main(["dev", *arguments]) == 1
        said = capsys.readouterr()
        assert "Listening" not in said.out
        return said.err

    return refused


def test_a_taken_port_is_reported(refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = f"Port {port} on 127.0.0.1 is taken; end what listens there or choose another with --port."
        assert refused("--port", str(port)) == f"litellm-router dev: {wanted}\n"


def test_a_missing_config_is_reported(refused: Refused, start: Callable[..., Dev]) -> None:
    said = "litellm-router dev: There is no config no-such.yaml; name one with --config.\n"
    assert refused("--config", "no-such.yaml") == said
    dev = start("--config", "no-such.yaml")
    assert (dev.process.wait(30), dev.err) == (1, said)


def test_the_default_key_is_refused_on_public_addresses(refused: Refused) -> None:
    said = refused("--host", "0.0.0.0", "--port", str(free_tcp_port()))
    assert "everybody knows the master key sk-1234; set LITELLM_MASTER_KEY" in said


def test_wrangler_without_docker_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WRANGLER_DOCKER_BIN", str(tmp_path / "none"))
    said = refused("--runtime", "wrangler", "--port", str(free_tcp_port()))
    assert re.search(r"wrangler dev needs Docker, and there is no Docker here; .*--runtime offline", said)


def test_wrangler_with_another_config_is_refused(refused: Refused, tmp_path: Path) -> None:
    config = tmp_path / "other.yaml"
    config.write_text("model_list: [{model_name: friend, litellm_params: {model: openai/x, mock_response: hi}}]\n")
    said = refused("--config", str(config), "--runtime", "wrangler", "--port", str(free_tcp_port()))
    assert "wrangler dev builds the image, which holds litellm_config.yaml" in said


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_an_invalid_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dev", "--port", port])
    assert ended.value.code == 2
    assert f"'{port}' is not a port (1 to 65535)" in capsys.readouterr().err


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
