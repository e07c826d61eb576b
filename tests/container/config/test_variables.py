"""Variables set in the config file, and settings that are also variables."""

import pytest

from container.config.sections import redis_url
from container.proxy.catalog import catalog
from container.server import settings

MODEL = {"model_name": "a", "litellm_params": {"model": "openai/x"}}


def test_file_variable_applies_everywhere(load_config):
    given = {"OPENAI_API_KEY": "sk-file", "MAX_BODY_MB": 5, "LITELLM_MASTER_KEY": "os.environ/MINE", "EMPTY": None}
    config = load_config(
        {"model_list": [MODEL], "environment_variables": given}, {"MINE": "sk-m", "OPENAI_API_KEY": "x"}
    )
    [d] = config.deployments
    assert (d.api_key, d.off) == ("sk-file", ())
    found = settings.read(config.environment)
    assert (found.max_body_mb, found.master_key) == (5.0, "sk-m")


def test_secret_in_the_file_causes_a_warning_without_its_value(load_config):
    given = {"OPENAI_API_KEY": "sk-secret", "LANGFUSE_HOST": "https://x.example"}
    config = load_config({"model_list": [MODEL], "environment_variables": given})
    [warning] = [str(p) for p in config.problems if p.level == "warning"]
    assert "environment_variables.OPENAI_API_KEY" in warning
    assert "sk-secret" not in warning
    assert "sk-secret" not in repr(config)


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "PYTHONPATH", "INTERNAL_TOKEN"])
def test_variables_that_affect_process_startup_are_rejected(load_config, name):
    config = load_config({"model_list": [MODEL], "environment_variables": {name: "x"}})
    assert name not in config.environment
    assert f"environment_variables.{name}: warning" in str(config.problems[0])


def test_variables_must_be_a_mapping(complaints):
    [said] = complaints({"model_list": [MODEL], "environment_variables": ["A=1"]})
    assert "environment_variables: error" in said


def test_at_the_edge_file_variables_are_neither_required_nor_secrets(load_config):
    written = load_config({"model_list": [MODEL], "environment_variables": {"OPENAI_API_KEY": "sk-file"}})
    assert catalog(written)["models"] == {"a": [[]]}
    assert "sk-file" not in str(catalog(written))
    referred = load_config({"model_list": [MODEL], "environment_variables": {"OPENAI_API_KEY": "os.environ/MINE"}})
    assert catalog(referred)["models"] == {"a": [["MINE"]]}
    assert "MINE" in catalog(referred)["environment"]


POSTGRES = "postgresql://u:p@h/d"


@pytest.mark.parametrize(("written", "environment"), [(POSTGRES, {}), ("os.environ/MINE", {"MINE": POSTGRES})])
def test_database_url_in_the_file_is_used(load_config, written, environment):
    config = load_config({"model_list": [MODEL], "general_settings": {"database_url": written}}, environment)
    assert settings.read(config.environment).database_url == POSTGRES
    assert [p.level for p in config.problems] == ["note"]
    assert "u:p" not in str(config.problems)


def test_environments_database_url_overrides_the_files(load_config):
    content = {"model_list": [MODEL], "general_settings": {"database_url": "postgresql://other/d"}}
    config = load_config(content, {"DATABASE_URL": POSTGRES})
    assert settings.read(config.environment).database_url == POSTGRES
    assert "database_url: warning" in str(config.problems[0])


def test_reference_to_the_environments_database_url_is_not_reported(load_config):
    content = {"model_list": [MODEL], "general_settings": {"database_url": "os.environ/DATABASE_URL"}}
    assert load_config(content, {"DATABASE_URL": POSTGRES}).problems == ()
    [unset] = load_config(content).problems
    assert "DATABASE_URL is not set" in str(unset)


@pytest.mark.parametrize(
    ("written", "days"), [("30d", 30), ("12h", 0.5), ("1mo", 30), ("os.environ/KEEP", 7), ("86400", 1), (172800, 2)]
)
def test_spend_log_retention(load_config, written, days):
    content = {"model_list": [MODEL], "general_settings": {"maximum_spend_logs_retention_period": written}}
    config = load_config(content, {"KEEP": "7d"})
    assert settings.read(config.environment).spend_log_retention_days == pytest.approx(days)


def test_invalid_retention_is_reported_with_its_variable(warned):
    content = {"model_list": [MODEL], "general_settings": {"maximum_spend_logs_retention_period": "long"}}
    [said] = warned(content)
    assert "SPEND_LOG_RETENTION_DAYS" in said


@pytest.mark.parametrize(
    ("section", "content", "url"),
    [
        ("router_settings", {"redis_host": "r", "redis_port": 7000, "redis_password": "p"}, "redis://:p@r:7000"),
        ("router_settings", {"redis_host": "os.environ/RH", "redis_port": "os.environ/RP"}, "redis://r:1"),
        ("router_settings", {"redis_url": "rediss://r/1"}, "rediss://r/1"),
        ("router_settings", {"redis_host": "r", "redis_db": 3}, "redis://r:6379/3"),
        ("router_settings", {"redis_host": None, "redis_port": 1}, None),
        ("general_settings", {"coordination_redis": {"host": "r", "port": 1}}, "redis://r:1"),
    ],
)
def test_redis_may_be_set_in_the_file(load_config, section, content, url):
    config = load_config({"model_list": [MODEL], section: content}, {"RH": "r", "RP": "1"})
    assert redis_url(config.environment) == url


def test_environments_redis_overrides_the_files(load_config):
    content = {"model_list": [MODEL], "router_settings": {"redis_host": "r"}}
    assert redis_url(load_config(content, {"REDIS_URL": "redis://mine"}).environment) == "redis://mine"
