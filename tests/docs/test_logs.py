"""docs/logs.md names every event that the sources know, and its example is a line."""

import json
import re
from pathlib import Path

from tests.deploy.pages import Page, shell
from tests.log_lines import parsed
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "logs.md").read_text()
_CALL = re.compile(
    r"""\b(?:log\.(?:debug|info|warning|error)\(\s*|_?log\(\s*"\w+",\s*|_log\.write\(\s*[^,]+,\s*)f?"([a-z_]+)""", re.X
)


def events() -> set[str]:
    """Those that are written out; of names with a changing end their beginning."""
    sources = [*(ROOT / "container").rglob("*.py"), *(ROOT / "worker").rglob("*.py")]
    return {name for path in sources for name in _CALL.findall(path.read_text())}


def test_every_event_is_named():
    assert len(events()) > 50
    missing = [name for name in events() if f"`{name}`" not in PAGE and not (name.endswith("_") and f"`{name}" in PAGE)]
    assert not missing


def test_the_page_names_no_other():
    table = PAGE.split("## Events")[1]
    known = events()
    for name in re.findall(r"`([a-z_]+)`", table):
        assert name in known or any(one.endswith("_") and name.startswith(one) for one in known), name


def test_its_example_is_a_line():
    parsed(re.findall(r"```json\n(.*?)\n```", PAGE), "proxy")


def test_its_commands_add_up_a_keys_cost_and_find_refusals(tmp_path: Path):
    line = json.loads(re.findall(r"```json\n(.*?)\n```", PAGE)[0])
    refused = {**line, "status": 429, "error": "budget_exceeded", "cost": 0}
    lines = [line, {**line, "cost": 1e-6}, {**line, "key_alias": "bob"}, {**line, "cost": None}, refused]
    text = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in lines)
    (tmp_path / "proxy.log").write_text(text)
    total, found = shell(Page("logs").block("budget"), {}, {}, folder=tmp_path).splitlines()
    assert float(total) == 0.0000535
    assert json.loads(found) == refused
