"""Settings of the Worker and its objects."""

import pytest

from worker.core.ledger.waiting_line import DEFAULT_PATIENCE
from worker.core.pricing.quote import MIN_OUTPUT
from worker.edge.settings import read, read_ledger


def settings(**variables: str):
    return read(variables.get)


def test_defaults():
    found = settings()
    assert (found.master_key, found.local, found.public_models) == ("", False, False)
    assert (found.max_body_mb, found.instances, found.cors_allow_origins) == (32, 1, None)
    assert found.problems == ()


def test_local_development_lists_models_by_default():
    assert settings(LOCAL_DEVELOPMENT="true").public_models
    assert not settings(LOCAL_DEVELOPMENT="true", PUBLIC_MODELS="false").public_models
    assert settings(PUBLIC_MODELS="TRUE").public_models


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCAL_DEVELOPMENT", "maybe"),
        ("PUBLIC_MODELS", "2"),
        ("MAX_BODY_MB", "lots"),
        ("MAX_BODY_MB", "nan"),
        ("MAX_BODY_MB", "-3"),
        ("CONTAINER_INSTANCES", "0"),
        ("CONTAINER_INSTANCES", "1e9"),
    ],
)
def test_an_invalid_setting_is_named_and_the_default_applies(name, value):
    found = settings(**{name: value})
    assert len(found.problems) == 1
    assert name in found.problems[0]
    assert (found.local, found.public_models, found.max_body_mb, found.instances) == (False, False, 32, 1)


def test_numbers():
    found = settings(MAX_BODY_MB="0.5", CONTAINER_INSTANCES="4")
    assert (found.max_body_mb, found.instances) == (0.5, 4)


def test_default_output_limit():
    assert (settings().default_max_output, settings().min_output) == (None, MIN_OUTPUT)
    assert settings(MIN_OUTPUT="1").min_output == 1
    assert settings(DEFAULT_MAX_OUTPUT="100").default_max_output == 100
    found = settings(DEFAULT_MAX_OUTPUT="0")
    assert found.default_max_output is None
    assert "DEFAULT_MAX_OUTPUT" in found.problems[0]


def test_settings_of_the_ledgers_object():
    found = read_ledger({}.get)
    assert (found.retention_days, found.alert_webhook_url, found.problems) == (None, None, ())
    assert found.budget_patience == DEFAULT_PATIENCE == 10
    assert read_ledger({"BUDGET_PATIENCE": "0"}.get).budget_patience == 0
    assert read_ledger({"BUDGET_PATIENCE": "21"}.get).budget_patience == DEFAULT_PATIENCE
    told = {"SPEND_LOG_RETENTION_DAYS": "7", "ALERT_WEBHOOK_URL": "https://hooks.example/x"}
    found = read_ledger(told.get)
    assert (found.retention_days, found.alert_webhook_url) == (7.0, "https://hooks.example/x")
    found = read_ledger({"SPEND_LOG_RETENTION_DAYS": "-1", "ALERT_WEBHOOK_URL": "hooks.example/s3cret"}.get)
    assert (found.retention_days, found.alert_webhook_url, len(found.problems)) == (None, None, 2)
    assert "s3cret" not in " ".join(found.problems)
