"""At the edge, the alarm of the ledger's object deletes the accounts of end users that nobody uses any more."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.conftest import StartEdge
from tests.edge.money import Money
from tests.fakes.server import FakeProvider
from tests.money import deployment, wait_for

WORKER = Path(__file__).parents[2] / "worker"
# The week, the hour and the lease, whose end the alarm waits for, are short enough for a test.
SHORTER = {
    "core/ledger/expiry.py": ("_FORGOTTEN_AFTER = 7 * periods.DAY", "_FORGOTTEN_AFTER = 0"),
    "edge/objects/ledger_upkeep.py": ("_TRIM_EVERY_MS = 3_600_000", "_TRIM_EVERY_MS = 1"),
    "edge/objects/ledger.py": ("LEASE_MS = 120_000", "LEASE_MS = 2_000"),
}


def shortened() -> dict[str, str]:
    found: dict[str, str] = {}
    for path, (long, short) in SHORTER.items():
        text = (WORKER / path).read_text()
        assert long in text
        found[path] = text.replace(long, short)
    return found


@pytest.fixture
def money(start_edge: StartEdge) -> Iterator[Money]:
    with FakeProvider() as provider:
        settings = {"litellm_settings": {"max_end_user_budget_id": "each"}}
        yield Money(start_edge({"model_list": [deployment(provider, "gpt")], **settings}, replaced=shortened()))


def end_users(money: Money) -> set[str]:
    (path,) = (path for path in money.edge.offline.directory.glob("storage/*Ledger/*.sqlite") if len(path.stem) == 64)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT id FROM ledger_accounts WHERE id LIKE 'end_user:%'")
        return {id.partition(":")[2] for (id,) in rows}


def test_the_alarm_deletes_accounts_whose_period_is_over(money: Money):
    money.admin("/budget/new", {"budget_id": "each", "max_budget": 1, "budget_duration": "1s"})
    assert money.ask(user="idle").status_code == 200
    assert end_users(money) == {"idle"}
    time.sleep(1.1)  # the period
    assert money.ask(user="new").status_code == 200
    wait_for(lambda: end_users(money), lambda found: "idle" not in found, 20)
    assert "new" in end_users(money)
