"""docs/accounts.md: its example of a config file is one. Its commands run in tests/admin."""

import re

from container.config.load import load
from tests.processes import ROOT
from worker.core.ledger.declared import SECTIONS

PAGE = (ROOT / "docs" / "accounts.md").read_text()
MODELS = "model_list:\n" + "".join(
    f"  - {{model_name: {name}, litellm_params: {{model: openai/x, mock_response: hi}}}}\n"
    for name in ("gpt-4o", "gpt-4o-mini")
)


def test_its_example_declares_every_kind(tmp_path):
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "litellm_config.yaml"
    path.write_text(MODELS + example)
    config = load(path, {"RESEARCH_KEY": "sk-secret-of-research"})
    assert config.problems == ()
    assert [one.section for one in config.options.owners] == list(SECTIONS)
    assert config.options.virtual_keys[0].held is not None
