"""Keys declared in the config file, on every store."""

import asyncio
from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import NOON, Ledger, check_balance, query
from worker.core.ledger import declared, key_admin
from worker.core.ledger.admit import authenticate
from worker.core.ledger.keys import hash_secret
from worker.core.values import periods
from worker.core.values.fields import FieldError

BOT, CI, OTHER = "sk-secret-of-bot", "sk-secret-of-ci", "sk-another-secret"
DAY = periods.DAY


class File(Ledger):
    """A ledger, and restarts with a config file."""

    async def start(self, *entries: tuple[str, dict[str, Any]]) -> tuple[int, int, int]:
        """Returns how many keys were created, changed and blocked."""
        found = [declared.parse(fields, text) for text, fields in entries]
        result = await self.store.run(declared.sync_declared(self.store.dialect, found, self.now))
        return result["made"], result["changed"], result["blocked"]

    async def spend(self, key: str, amount: int) -> None:
        assert (await self.admit(key, amount, id="spent"))["ok"]
        assert await self.settle("spent", amount) == "settled"

    async def works(self, key: str) -> bool:
        return (await self.store.run(authenticate(hash_secret(key), self.now)))["ok"]


@pytest.fixture
def file(store: Store) -> File:
    return File(store)


async def test_a_key_is_created_once_and_has_the_declared_fields(file: File) -> None:
    fields = {"key_alias": "bot", "user_id": "ada", "models": ["gpt-*"], "max_budget": 1.5, "rpm_limit": 6}
    assert await file.start((BOT, fields)) == (1, 0, 0)
    info = await file.info(BOT)
    assert {name: info[name] for name in fields} == fields
    assert info["declared"] is True
    assert (await file.admit(BOT, 10, model="gpt-4o"))["ok"]
    assert await file.start((BOT, fields)) == (0, 0, 0)
    assert await file.info(BOT) == {**info, "reserved": 10e-9, "running_requests": 1}
    for table in ("keys", "secrets", "accounts"):
        assert BOT not in repr(await query(file.store, f"SELECT * FROM ledger_{table}"))


async def test_a_changed_field_applies_and_a_removed_field_is_unset(file: File) -> None:
    await file.start((BOT, {"key_alias": "bot", "max_budget": 1, "rpm_limit": 6}))
    await file.admit(BOT, 10)
    assert await file.start((BOT, {"key_alias": "bot", "max_budget": 0.000_000_015})) == (0, 1, 0)
    info = await file.info(BOT)
    assert (info["max_budget"], info["rpm_limit"], info["reserved"]) == (15e-9, None, 10e-9)
    assert (await file.admit(BOT, 6))["code"] == "budget_exceeded"
    await check_balance(file.store)


async def test_a_new_secret_keeps_the_counters_and_revokes_the_old_one(file: File) -> None:
    await file.start((BOT, {"key_alias": "bot"}))
    await file.spend(BOT, 7)
    assert await file.start((OTHER, {"key_alias": "bot"})) == (0, 1, 0)
    assert (await file.works(BOT), await file.works(OTHER)) == (False, True)
    assert (await file.info(OTHER))["spend"] == 7e-9


async def test_the_previous_secret_works_within_the_grace_period(file: File) -> None:
    await file.start((BOT, {"key_alias": "bot"}))
    entry = OTHER, {"key_alias": "bot", "grace_period": "1h"}
    await file.start(entry)
    assert (await file.works(BOT), await file.works(OTHER)) == (True, True)
    file.now += periods.HOUR - 1
    assert await file.start(entry) == (0, 0, 0), "a start does not lengthen it"
    assert await file.works(BOT)
    file.now += 1
    assert (await file.works(BOT), await file.works(OTHER)) == (False, True)


async def test_a_new_alias_keeps_the_key(file: File) -> None:
    await file.start((BOT, {"key_alias": "bot"}))
    before = await file.info(BOT)
    assert await file.start((BOT, {"key_alias": "robot"})) == (0, 1, 0)
    assert await file.info(BOT) == {**before, "key_alias": "robot"}
    assert await file.start((BOT, {})) == (0, 1, 0)
    assert (await file.info(BOT))["key_alias"] is None


async def test_two_keys_swap_aliases(file: File) -> None:
    await file.start((BOT, {"key_alias": "bot"}), (CI, {"key_alias": "ci"}))
    await file.spend(BOT, 7)
    assert await file.start((CI, {"key_alias": "bot"}), (BOT, {"key_alias": "ci"})) == (0, 2, 0)
    assert [(await file.info(key))["key_alias"] for key in (BOT, CI)] == ["ci", "bot"]
    assert [(await file.info(key))["spend"] for key in (BOT, CI)] == [0, 7e-9]
    assert await query(file.store, "SELECT COUNT(*) FROM ledger_secrets") == [(2,)]


