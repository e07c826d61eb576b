"""docs/deploy-compose.md: its files are valid Compose files, and the setup works."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from container.config.load import load
from container.proxy.process import EXIT_CODE
from container.server.settings import read
from tests.deploy.pages import Page, curl, shell
from tests.fakes.environment import pointing_at
from tests.fakes.server import FakeProvider
from tests.money import Money, deployment
from tests.processes import MASTER_KEY, ROOT, RunningProxy, StartProxy, free_tcp_port
from tests.redis_server import RedisServer

PAGE = Page("deploy-compose")
FOLDER = ROOT / "deploy" / "compose"
FILES = [FOLDER / "compose.yaml", ROOT / "deploy" / "systemd" / "compose.yaml"]
SERVICE = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["litellm"]
EXAMPLE = (FOLDER / "example.env").read_text()
KEY = "sk-the-master-key-of-this-test"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, free_tcp_port()) as server:
        yield server


def variables(text: str) -> set[str]:
    return set(re.findall(r"(?m)^(?:# )?([A-Z][A-Z_]+)=", text))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.parent.name)
def test_the_file_is_valid_by_composes_specification(path: Path):
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_variable_of_the_example_reaches_the_gateway_or_the_services():
    text = (FOLDER / "compose.yaml").read_text()
    used = set(re.findall(r"\$\{([A-Z_]+)", text))
    assert variables(EXAMPLE) <= used
    assert set(SERVICE["environment"]) - {"LITELLM_CONFIG", "LEDGER_PATH"} <= used


def test_every_variable_of_the_config_is_in_the_example():
    config = load(FOLDER / "litellm_config.yaml", {})
    needed = {name for d in config.deployments for need in d.needs for name in need.split("|")}
    assert needed <= variables(EXAMPLE)


def test_the_example_becomes_an_env_file_with_a_fresh_master_key(tmp_path: Path):
    for name in ("compose.yaml", "example.env"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    made, exported = PAGE.block("cp example.env").splitlines()[1:-1], PAGE.block("/v1/models").splitlines()[0]
    script = "\n".join([*made, exported, 'echo "$LITELLM_MASTER_KEY"'])
    assert re.fullmatch(r"sk-[0-9a-f]{64}\n", shell(script, {}, {}, folder=tmp_path))


def test_the_pages_env_file_lines_match_the_example():
    lines = PAGE.block("POSTGRES_PASSWORD", "").splitlines()
    assert set(lines) <= set(EXAMPLE.replace("# ", "").splitlines())


def test_the_profile_of_the_page_has_both_services():
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    (profile,) = re.findall(r"--profile (\w+)", PAGE.block("--profile"))
    assert {name for name, service in services.items() if profile in service.get("profiles", ())} == {
        "postgres",
        "redis",
    }


def compose_environment(values: dict[str, str]) -> dict[str, str]:
    """The gateway's environment from compose.yaml, with these values from `.env` substituted for its `${…}`."""

    def fill(text: str) -> str:
        return re.sub(r"\$\{([A-Z_]+)(?::-([^}]*)|:\?[^}]*)?\}", lambda m: values.get(m[1]) or (m[2] or ""), str(text))

    return {name: fill(value) for name, value in SERVICE["environment"].items()}


@pytest.mark.parametrize("full", [False, True], ids=["alone", "with PostgreSQL and Redis"])
def test_the_gateway_serves_with_the_environment_from_compose(
    full: bool,
    fake: FakeProvider,
    module_proxy: StartProxy,
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    values = {"LITELLM_MASTER_KEY": KEY}
    if full:
        redis: RedisServer = request.getfixturevalue("redis")
        values |= {"DATABASE_URL": request.getfixturevalue("new_database")(), "REDIS_URL": redis.url}
    environment = compose_environment(values)
    environment |= {**pointing_at(fake), "LEDGER_PATH": str(tmp_path / "ledger.db")}
    environment.pop("LITELLM_CONFIG")
    environment.pop("LITELLM_MASTER_KEY")
    proxy = module_proxy(FOLDER / "litellm_config.yaml", master_key=KEY, environment=environment)
    lines = PAGE.block("/v1/models").splitlines()
    replaced = {"http://localhost:4000": proxy.url}
    assert curl(lines[1], replaced, {})["status"] == "healthy"
    listed = curl(lines[2], replaced, {"LITELLM_MASTER_KEY": KEY})
    assert "claude-3-opus" in {model["id"] for model in listed["data"]}
    answer = curl(PAGE.block('"model": "gpt-4"'), replaced, {"LITELLM_MASTER_KEY": KEY})
    assert answer["choices"][0]["message"]["content"] == "Hello!"
    assert (tmp_path / "ledger.db").exists() != full


def test_the_page_names_every_variable():
    missing = [name for name in SERVICE["environment"] if f"`{name}`" not in PAGE.text]
    assert missing == ["LEDGER_PATH"]


def test_a_hung_gateway_ends_before_a_third_health_check_has_failed():
    """Compose restarts what has ended, not what is unhealthy. The watchdog ends what hangs."""
    interval, retries = re.findall(r"--interval=(\d+)s.*--retries=(\d+)", (ROOT / "Dockerfile").read_text())[0]
    assert read({}).watchdog_seconds <= int(interval) * int(retries)
    assert "WATCHDOG_SECONDS" not in SERVICE["environment"]
    assert SERVICE["restart"].startswith("on-failure")  # with any exit code but 0
    assert EXIT_CODE != 0


HANGS = "import signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: time.sleep(60))\n"


def test_a_gateway_that_hangs_ends_itself_and_its_successor_knows_the_keys(fake: FakeProvider, tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(HANGS)
    config = {"model_list": [deployment(fake, "gpt")]}
    environment = {"WATCHDOG_SECONDS": "1", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    hung = RunningProxy(config, tmp_path, environment=environment).__enter__()
    try:
        key = Money(httpx.Client(base_url=hung.url), MASTER_KEY).key(key_alias="kept")
        assert health_check(hung.port) == 0
        os.kill(hung.pid, signal.SIGUSR1)
        assert health_check(hung.port) != 0
        assert hung.wait() == EXIT_CODE
    finally:
        hung.kill()
    with RunningProxy(config, tmp_path) as successor:
        assert health_check(successor.port) == 0
        money = Money(httpx.Client(base_url=successor.url), MASTER_KEY)
        assert money.ask(key).status_code == 200


def health_check(port: int) -> int:
    script = ROOT / "deploy" / "image" / "healthcheck.py"
    environment = {"PATH": os.environ["PATH"], "LITELLM_PORT": str(port)}
    return subprocess.run(
        [sys.executable, "-I", "-S", script], env=environment, capture_output=True, timeout=20
    ).returncode
