"""Keys declared in the config file are written to the ledger when the proxy starts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from container.cli.main import main
from tests.accounting.conftest import Ledgered
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import deployment
from tests.processes import StartProxy

BOT, CI = "sk-secret-of-bot", "sk-secret-of-ci"
SECRETS = {"BOT_KEY": BOT, "CI_KEY": CI}

StartWith = Callable[..., Ledgered]


@pytest.fixture
def start(proxy: StartProxy, fake: FakeProvider, tmp_path: Path) -> StartWith:
    """`start(keys…, environment…)` restarts the proxy on the same ledger."""
    running: list[Ledgered] = []

    def started(*keys: dict, **environment: str) -> Ledgered:
        while running:
            running.pop().proxy.stop()
        config: dict[str, Any] = {"model_list": [deployment(fake, "gpt"), deployment(fake, "o1")]}
        if keys:
            config["general_settings"] = {"virtual_keys": list(keys)}
        given = {"LEDGER_PATH": str(tmp_path / "kept.db"), **SECRETS, **environment}
        running.append(Ledgered(proxy(config, environment=given)))
        return running[-1]

    return started


def test_a_declared_key_works_within_its_limits(start: StartWith, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=(10, 5)))
    gateway = start({"key": "os.environ/BOT_KEY", "key_alias": "bot", "models": ["gpt"], "rpm_limit": 2})
    assert [gateway.ask(BOT).status_code for _ in range(3)] == [200, 200, 429]
    assert gateway.ask(BOT, model="o1").status_code == 403
    assert gateway.ask(CI).status_code == 401
    assert gateway.logs()[0]["key_alias"] == "bot"
    said = gateway.http.post(
        "/key/update",
        json={"key": BOT, "rpm_limit": 9},
        headers={"authorization": f"Bearer {gateway.proxy.master_key}"},
    )
    assert "stands in the config file" in said.json()["error"]["message"]
    gateway.proxy.stop()
    assert '"made":1' in gateway.proxy.log().replace(" ", "")
    assert BOT not in gateway.proxy.log()


def test_the_config_file_wins_at_startup(start: StartWith, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=(10, 5)))
    bot = {"key": "os.environ/BOT_KEY", "key_alias": "bot"}
    first = start(bot, {"key": "os.environ/CI_KEY"})
    made = first.key(key_alias="made over HTTP")
    assert [first.ask(key).status_code for key in (BOT, CI, made)] == [200, 200, 200]

    rotated = start({**bot, "grace_period": "1h"}, BOT_KEY="sk-the-new-secret")
    assert [rotated.ask(key).status_code for key in ("sk-the-new-secret", BOT, CI, made)] == [200, 200, 401, 200]
    spent = [line["spend"] for line in rotated.logs() if line["key_alias"] == "bot"]
    assert len(spent) == 3
    assert rotated.info("sk-the-new-secret")["spend"] == pytest.approx(sum(spent))

    without = start(CI_KEY="")
    assert [without.ask(key).status_code for key in ("sk-the-new-secret", BOT, CI, made)] == [401, 401, 401, 200]
    assert without.info("sk-the-new-secret")["blocked"] is True

    again = start(bot)
    assert [again.ask(key).status_code for key in (BOT, "sk-the-new-secret", made)] == [200, 401, 200]


def test_a_key_whose_variable_is_unset_does_not_work(start: StartWith) -> None:
    bot = {"key": "os.environ/BOT_KEY", "key_alias": "bot"}
    start(bot)
    gateway = start(bot, BOT_KEY="")
    assert gateway.ask(BOT).status_code == 401
    gateway.proxy.stop()
    assert "BOT_KEY is not set, so this key does not work" in gateway.proxy.log()


def test_declared_keys_require_a_master_key(tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "model_list: [{model_name: a, litellm_params: {model: openai/x, mock_response: hi}}]\n"
        "general_settings: {virtual_keys: [{key: os.environ/BOT_KEY}]}\n"
    )
    for command in ("check", "serve"):
        monkeypatch.setattr("os.environ", {"PATH": "", "BOT_KEY": BOT, "PORT": "0"})
        assert main([command, "--config", str(path)]) == 1
        assert "without a LITELLM_MASTER_KEY nobody needs a key" in capsys.readouterr().err
