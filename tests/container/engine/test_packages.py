"""The engine's packages, fetched by a checkout's dev/setup when a model first needs them; a script stands in for it."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from container import engine as engines
from container.config.load import Config
from container.engine import Engine, EngineUnavailable, PackagesMissing
from container.observability import log
from tests.container.engine.test_supervisor import exists

FETCHED = 'echo "Installing the engine\'s packages: done in 9 s" >&2; echo "engine 0123" >.venv/.litellm-router-setup'
OFFLINE = """
echo 'setup: uv pip install could not reach its package index; connect to the network and try again. It said:' >&2
echo 'error: dns error' >&2
exit 1
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`checkout(script)`: a checkout that was set up for `just dev`, with this dev/setup."""

    def checkout(script: str, level: str = "gateway") -> None:
        setup, stamp = tmp_path / "dev" / "setup", tmp_path / ".venv" / ".litellm-router-setup"
        setup.parent.mkdir()
        stamp.parent.mkdir()
        setup.write_text(f'#!/bin/sh\ncd "$(dirname "$0")/.."\necho "$1" >asked\n{script}\n')
        setup.chmod(0o755)
        stamp.write_text(f"{level} 0123")
        monkeypatch.setattr(engines, "_CHECKOUT", tmp_path)
        monkeypatch.setattr(engines, "_STAMP", stamp)
        monkeypatch.setattr(sys, "prefix", str(stamp.parent))

    return checkout


def logged(capfd: pytest.CaptureFixture[str]) -> list[str]:
    log.flush()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    return [line["progress"] for line in lines if line["event"] == "engine_packages"]


async def test_they_are_fetched_once_with_progress(checkout, tmp_path: Path, capfd) -> None:
    checkout(FETCHED)
    assert not engines.packages_installed()
    await engines.fetch_packages()
    assert engines.packages_installed()
    assert (tmp_path / "asked").read_text() == "engine\n"
    assert logged(capfd)[-1] == "Installing the engine's packages: done in 9 s"


async def test_without_a_network_the_reason_says_so(checkout) -> None:
    checkout(OFFLINE)
    with pytest.raises(PackagesMissing) as caught:
        await engines.fetch_packages()
    assert "could not reach its package index; connect to the network and try again" in str(caught.value)
    assert "It said" not in str(caught.value)
    assert not engines.packages_installed()


async def test_an_interrupted_installation_does_not_count(checkout) -> None:
    """LiteLLM can be imported here, where all packages are installed, but the stamp was not written."""
    checkout("kill $$")
    with pytest.raises(PackagesMissing):
        await engines.fetch_packages()
    assert not engines.packages_installed()


async def test_the_installer_gets_no_key_of_ours(checkout, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://index.invalid/simple")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    checkout("env >environment")
    await engines.fetch_packages()
    found = (tmp_path / "environment").read_text()
    assert "sk-openai" not in found
    assert "https://index.invalid/simple" in found
    assert "http://proxy.invalid" in found


async def test_a_cancelled_fetch_ends_the_installer(checkout, tmp_path: Path) -> None:
    checkout("sleep 60 & echo $! >pid.new; mv pid.new pid; wait")
    fetching = asyncio.create_task(engines.fetch_packages())
    while not (tmp_path / "pid").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    pid = int((tmp_path / "pid").read_text())
    while exists(pid):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("level", ["engine", "all"])
def test_a_checkout_with_the_engine_has_them(checkout, level: str) -> None:
    checkout("exit 1", level)
    assert engines.packages_installed()


async def test_elsewhere_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an installation of the wheel, or in another environment than the checkout's own."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert engines.packages_installed()  # LiteLLM is here
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not engines.packages_installed()
    with pytest.raises(PackagesMissing, match=r"pip install 'litellm-router\[engine\]'"):
        await engines.fetch_packages()


async def test_requests_are_told_that_they_are_being_fetched(checkout) -> None:
    checkout("exec sleep 60")
    engine = Engine(Config(), {}, start_timeout=0.2)
    try:
        with pytest.raises(EngineUnavailable, match="packages are being fetched") as caught:
            await engine.ready(20)
        assert caught.value.retry_after > 0
        assert engine.state == "starting"
    finally:
        await engine.stop()


async def test_requests_are_told_why_they_cannot_be_fetched(checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("container.engine.FIRST_PAUSE_SECONDS", 0.05)
    checkout(OFFLINE)
    engine = Engine(Config(), {}, start_timeout=20)
    try:
        with pytest.raises(EngineUnavailable) as caught:
            await engine.ready(20)
        assert "its packages could not be fetched: uv pip install could not reach its package index" in str(
            caught.value
        )
    finally:
        await engine.stop()
