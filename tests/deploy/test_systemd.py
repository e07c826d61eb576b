"""docs/deploy-systemd.md, followed in a temporary folder: install, check, run, send requests."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from container.config.load import load
from tests.deploy.pages import Page, curl, shell, wait_until_healthy
from tests.fakes.environment import pointing_at
from tests.fakes.server import FakeProvider
from tests.money import chat
from tests.processes import ROOT, StartProxy, free_tcp_port

PAGE = Page("deploy-systemd")
FOLDER = ROOT / "deploy" / "systemd"
UNITS = ("litellm-router.service", "litellm-compose.service")
ADDRESS = "http://127.0.0.1:4000"
HOME, ETC = "/opt/litellm-router", "/etc/litellm"
KEY = "sk-the-master-key-of-this-test"
# The exposure score, out of 10, of a Python program that needs the network and its own folder.
MOST_EXPOSED = 2.0


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's "Install" steps, with `opt` and `etc` in a temporary folder and cached packages."""
    folder = tmp_path_factory.mktemp("machine")
    ignored = shutil.ignore_patterns(
        ".git", ".dev", ".venv*", "node_modules", "__pycache__", ".*cache", ".litellm-router"
    )
    shutil.copytree(ROOT, folder / "opt", ignore=ignored)
    replaced = {HOME: str(folder / "opt"), ETC: str(folder / "etc"), "python3": sys.executable}
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    shell(PAGE.block("install -d"), replaced, environment, timeout=110)
    return folder


@pytest.fixture(scope="module")
def providers() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="module")
def served(machine: Path, providers: FakeProvider) -> Iterator[str]:
    """The address of the gateway, started as in the page's "Run by hand", on a free port."""
    env_file = machine / "etc" / "litellm.env"
    values = {**pointing_at(providers), "LITELLM_MASTER_KEY": KEY, "LEDGER_PATH": str(machine / "ledger.db")}
    env_file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    port = free_tcp_port()
    script = PAGE.block("set -a").replace(ETC, str(machine / "etc")).replace("4000", str(port))
    process = subprocess.Popen(
        ["bash", "-euc", script.replace(".venv/bin/litellm-router serve", "exec .venv/bin/litellm-router serve")],
        cwd=machine / "opt", env={"PATH": os.environ["PATH"]}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name: str, tmp_path: Path):
    text = (FOLDER / name).read_text()
    # Stand-ins replace the programs, which are not installed where the page puts them.
    text = text.replace(f"{HOME}/.venv/bin/litellm-router", "/bin/true").replace("/usr/bin/docker", "/bin/true")
    unit = tmp_path / name
    unit.write_text(text.replace("Requires=docker.service\n", ""))
    command = [_systemd_analyze(), "verify", "--man=no", unit]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_service_is_sandboxed(tmp_path: Path):
    command = [_systemd_analyze(), "security", "--offline=true", "--no-pager", FOLDER / UNITS[0]]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", ended.stdout)
    assert found is not None, ended.stderr
    assert float(found[1]) <= MOST_EXPOSED
    assert "gives it under 2 of 10" in PAGE.text


def _systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("there is no systemd-analyze on this machine (Debian's package systemd)")
    return found


def test_the_unit_runs_the_pages_command():
    (started,) = re.findall(r"(?m)^ExecStart=(.*)$", (FOLDER / UNITS[0]).read_text())
    by_hand = PAGE.block("set -a").splitlines()[1]
    assert sorted(shlex.split(started.removeprefix(f"{HOME}/"))) == sorted(shlex.split(by_hand))


def test_the_unit_reads_litellms_usual_files_and_its_own_last():
    files = re.findall(r"(?m)^EnvironmentFile=(.*)$", (FOLDER / UNITS[0]).read_text())
    # With a dash, a file may be missing; of the same variable, the last one counts (systemd.exec(5)).
    assert files == ["-/etc/default/litellm", "-/etc/litellm.env", f"-{ETC}/litellm.env"]
    assert all(f"`{name.removeprefix('-')}`" in PAGE.text for name in files)


