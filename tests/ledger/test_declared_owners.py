"""Budgets, teams, users, end users and tags declared in the config file, on every store."""

import asyncio
from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import NOON, Ledger, query
from worker.core.ledger import declared, owner_admin, owner_views
from worker.core.ledger.owners import OF_KIND
from worker.core.values.fields import FieldError

BLUE = ("teams", {"team_id": "blue", "max_budget": 2, "members_with_roles": [{"user_id": "ada", "role": "admin"}]})


class File(Ledger):
    """A ledger, and restarts with a config file."""

    async def start(self, *entries: tuple[str, dict[str, Any]]) -> tuple[int, int, int]:
        """Returns how many rows were made, changed and are gone."""
        found = [declared.parse_owner(section, fields) for section, fields in entries]
        result = await self.store.run(declared.sync_declared(self.store.dialect, found, self.now))
        return result["owners"]["made"], result["owners"]["changed"], result["owners"]["gone"]

    async def row(self, kind: str, id: str) -> Any:
        """Returns the row as it is shown, None if there is none."""
        found = await self.store.run(owner_views.list_owners(OF_KIND[kind], 1, 10, self.now))
        rows = found["body"][OF_KIND[kind].words]
        return next((one for one in rows if one[OF_KIND[kind].id] == id), None)


@pytest.fixture
def file(store: Store) -> File:
    return File(store)


async def test_rows_are_made_once_and_have_the_declared_fields(file: File) -> None:
    entries = (
        ("tags", {"name": "job", "max_budget": 1, "budget_duration": "1d"}),
        ("customers", {"user_id": "c", "budget_id": "free"}),
        BLUE,
        ("users", {"user_id": "ada", "user_email": "ada@example.com", "user_role": "proxy_admin"}),
        ("budgets", {"budget_id": "free", "rpm_limit": 3}),
    )
    assert await file.start(*entries) == (5, 0, 0)
    blue = await file.row("team", "blue")
    assert (blue["max_budget"], blue["declared"]) == (2, True)
    assert blue["members_with_roles"] == [{"user_id": "ada", "role": "admin", "user_email": "ada@example.com"}]
    assert (await file.row("end_user", "c"))["litellm_budget_table"]["rpm_limit"] == 3
    assert (await file.row("user", "ada"))["user_role"] == "proxy_admin"
    assert (await file.row("tag", "job"))["budget_reset_at"] == "2026-11-21T00:00:00.000Z"
    assert await file.start(*entries) == (0, 0, 0)


async def test_a_changed_field_applies_and_a_removed_field_is_unset(file: File) -> None:
    await file.start(BLUE, ("budgets", {"budget_id": "free", "rpm_limit": 3, "tpm_limit": 4}))
    changed = ("teams", {"team_id": "blue", "rpm_limit": 7})
    assert await file.start(changed, ("budgets", {"budget_id": "free", "rpm_limit": 5})) == (0, 2, 0)
    blue = await file.row("team", "blue")
    assert (blue["max_budget"], blue["rpm_limit"], blue["members_with_roles"]) == (None, 7, [])
    assert await query(file.store, "SELECT rpm_limit, tpm_limit FROM ledger_budgets") == [(5, None)]


async def test_a_row_that_was_made_over_http_is_taken_over_with_its_counters(file: File) -> None:
    await file.owner("team:blue", max_budget=1)
    await query(file.store, "UPDATE ledger_accounts SET spent = 7, total = 7 WHERE id = 'team:blue'")
    assert await file.start(BLUE) == (0, 1, 0)
    blue = await file.row("team", "blue")
    assert (blue["declared"], blue["max_budget"], blue["total_spend"]) == (True, 2, 7e-9)


