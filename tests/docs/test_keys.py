"""docs/keys.md: its example of a config file is one. Its commands run in tests/admin."""

import re

import httpx
import yaml

from container.config.load import load
from dev.key_fields_table import with_table
from tests.fakes.server import FakeProvider
from tests.money import chat
from tests.processes import ROOT, StartProxy

PAGE = (ROOT / "docs" / "keys.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
MODELS = "model_list:\n  - {model_name: gpt-4o, litellm_params: {model: openai/x, mock_response: hi}}\n"


def test_its_example_declares_a_key(tmp_path):
    example = EXAMPLES[0]
    path = tmp_path / "litellm_config.yaml"
    path.write_text(MODELS + example)
    config = load(path, {"BOT_KEY": "sk-secret-of-bot"})
    assert config.problems == ()
    [key] = config.options.virtual_keys
    assert key.held is not None
    assert (key.held.alias, key.held.columns["max_budget"]) == ("bot", 10 * 10**9)


def test_its_table_of_fields_is_up_to_date():
    assert with_table(PAGE) == PAGE, "run: python -m dev.key_fields_table"


def test_each_virtual_key_of_its_example_uses_its_own_provider_key(proxy: StartProxy, fake: FakeProvider):
    teams = ("research", "sales")
    environment = {"OPENAI_BASE_URL": fake.openai_base}
    for team in teams:
        environment |= {
            f"{team.upper()}_KEY": f"sk-virtual-{team}",
            f"{team.upper()}_OPENAI_KEY": f"sk-provider-{team}",
        }
    gateway = proxy(yaml.safe_load(EXAMPLES[1]), environment=environment)

    def ask(team: str, model: str) -> int:
        headers = {"authorization": f"Bearer sk-virtual-{team}"}
        return httpx.post(f"{gateway.url}/v1/chat/completions", json=chat(model), headers=headers).status_code

    for team, other in (teams, teams[::-1]):
        assert ask(team, f"{team}/gpt-4o") == 200
        assert (fake.last.api_key, fake.last.model) == (f"sk-provider-{team}", "gpt-4o")
        asked = len(fake.requests)
        assert ask(team, f"{other}/gpt-4o") == 403
        assert len(fake.requests) == asked
