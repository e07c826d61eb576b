"""docs/keys.md: its example of a config file is one. Its commands run in tests/admin."""

import re

from container.config.load import load
from dev.key_fields_table import with_table
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "keys.md").read_text()
MODELS = "model_list:\n  - {model_name: gpt-4o, litellm_params: {model: openai/x, mock_response: hi}}\n"


def test_its_example_declares_a_key(tmp_path):
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "litellm_config.yaml"
    path.write_text(MODELS + example)
    config = load(path, {"BOT_KEY": "sk-secret-of-bot"})
    assert config.problems == ()
    [key] = config.options.virtual_keys
    assert key.held is not None
    assert (key.held.alias, key.held.columns["max_budget"]) == ("bot", 10 * 10**9)


def test_its_table_of_fields_is_up_to_date():
    assert with_table(PAGE) == PAGE, "run: python -m dev.key_fields_table"
