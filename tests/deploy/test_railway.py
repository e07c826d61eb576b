"""docs/deploy-railway-workers.md and docs/deploy-railway-bot.md, followed with the real proxy and fake providers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from tests.deploy.pages import Page, curl, railway, wait_until_healthy
from tests.fakes.environment import pointing_at
from tests.fakes.server import FakeProvider
from tests.image.test_dockerfile import ignored
from tests.processes import ROOT, RunningProxy, StartProxy, free_tcp_port

WORKERS, BOT = Page("deploy-railway-workers"), Page("deploy-railway-bot")
ADDRESS = "https://your-gateway.up.railway.app"
KEY = "sk-the-master-key-of-this-test"

# https://docs.railway.com/config-as-code/reference: the settings that we use, and their allowed values.
BUILDERS = {"RAILPACK", "DOCKERFILE"}
RESTART_POLICIES = {"ON_FAILURE", "ALWAYS", "NEVER"}
DEPLOY_SETTINGS = {
    "healthcheckPath": str,
    "healthcheckTimeout": int,
    "restartPolicyType": str,
    "restartPolicyMaxRetries": int,
    "drainingSeconds": int,
}


@pytest.fixture(scope="module")
def providers() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def provider(providers: FakeProvider) -> FakeProvider:
    providers.reset()
    return providers


def start(module_proxy: StartProxy, name: str, providers: FakeProvider, tmp_path_factory) -> RunningProxy:
    ledger = tmp_path_factory.mktemp(name) / "ledger.db"
    environment = {**pointing_at(providers), "LEDGER_PATH": str(ledger)}
    return module_proxy(ROOT / "deploy" / name / "litellm_config.yaml", master_key=KEY, environment=environment)


@pytest.fixture(scope="module")
def workers(module_proxy: StartProxy, providers: FakeProvider, tmp_path_factory) -> RunningProxy:
    return start(module_proxy, "railway-workers", providers, tmp_path_factory)


@pytest.fixture(scope="module")
def bot(module_proxy: StartProxy, providers: FakeProvider, tmp_path_factory) -> RunningProxy:
    return start(module_proxy, "railway-bot", providers, tmp_path_factory)


def follow(page: Page, word: str, proxy: RunningProxy):
    return curl(page.block(word), {ADDRESS: proxy.url}, {"LITELLM_MASTER_KEY": KEY})


@pytest.mark.parametrize("name", ["railway-workers", "railway-bot", "compose"])
def test_the_settings_exist_on_railway(name):
    settings = railway(name)
    assert settings.keys() == {"build", "deploy"}
    assert settings["build"]["builder"] in BUILDERS
    assert (ROOT / settings["build"]["dockerfilePath"]).exists()
    for setting, value in settings["deploy"].items():
        assert isinstance(value, DEPLOY_SETTINGS[setting])
    assert settings["deploy"]["restartPolicyType"] == "ON_FAILURE"
    assert settings["deploy"]["restartPolicyType"] in RESTART_POLICIES
    assert settings["deploy"]["restartPolicyMaxRetries"] == 10
    assert settings["deploy"]["healthcheckPath"] == "/health"


@pytest.mark.parametrize("name", ["railway-workers", "railway-bot", "compose"])
def test_the_image_has_the_config_where_the_page_says(name):
    inside = f"/app/deploy/{name}/litellm_config.yaml"
    assert f"COPY deploy/{name}/litellm_config.yaml {inside}" in (ROOT / "Dockerfile").read_text()
    assert f"`{inside}`" in Page(f"deploy-{name}").text
    assert not ignored(inside.removeprefix("/app/"))
    assert f"`/deploy/{name}/railway.toml`" in Page(f"deploy-{name}").text


@pytest.mark.parametrize("name", ["railway-workers", "railway-bot"])
def test_check_accepts_the_config(name, providers):
    command = [sys.executable, "-m", "container", "check", "--config", f"deploy/{name}/litellm_config.yaml"]
    environment = {"PATH": os.environ["PATH"], "LITELLM_MASTER_KEY": KEY, **pointing_at(providers)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "warning" not in (ended.stdout + ended.stderr).lower()


def test_workers_verify_as_the_page_says(workers, provider):
    assert follow(WORKERS, "/health", workers)["status"] == "healthy"
    listed = follow(WORKERS, "/v1/models", workers)
    assert {"gpt-4o-mini", "openai/gpt-4o-mini"} <= {model["id"] for model in listed["data"]}
    answer = follow(WORKERS, "/v1/chat/completions", workers)
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert provider.last.path == "/api/v1/chat/completions", "OpenRouter first"
    spent = follow(WORKERS, "/global/spend", workers)
    assert spent["max_budget"] == 50.0
    assert 0 < spent["spend"] < 0.01


def test_workers_get_openais_answer_when_openrouter_is_down(workers, provider):
    provider.always("503", api_key="sk-or-fake")
    answer = httpx.post(
        f"{workers.url}/v1/chat/completions",
        json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Plan"}]},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert answer.status_code == 200
    assert answer.headers["x-litellm-attempted-fallbacks"] == "1"
    assert provider.last.path == "/v1/chat/completions"
    assert answer.json()["model"] == "openai/gpt-4o-mini"


def test_railways_port_variable_is_used(providers, tmp_path: Path):
    port = free_tcp_port()
    environment = {
        "PATH": os.environ["PATH"], "PORT": str(port), "LITELLM_MASTER_KEY": KEY, **pointing_at(providers),
        "LITELLM_CONFIG": "deploy/railway-workers/litellm_config.yaml", "LEDGER_PATH": str(tmp_path / "ledger.db"),
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "container", "serve"], cwd=ROOT, env=environment)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process)
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_the_bots_models_are_enabled_and_healthy(bot):
    health = follow(BOT, "/health", bot)
    assert health["status"] == "healthy"
    assert health["models"] == ["claude-sonnet", "gpt-4o", "gemini-pro", "gemini-flash"]


def test_the_bots_curl(bot, provider):
    answer = follow(BOT, "/v1/chat/completions", bot)
    assert answer["choices"][0]["message"]["content"] == "Write a tweet about AI safety"
    assert answer["model"] == "claude-sonnet"


def test_the_bots_client_code_with_the_address_without_v1(bot, provider, capsys):
    code = BOT.block("OpenAI(", "python")
    assert ADDRESS in code
    exec(code.replace(ADDRESS, bot.url).replace("sk-…", KEY), {})
    assert capsys.readouterr().out == "Hello!\n"


def test_the_chain_continues_to_gpt_4o_and_gemini(bot, provider):
    client = OpenAI(base_url=bot.url, api_key=KEY, max_retries=0)

    def ask() -> str:
        return client.chat.completions.create(model="claude-sonnet", messages=[{"role": "user", "content": "x"}]).model

    provider.always("529", api_key="sk-ant-fake")
    assert ask() == "gpt-4o"
    provider.always("429,retry_after=30", api_key="sk-proj-fake")
    assert ask() == "gemini-pro"


def test_the_key_dummy_works_on_loopback_without_a_master_key(module_proxy: StartProxy, provider):
    config = ROOT / "deploy" / "railway-bot" / "litellm_config.yaml"
    keyless = module_proxy(config, master_key=None, environment=pointing_at(provider))
    client = OpenAI(base_url=keyless.url, api_key="dummy", max_retries=0)
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello!"}])
    assert answer.choices[0].message.content == "Hello!"


def test_the_bots_gateway_starts_locally_as_the_page_says(provider, tmp_path: Path):
    port = free_tcp_port()
    command = BOT.block("litellm-router serve").replace("4000", str(port)).split()
    assert command[0] == ".venv/bin/litellm-router"
    environment = {"PATH": os.environ["PATH"], "LEDGER_PATH": str(tmp_path / "ledger.db"), **pointing_at(provider)}
    process = subprocess.Popen(
        [Path(sys.executable).with_name("litellm-router"), *command[1:]], cwd=ROOT, env=environment
    )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process)
        listed = curl(BOT.block("localhost:4000/v1/models"), {"http://localhost:4000": f"http://127.0.0.1:{port}"}, {})
        assert len(listed["data"]) == 4
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_public_start_without_a_master_key_is_refused_and_names_the_variable(tmp_path: Path):
    command = [sys.executable, "-m", "container", "serve", "--host", "0.0.0.0", "--port", "0"]
    ended = subprocess.run(
        [*command, "--config", "deploy/railway-bot/litellm_config.yaml"],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "LEDGER_PATH": str(tmp_path / "ledger.db")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Set LITELLM_MASTER_KEY" in ended.stderr


class TestTrouble:
    """The bot page's troubleshooting table: each message appears as documented."""

    def refused(self, proxy: RunningProxy, model: str, key: str = KEY) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def test_model_not_found(self, bot):
        answer = self.refused(bot, "claude-42")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "gemini-flash" in answer.json()["error"]["message"]

    def test_budget_exceeded(self, module_proxy: StartProxy, provider, tmp_path_factory):
        config = tmp_path_factory.mktemp("poor") / "litellm_config.yaml"
        text = (ROOT / "deploy" / "railway-bot" / "litellm_config.yaml").read_text()
        config.write_text(text.replace("max_budget: 10.0", "max_budget: 0.000001"))
        environment = {**pointing_at(provider), "LEDGER_PATH": str(config.with_name("ledger.db"))}
        answer = self.refused(module_proxy(config, master_key=KEY, environment=environment), "gpt-4o")
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exceeded")

    def test_all_models_failed(self, module_proxy: StartProxy, providers, provider, tmp_path_factory):
        provider.always("503")
        # none of its deployments is cooling down yet
        rested = start(module_proxy, "railway-bot", providers, tmp_path_factory)
        answer = self.refused(rested, "claude-sonnet")
        assert answer.status_code in (502, 503)
        message = answer.json()["error"]["message"]
        assert answer.json()["error"]["type"] == "upstream_error"
        assert message.startswith("No deployment answered. Tried: claude-sonnet")
        assert "gpt-4o" in message
        assert "gemini-pro" in message

    def test_wrong_key(self, bot):
        answer = self.refused(bot, "gpt-4o", "sk-wrong")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