async def test_a_key_removed_from_the_file_is_blocked_and_can_come_back(file: File) -> None:
    both = (BOT, {"key_alias": "bot"}), (CI, {})
    await file.start(*both)
    await file.spend(BOT, 7)
    assert await file.start() == (0, 0, 2)
    assert (await file.works(BOT), await file.works(CI)) == (False, False)
    assert (await file.info(BOT))["declared"] is False
    assert await file.start() == (0, 0, 0)
    assert await file.start(*both) == (0, 2, 0)
    assert (await file.works(BOT), await file.works(CI)) == (True, True)
    assert (await file.info(BOT))["spend"] == 7e-9


async def test_a_block_by_an_operator_survives_a_restart(file: File) -> None:
    entry = BOT, {"key_alias": "bot"}
    await file.start(entry)
    assert (await file.store.run(key_admin.block(file.store.dialect, {"key": BOT}, NOON)))["ok"]
    assert await file.start(entry) == (0, 0, 0)
    assert not await file.works(BOT)
    assert await file.start((BOT, {"key_alias": "bot", "blocked": False})) == (0, 1, 0)
    assert await file.works(BOT)


async def test_a_declared_key_can_only_be_blocked_over_http(file: File) -> None:
    await file.start((BOT, {"key_alias": "bot"}))
    store = file.store
    for refused in (
        key_admin.update(store.dialect, {"key": BOT, "max_budget": 5}, NOON),
        key_admin.regenerate(store.dialect, BOT, {}, NOON),
        key_admin.delete(store.dialect, {"keys": [BOT]}),
        key_admin.delete(store.dialect, {"key_aliases": ["bot"]}),
    ):
        result = await store.run(refused)
        assert result["status"] == 400
        assert "stands in the config file" in result["message"]
    assert await file.works(BOT)
    await file.start()
    assert (await store.run(key_admin.delete(store.dialect, {"key_aliases": ["bot"]})))["ok"]
    assert await query(store, "SELECT COUNT(*) FROM ledger_keys") == [(0,)]


async def test_keys_created_over_http_are_unchanged_unless_the_file_names_them(file: File) -> None:
    free = await file.key(key_alias="free", max_budget=3)
    await file.key(key=BOT, key_alias="made", max_budget=3)
    await file.key(key=CI, key_alias="ci", max_budget=3)
    assert await file.start((BOT, {"key_alias": "bot"}), (OTHER, {"key_alias": "ci"})) == (0, 2, 0)
    assert (await file.info(free))["max_budget"] == 3
    assert (await file.info(BOT))["key_alias"] == "bot"
    assert (await file.works(CI), await file.works(OTHER)) == (False, True)


async def test_a_duration_starts_when_the_key_is_created(file: File) -> None:
    entry = BOT, {"key_alias": "bot", "duration": "1d"}
    await file.start(entry)
    file.now += DAY - 1
    assert await file.start(entry) == (0, 0, 0)
    assert await file.works(BOT)
    file.now += 1
    assert not await file.works(BOT)


async def test_replicas_that_start_together_create_each_key_once(file: File) -> None:
    entries = [(f"sk-secret-{i}", {"key_alias": f"key-{i}"}) for i in range(20)]
    done = await asyncio.gather(*(file.start(*entries) for _ in range(4)))
    assert sorted(done) == [(0, 0, 0)] * 3 + [(20, 0, 0)]


@pytest.mark.parametrize(
    ("text", "fields", "param"),
    [
        ("sk-1", {}, "key"),
        ("no-prefix", {}, "key"),
        (BOT, {"max_budget": "ten"}, "max_budget"),
        (BOT, {"max_budgets": 10}, "max_budgets"),
        (BOT, {"grace_period": "soon"}, "grace_period"),
        (BOT, {"duration": "1 day"}, "duration"),
        (BOT, {"max_budget": 1, "soft_budget": 2}, "soft_budget"),
    ],
)
def test_an_invalid_declaration_is_named(text: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(FieldError) as refused:
        declared.parse(fields, text)
    assert refused.value.param == param
    assert text not in refused.value.message


def test_a_catalogs_keys_are_those_whose_variables_are_set() -> None:
    entries = [{"variable": "BOT_KEY", "fields": {"key_alias": "bot"}}, {"variable": "CI_KEY", "fields": {}}]
    assert declared.resolve(entries, {"BOT_KEY": BOT}.get) == [declared.parse({"key_alias": "bot"}, BOT)]