def offered() -> list[str]:
    """The variables that the env file offers, each commented out."""
    return re.findall(r"(?m)^#([A-Z_]+)=$", (FOLDER / "litellm.env").read_text())


def test_an_empty_environment_starts_on_loopback(proxy: StartProxy):
    empty = dict.fromkeys(offered(), "")
    gateway = proxy(FOLDER / "config.yaml", master_key=None, environment=empty)
    assert httpx.get(f"{gateway.url}/v1/models").status_code == 200
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=chat("gpt-4o-mini"))
    assert (answer.status_code, "OPENAI_API_KEY" in answer.text) == (503, True)


def test_files_and_programs_used_by_root_exist():
    units = re.findall(r"(?:systemctl [a-z]+(?: --now)?|journalctl -u|security)\s+([\w-]+)", PAGE.text)
    files = re.findall(r"deploy/systemd/([\w.-]*\w)", PAGE.text)
    assert len(units) > 4
    assert {*files, *(f"{unit}.service" for unit in units)} <= {path.name for path in FOLDER.iterdir()}


def test_secrets_are_readable_only_by_their_owner(machine: Path):
    assert (machine / "etc" / "litellm.env").stat().st_mode & 0o777 == 0o600


def test_every_variable_of_the_config_is_in_the_env_file():
    config = load(FOLDER / "config.yaml", {})
    needed = {name for d in config.deployments for need in d.needs for name in need.split("|")}
    assert needed <= set(offered())


def test_the_env_file_as_installed_hides_nothing_of_the_other_two():
    lines = (FOLDER / "litellm.env").read_text().splitlines()
    assert all(line.startswith("#") or not line for line in lines)


def test_the_installed_check_accepts_the_config(machine: Path, providers: FakeProvider):
    environment = {**pointing_at(providers), "LITELLM_MASTER_KEY": KEY}
    script = PAGE.block("litellm-router check")
    printed = shell(script, {ETC: str(machine / "etc")}, environment, folder=machine / "opt")
    assert "3 of 3 models are on" in printed


def test_the_pages_requests_are_answered(served: str, providers: FakeProvider):
    replaced, environment = {ADDRESS: served}, {"LITELLM_MASTER_KEY": KEY}
    assert curl(PAGE.block("/health"), replaced, environment)["status"] == "healthy"
    listed = curl(PAGE.block("/v1/models"), replaced, environment)
    assert {model["id"] for model in listed["data"]} == {"gpt-4o-mini", "gpt-oss-20b", "claude-sonnet"}
    answer = curl(PAGE.block("Say hi"), replaced, environment)
    assert answer["choices"][0]["message"]["content"] == "Say hi"
    assert providers.last.api_key == "sk-proj-fake"


def test_openwebuis_requests_with_a_virtual_key(served: str):
    """Its requests: `/models` when a connection is saved, then streams with its own fields beside OpenAI's."""
    admin = {"authorization": f"Bearer {KEY}"}
    fields = {"key_alias": "openwebui", "models": ["gpt-4o-mini"]}
    key = httpx.post(f"{served}/key/generate", json=fields, headers=admin).json()["key"]
    headers = {"authorization": f"Bearer {key}", "x-openwebui-user-name": "Ada", "x-openwebui-chat-id": "1"}
    listed = httpx.get(f"{served}/v1/models", headers=headers).json()
    assert [model["id"] for model in listed["data"]] == ["gpt-4o-mini"]
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    with httpx.stream("POST", f"{served}/v1/chat/completions", json=body, headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        lines = list(answer.iter_lines())
    assert lines[-2:] == ["data: [DONE]", ""] or lines[-1] == "data: [DONE]"
    title = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Title?"}], "stream": False}
    answer = httpx.post(f"{served}/v1/chat/completions", json=title, headers=headers, timeout=60)
    assert answer.json()["choices"][0]["message"]["content"] == "Title?"
