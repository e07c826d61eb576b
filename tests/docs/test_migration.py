"""docs/migration.md: its command reads a config of LiteLLM's and says what it will not do here."""

import re
import sys
from pathlib import Path

from tests.deploy.pages import Page, shell

CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
general_settings:
  store_model_in_db: true
"""


def test_its_command_names_the_line_that_does_nothing_here(tmp_path: Path):
    (tmp_path / "litellm_config.yaml").write_text(CONFIG)
    replaced = {"litellm-router check": f"{Path(sys.executable).with_name('litellm-router')} check"}
    script = "exec 2>&1\n" + Page("migration").block("litellm-router check")
    printed = shell(script, replaced, {"OPENAI_API_KEY": "sk-none"}, tmp_path)
    assert re.search(r"litellm_config.yaml:5.*store_model_in_db", printed)
