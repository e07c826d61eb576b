"""docs/configuration.md names every setting, and its example is one."""

import dataclasses
import re

import pytest

from container.config.load import Options, load
from container.config.observability import CALLBACKS
from container.proxy.startup import DEFAULT_PATH
from container.server.settings import VARIABLES, Variable
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text()
# Fields that settings of another name fill.
FILLED_BY = {
    "response_cache": "cache",
    "user_headers": "user_header_name",
    "deployment_budgets": "provider_budget_config",
    "from_environment": "os.environ/NAME",
    "variables": "os.environ/NAME",
    "latency_ttl": "ttl",
    "engine_settings": "callbacks",
    "engine_reason": "callbacks",
    "engine_sections": "guardrails",
    "hidden_aliases": "model_group_alias",
    "tag_filtering": "enable_tag_filtering",
    "budgets_unset": "os.environ/NAME",
    "slack_alerts": "alerting",
    "jwt_auth": "litellm_jwtauth",
    "owners": "teams",
}
# Where the variable's own default is worked out elsewhere, or shares its row with others.
DEFAULTS = {"LITELLM_PORT": "4000", "REDIS_PORT": "", "LEDGER_PATH": DEFAULT_PATH, "PUBLIC_MODELS": "off"}


@pytest.mark.parametrize("name", [v.name for v in VARIABLES])
def test_every_variable_is_named(name):
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Options)])
def test_every_option_is_named(name):
    assert f"`{FILLED_BY.get(name, name)}`" in PAGE


def test_defaults_are_as_it_says():
    options = Options()
    section = PAGE.split("### `router_settings`")[1].split("###")[0]
    for name in ("num_retries", "max_fallbacks", "allowed_fails", "cooldown_time", "timeout"):
        row = next(line for line in section.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1])
        assert f"{getattr(options, name):g}" in row.split("|")[2], row


def test_its_example_is_a_config(tmp_path):
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    path = tmp_path / "litellm_config.yaml"
    path.write_text(example)
    config = load(path, {})
    assert list(config.groups) == ["claude-sonnet", "gpt-4o", "azure/*", "mock"]
    assert config.problems == ()


def written(default) -> str:
    """As the page's tables write it."""
    match default:
        case None | ():
            return ""
        case bool():
            return "on" if default else "off"
        case int() | float():
            return f"{default:g}"
    return str(default)


# OTEL_* share rows by twos, with the defaults that their specification has.
@pytest.mark.parametrize(
    "variable", [v for v in VARIABLES if not v.name.startswith("OTEL_")], ids=lambda variable: variable.name
)
def test_each_variable_has_the_default_that_it_says(variable: Variable):
    table = PAGE.split("| variable | default | meaning |")[1].split("At the edge the Worker")[0]
    [cells] = [
        row.split("|") for row in table.splitlines() if f"`{variable.name}`" in row.partition("|")[2].split("|")[0]
    ]
    assert cells[2].strip().strip("`") == DEFAULTS.get(variable.name, written(variable.default))


def test_the_callbacks_are_named_with_their_variables():
    section = PAGE.split("### Callbacks")[1].split("###")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert {name: tuple(re.findall(r"`(\w+)`", variables)) for name, variables in rows} == {
        name: callback.variables for name, callback in CALLBACKS.items()
    }
