"""Runs the command in docs/migration.md and compares the page's tables with the code."""

import re
import sys
from pathlib import Path

import pytest

from container.config import foreign_settings
from tests.deploy.pages import Page, shell
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "migration.md").read_text()

CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
general_settings:
  store_model_in_db: true
"""


def test_check_reports_the_line_of_a_setting_without_effect(tmp_path: Path):
    (tmp_path / "litellm_config.yaml").write_text(CONFIG)
    replaced = {"litellm-router check": f"{Path(sys.executable).with_name('litellm-router')} check"}
    script = "exec 2>&1\n" + Page("migration").block("litellm-router check")
    printed = shell(script, replaced, {"OPENAI_API_KEY": "sk-none"}, tmp_path)
    assert re.search(r"litellm_config.yaml:5.*store_model_in_db", printed)


def rows(name: str) -> dict[str, tuple[str, ...]]:
    """The table rows between two markers, by the code in their first column."""
    part = PAGE.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in re.findall(r"^\|.*\|$", part, re.M)
    ]
    return {row[0].strip("`"): tuple(row[1:]) for row in cells if row[0].startswith("`")}


def test_page_lists_every_setting_without_effect():
    families = {f"{name}…": text for name, text in foreign_settings.FAMILIES}
    expected = {**foreign_settings.INSTEAD, **families, **foreign_settings.SECTIONS, **foreign_settings.HARMLESS}
    assert {name: cells[0] for name, cells in rows("settings").items()} == expected


def test_page_lists_every_setting_that_stops_the_start():
    expected = {**foreign_settings.STOPS, **foreign_settings.OTHER_AUTHENTICATION}
    assert rows("stops") == {name: (f"it {stop.lost}", stop.mend) for name, stop in expected.items()}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (foreign_settings.INSTEAD, "settings, in any section"),
        (foreign_settings.FAMILIES, "prefixes have no effect"),
        (foreign_settings.SECTIONS, "sections have no effect"),
        (foreign_settings.HARMLESS, "settings need no replacement"),
        (foreign_settings.STOPS, "settings |"),
        (foreign_settings.OTHER_AUTHENTICATION, "settings, without a master key"),
    ],
    ids=["instead", "families", "sections", "harmless", "stops", "authentication"],
)
def test_page_states_the_number_of_settings(table, words):
    assert f"{len(table)} {words}" in PAGE
