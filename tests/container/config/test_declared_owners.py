"""general_settings.budgets, teams, users, customers and tags: parsing, validation, and what the edge is told."""

import json
from datetime import date

import pytest

from container.proxy.catalog import catalog
from container.proxy.startup import declared
from worker.core import configuration
from worker.core.ledger.declared import SECTIONS

MODELS = [{"model_name": "gpt", "litellm_params": {"model": "openai/x", "mock_response": "hi"}}]
SECTION = {
    "budgets": [{"budget_id": "free", "max_budget": 1}],
    "teams": [{"team_id": "blue", "budget_id": "free", "members_with_roles": [{"user_id": "ada", "role": "admin"}]}],
    "users": [{"user_id": "ada", "user_email": "ada@example.com"}],
    "customers": [{"user_id": "c", "rpm_limit": 3}],
    "tags": [{"name": "job", "max_budget": 2, "budget_duration": "1d"}],
}


def content(**general: object) -> dict:
    return {"model_list": MODELS, "general_settings": general}


def test_every_section_is_read_and_needs_a_ledger(load_config):
    config = load_config(content(**SECTION), {})
    assert [one.section for one in config.options.owners] == list(SECTIONS)
    assert [(one.section, one.id) for one in declared(config)][:2] == [("budgets", "free"), ("users", "ada")]
    assert config.options.needs_ledger
    assert not load_config(content(), {}).options.needs_ledger


def test_the_edge_declares_the_same(load_config):
    key = {"key": "os.environ/BOT", "team_id": "blue"}
    config = load_config(content(**SECTION, virtual_keys=[key]), {})
    extract = catalog(config)
    deployed = configuration.own(extract, {"BOT": "sk-secret"}.get)
    there = configuration.read(deployed.text())
    assert there.declared()[:-1] == declared(load_config(content(**SECTION), {}))
    assert there.declared()[-1].columns["team_id"] == "blue"
    assert not set(SECTIONS) & json.loads(extract["document"])["general_settings"].keys()


def test_an_older_worker_declares_none():
    text = json.dumps({"name": "n", "virtual_keys": [], "values": {}})
    assert configuration.read(text).declared() == []


@pytest.mark.parametrize(
    ("general", "words"),
    [
        ({"teams": {"blue": {}}}, ("teams", "has to be a list")),
        ({"teams": ["blue"]}, ("teams[0]", "has to be a mapping")),
        ({"teams": [{"max_budget": 1}]}, ("team_id", "1 to 255")),
        ({"teams": [{"team_id": "a\nb"}]}, ("team_id", "printable")),
        ({"teams": [{"team_id": "blue", "max_budgets": 1}]}, ("max_budgets", "max_budget")),
        ({"teams": [{"team_id": "blue", "metadata": {"since": date(2026, 1, 1)}}]}, ("teams[0]", "quotes")),
        ({"teams": [{"team_id": "blue"}, {"team_id": "blue"}]}, ("teams[1]", "unique")),
        ({"teams": [{"team_id": "blue", "budget_id": "none"}]}, ("budget_id", "general_settings.budgets")),
        (
            {"users": [{"user_id": "a", "user_email": "A@b"}, {"user_id": "b", "user_email": "a@B"}]},
            ("user_email", "unique"),
        ),
        ({"tags": [{"name": "t", "models": ["gpt"]}]}, ("models", "not a field")),
        ({"budgets": [{"budget_id": "b", "max_budget": 1, "soft_budget": 2}]}, ("soft_budget", "at most")),
        ({"virtual_keys": [{"key": "os.environ/BOT", "team_id": "red"}], **SECTION}, ("team_id", "teams")),
        ({"virtual_keys": [{"key": "os.environ/BOT", "budget_id": "x"}], **SECTION}, ("budget_id", "budgets")),
        ({"team": [{"team_id": "blue"}]}, ("team", "teams")),
    ],
)
def test_a_mistake_stops_the_start_and_is_named(complaints, general, words):
    [line] = complaints(content(**general), {"BOT": "sk-secret-of-bot", "LITELLM_MASTER_KEY": "sk-master"})
    for word in words:
        assert word in line