async def test_a_removed_team_or_user_is_blocked_and_comes_back(file: File) -> None:
    ada = ("users", {"user_id": "ada"})
    await file.start(BLUE, ada)
    assert await file.start() == (0, 0, 2)
    for kind, id in (("team", "blue"), ("user", "ada")):
        row = await file.row(kind, id)
        assert (row["blocked"], row["declared"]) == (True, False)
    assert await file.start() == (0, 0, 0)
    assert await file.start(BLUE, ada) == (0, 2, 0)
    assert (await file.row("team", "blue"))["blocked"] is False


async def test_an_operators_block_survives_a_restart_unless_the_file_says_otherwise(file: File) -> None:
    await file.start(BLUE)
    await file.store.run(owner_admin.block(file.store.dialect, OF_KIND["team"], {"team_id": "blue"}, True, NOON))
    await file.start(BLUE)
    assert (await file.row("team", "blue"))["blocked"] is True
    await file.start(("teams", {**BLUE[1], "blocked": False}))
    assert (await file.row("team", "blue"))["blocked"] is False


async def test_a_removed_end_user_or_tag_has_no_limits_any_more(file: File) -> None:
    await file.start(("customers", {"user_id": "c", "max_budget": 1}), ("tags", {"name": "job", "max_budget": 1}))
    assert await file.start() == (0, 0, 2)
    assert (await file.row("end_user", "c"), await file.row("tag", "job")) == (None, None)


async def test_a_removed_budget_stays_while_somebody_uses_it(file: File) -> None:
    free = ("budgets", {"budget_id": "free", "rpm_limit": 3})
    await file.start(free, ("budgets", {"budget_id": "idle"}))
    await file.owner("team:red", budget_id="free")
    await file.start()
    assert await query(file.store, "SELECT id, declared FROM ledger_budgets") == [("free", 0)]
    await file.start(free)
    await file.owner("team:red")
    await file.start()
    assert await query(file.store, "SELECT id FROM ledger_budgets") == []


async def test_what_was_made_over_http_is_left_alone(file: File) -> None:
    await file.owner("team:red", max_budget=5)
    await file.budget("own")
    await file.start(BLUE)
    await file.start()
    red = await file.row("team", "red")
    assert (red["max_budget"], red["blocked"]) == (5e-9, False)
    assert await query(file.store, "SELECT id FROM ledger_budgets") == [("own",)]


async def test_concurrent_starts_make_each_row_once(file: File) -> None:
    found = await asyncio.gather(*(file.start(BLUE) for _ in range(8)))
    assert sorted(found) == [(0, 0, 0)] * 7 + [(1, 0, 0)]


@pytest.mark.parametrize(
    ("section", "fields", "param"),
    [
        ("teams", {}, "team_id"),
        ("teams", {"team_id": "a\nb"}, "team_id"),
        ("teams", {"team_id": "t", "max_budget": -1}, "max_budget"),
        ("teams", {"team_id": "t", "max_budget": 1, "soft_budget": 2}, "soft_budget"),
        ("teams", {"team_id": "t", "guardrails": ["x"]}, "guardrails"),
        ("teams", {"team_id": "t", "members_with_roles": ["ada"]}, "members_with_roles"),
        ("teams", {"team_id": "t", "members_with_roles": [{"user_email": "a@b"}]}, "members_with_roles"),
        ("teams", {"team_id": "t", "members_with_roles": [{"user_id": "a", "role": "king"}]}, "members_with_roles"),
        ("users", {"user_id": "u", "user_role": "king"}, "user_role"),
        ("users", {"user_id": "u", "teams": ["t"]}, "teams"),
        ("customers", {"user_id": "u", "models": ["x"]}, "models"),
        ("tags", {"name": "t" * 101}, "name"),
        ("budgets", {"budget_id": None}, "budget_id"),
        ("budgets", {"budget_id": "b", "rpm_limit": "3"}, "rpm_limit"),
    ],
)
def test_an_invalid_field_is_named(section: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(FieldError) as caught:
        declared.parse_owner(section, fields)
    assert caught.value.param == param
