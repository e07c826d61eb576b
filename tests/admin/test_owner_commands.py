"""The commands `litellm-router teams`, `users`, `customers`, `tags` and `budgets`, and those of docs/accounts.md."""

import json
import re
import shlex

import pytest

from container.cli.admin import NOUNS
from tests.admin.conftest import Gateway
from tests.admin.test_commands import Run, run
from tests.processes import ROOT

__all__ = ["run"]
PAGE = (ROOT / "docs" / "accounts.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("litellm-router ")]


@pytest.mark.parametrize("noun", NOUNS, ids=[noun.words for noun in NOUNS])
async def test_create_list_update_and_delete(gateway: Gateway, run: Run, noun):
    none = await run(noun.words)
    assert (none.code, "create" in none.out) == (0, True)
    made = await run(noun.words, "create", "a:1", "--max-budget", "2.5", "--budget-duration", "1d", "--rpm", "3")
    assert made.code == 0
    assert re.search(r"max_budget +\$2\.50", made.out)
    listed = await run(noun.words, "list")
    assert re.search(r"a:1.*\$2\.50", listed.out)
    changed = await run(noun.words, "update", "a:1", "--unset", "max_budget", "--tpm", "9", "--json")
    row = json.loads(changed.out)
    assert (row["max_budget"], row["tpm_limit"], row["rpm_limit"]) == (None, 9, 3)
    shown = await run(noun.words, "info", "a:1")
    assert re.search(r"tpm_limit +9", shown.out)
    deleted = await run(noun.words, "delete", "a:1")
    assert (deleted.code, "a:1" in deleted.out) == (0, True)
    again = await run(noun.words, "update", "a:1", "--tpm", "9")
    assert (again.code, again.out) == (1, "")
    assert (await run(noun.words, "info", "a:1")).code == 1
    assert (await gateway.get(f"{noun.path}/list?page=1"))["total"] == 0


async def test_a_list_is_complete_whatever_its_length(gateway: Gateway, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("container.cli.admin._PAGE", 2)
    for n in range(5):
        await gateway.post("/tag/new", {"name": f"t{n}"})
    assert len(json.loads((await run("tags", "list", "--json")).out)) == 5
    assert len(json.loads((await run("tags", "list", "--json", "--search", "T3")).out)) == 1


async def test_members_and_blocking(gateway: Gateway, run: Run):
    await run("teams", "create", "blue")
    assert "ada (admin)" in (await run("teams", "add-member", "blue", "ada", "--role", "admin")).out
    assert (await run("teams", "add-member", "blue", "ada")).code == 1
    assert "nobody" in (await run("teams", "remove-member", "blue", "ada")).out
    for nouns in ("teams", "customers"):
        assert "blocked" in (await run(nouns, "block", "blue")).out
        assert "unblocked" in (await run(nouns, "unblock", "blue")).out
    await gateway.post("/key/generate", {"team_id": "blue"})
    assert "and 1 key" in (await run("teams", "delete", "blue")).out


@pytest.mark.parametrize(
    "arguments",
    [
        ("teams", "update", "blue"),
        ("teams", "update", "blue", "--rpm", "3", "--unset", "rpm_limit"),
        ("teams", "update", "blue", "--unset", "keys"),
        ("teams", "create", ""),
        ("users", "create", "ada", "--max-budget", "much"),
        ("customers", "create", "c", "--models", "gpt"),
        ("tags", "block", "t"),
    ],
)
async def test_wrong_usage_changes_nothing(gateway: Gateway, run: Run, arguments: tuple[str, ...]):
    with pytest.raises(SystemExit) as caught:
        await run(*arguments)
    assert caught.value.code == 2


async def test_the_commands_of_the_page_work(gateway: Gateway, run: Run):
    assert len(COMMANDS) >= 8
    for line in COMMANDS:
        done = await run(*shlex.split(line, comments=True)[1:])
        assert done.code == 0, (line, done.err)
