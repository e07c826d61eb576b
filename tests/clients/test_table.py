"""The suite's own parts, without any client: the table of docs/clients.md, the locks, the agents' snippets."""

import json
import re

import pytest

from tests.clients import cases, models, run, snippets, table
from tests.clients.cases import AGENTS, PACKAGES, SCENARIOS, Agent, Task
from tests.clients.gateway import Gateway
from tests.clients.run import Result
from tests.processes import ROOT

GATEWAY = Gateway("http://127.0.0.1:1234", "sk-of-a-test")
MODEL = models.MODELS[0].name


def results(failed: str | None) -> list[Result]:
    """All cases, with the same outcome."""
    return [
        Result(task, model, scenario, failed)
        for task in cases.tasks("", (), edge=True)
        for model in task.models
        for scenario in task.scenarios
    ]


def test_the_page_shows_the_clients_with_their_locked_versions_and_no_failure():
    """`just clients` compares the whole table. Without a run, this is what can be compared."""
    assert table.shown(snippets.PAGE.read_text()) == table.rendered(results(None))


def test_a_failure_and_a_scenario_that_a_client_does_not_have_are_shown():
    codex = next(agent for agent in AGENTS if agent.name == "Codex")
    task = Task(codex, "proxy", (MODEL,), ("tool", "stream"))
    (row,) = table.rendered([Result(task, MODEL, "tool", "no"), Result(task, MODEL, "stream", None)]).splitlines()[2:]
    assert row.split(" | ")[2:4] == ["– ✓ ✗ –", "– – – –"]


def test_the_table_is_written_between_the_markers():
    page = f"# A\n\n{table.START}old\n{table.END}\nrest\n"
    written = table.written(page, "| new |\n")
    assert table.shown(written) == "| new |\n"
    assert written.endswith(f"{table.END}\nrest\n")
    assert table.written(written, "| new |\n") == written


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_an_agents_snippet_is_run_with_another_address_key_model_and_prompt(agent: Agent):
    for shown in agent.processes():
        for scenario in shown:
            code = run.command(agent, "another-model", scenario, GATEWAY)
            assert GATEWAY.url in code
            assert GATEWAY.key in code
            assert agent.model not in code.replace(agent.prompt(scenario), "")
            assert cases.WORD not in code
            assert f'"{snippets.PROMPT}"' not in code


def test_a_snippet_that_has_changed_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snippets, "snippets", lambda: {"Codex": ("bash", "codex exec hello")})
    with pytest.raises(ValueError, match="Codex"):
        run.command(AGENTS[0], MODEL, "stream", GATEWAY)


def test_every_client_has_all_scenarios_or_says_so():
    told = {(r.task.client.name, r.task.client.api, r.scenario) for r in results(None)}
    for package in PACKAGES:
        assert {(package.name, package.api, scenario) for scenario in SCENARIOS} <= told
    for agent in AGENTS:
        assert (agent.name, agent.api, "stream") in told


def test_locks_name_no_registry():
    folder = ROOT / "tests" / "clients"
    lock = json.loads((folder / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert lock["packages"][""]["dependencies"] == json.loads((folder / "package.json").read_text())["dependencies"]
    for requirements in (folder / "requirements").glob("*.txt"):
        text = requirements.read_text()
        assert "://" not in text
        assert len(re.findall(r"^\S+==", text, re.MULTILINE)) <= text.count("--hash=sha256:")


def test_the_shipped_config_has_what_agents_request():
    names = {model["model_name"] for model in models.config("http://127.0.0.1:1")["model_list"]}
    assert {agent.model for agent in AGENTS} | {model.name for model in models.MODELS} <= names
