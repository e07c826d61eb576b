"""The key admin API, on every store."""

import functools
import hashlib
from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import NOON, Ledger, query
from worker.core.ledger import key_admin, keys
from worker.core.ledger.accounts import Policy
from worker.core.ledger.administration import decide
from worker.core.ledger.admit import authenticate
from worker.core.ledger.decision import Decision
from worker.core.values import money, periods

DAY = periods.DAY


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def do(ledger: Ledger, decision: Decision) -> dict[str, Any]:
    """Runs a call that must succeed and returns its body."""
    result = await ledger.store.run(decision)
    assert result["ok"], result
    return result["body"]


async def test_a_secret_is_shown_once_and_never_stored(ledger: Ledger) -> None:
    made = await do(ledger, key_admin.generate(ledger.store.dialect, {"key_alias": "bot"}, NOON))
    assert made["key"].startswith("sk-")
    assert len(made["key"]) == 3 + 43
    assert made["token"] == hashlib.sha256(made["key"].encode()).hexdigest()
    assert made["key_name"] == f"sk-...{made['key'][-4:]}"
    assert "key" not in await ledger.info(made["key"])
    for table in ("keys", "secrets", "accounts"):
        assert made["key"] not in repr(await query(ledger.store, f"SELECT * FROM ledger_{table}"))
    assert made["key"] != (await do(ledger, key_admin.generate(ledger.store.dialect, {}, NOON)))["key"]


async def test_fields_are_shown_as_set(ledger: Ledger) -> None:
    fields = {
        "key_alias": "bot",
        "user_id": "ada",
        "models": ["gpt-4o", "claude-*"],
        "metadata": {"team": "a"},
        "tags": ["team:a", "Zürich 東京"],
        "max_budget": 12.5,
        "soft_budget": 10,
        "budget_duration": "30d",
        "rpm_limit": 60,
        "tpm_limit": 1000,
        "max_parallel_requests": 3,
    }
    key = await ledger.key(**fields, duration="1d")
    info = await ledger.info(key)
    assert {name: info[name] for name in fields} == fields
    assert info["expires"] == "2026-11-21T12:00:30.000Z"
    assert info["budget_reset_at"] == "2026-12-01T00:00:00.000Z"
    assert info["spend"] == 0
    by_token = await do(ledger, key_admin.info(info["token"], NOON))
    assert by_token == {"key": info["token"], "info": info}


async def test_the_largest_budget_and_a_non_ascii_alias(ledger: Ledger) -> None:
    fields = {"key_alias": "Zürich 東京", "max_budget": money.MAX_USD}
    info = await ledger.info(await ledger.key(**fields))
    assert {name: info[name] for name in fields} == fields


async def test_a_caller_can_choose_the_secret(ledger: Ledger) -> None:
    assert await ledger.key(key="sk-my-own-key") == "sk-my-own-key"
    assert (await ledger.admit("sk-my-own-key"))["ok"]
    again = await ledger.store.run(key_admin.generate(ledger.store.dialect, {"key": "sk-my-own-key"}, NOON))
    assert (again["status"], again["param"]) == (400, "key")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"key": "my-own-key"}, "key"),
        ({"key": "sk-1"}, "key"),
        ({"key": "sk-wïth-accents"}, "key"),
        ({"max_budget": "10"}, "max_budget"),
        ({"max_budget": -1}, "max_budget"),
        ({"max_budget": True}, "max_budget"),
        ({"max_budget": float("nan")}, "max_budget"),
        ({"max_budget": 1, "soft_budget": 2}, "soft_budget"),
        ({"budget_duration": "1y"}, "budget_duration"),
        ({"rpm_limit": 1.5}, "rpm_limit"),
        ({"tpm_limit": -1}, "tpm_limit"),
        ({"max_parallel_requests": 2**60}, "max_parallel_requests"),
        ({"models": "gpt-4o"}, "models"),
        ({"models": [""]}, "models"),
        ({"metadata": []}, "metadata"),
        ({"tags": "team:a"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"tags": ["a\nb"]}, "tags"),
        ({"tags": ["t" * 101]}, "tags"),
        ({"tags": [f"{n}" for n in range(21)]}, "tags"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"metadata": {"a": functools.reduce(lambda inner, _: [inner], range(40), 1)}}, "metadata"),
        ({"models": ["m" * 100 for _ in range(400)]}, "models"),
        ({"key_alias": ""}, "key_alias"),
        ({"key_alias": "a\nb"}, "key_alias"),
        ({"key_alias": "a\u202eb"}, "key_alias"),
        ({"max_budget": money.MAX_USD + 0.1}, "max_budget"),
        ({"blocked": "yes"}, "blocked"),
        ({"duration": 30}, "duration"),
        ({"team_id": ["red"]}, "team_id"),
    ],
)
async def test_an_invalid_field_is_named_and_no_key_is_created(ledger: Ledger, fields: dict, param: str) -> None:
    result = await ledger.store.run(key_admin.generate(ledger.store.dialect, fields, NOON))
    assert (result["status"], result["type"], result["param"]) == (400, "invalid_request_error", param)
    assert (await query(ledger.store, "SELECT COUNT(*) FROM ledger_keys"))[0][0] == 0


@pytest.mark.parametrize("body", [None, [], "x", 1])
async def test_a_body_that_is_not_an_object_is_refused(ledger: Ledger, body: Any) -> None:
    assert (await ledger.store.run(key_admin.generate(ledger.store.dialect, body, NOON)))["status"] == 400


async def test_empty_litellm_fields_are_accepted(ledger: Ledger) -> None:
    await ledger.key(team_id=None, aliases={}, config={}, permissions={}, guardrails=[], send_invite_email=False)


async def test_an_alias_is_unique(ledger: Ledger) -> None:
    await ledger.key(key_alias="bot")
    key = await ledger.key()
    taken = await ledger.store.run(key_admin.generate(ledger.store.dialect, {"key_alias": "bot"}, NOON))
    assert (taken["status"], taken["param"]) == (400, "key_alias")
    update = key_admin.update(ledger.store.dialect, {"key": key, "key_alias": "bot"}, NOON)
    assert (await ledger.store.run(update))["param"] == "key_alias"


async def test_an_update_changes_only_the_named_fields_at_once(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1, rpm_limit=5, models=["a"])
    assert not (await ledger.admit(key, model="b"))["ok"]
    body = {"key": key, "models": ["b"], "rpm_limit": None, "user_id": "ada"}
    changed = await do(ledger, key_admin.update(ledger.store.dialect, body, NOON))
    assert (changed["models"], changed["rpm_limit"], changed["max_budget"]) == (["b"], None, 1)
    assert (await ledger.admit(key, model="b"))["user_id"] == "ada"
    refused = await ledger.store.run(key_admin.update(ledger.store.dialect, {"key": key, "soft_budget": 2}, NOON))
    assert refused["param"] == "soft_budget"
    missing = await ledger.store.run(key_admin.update(ledger.store.dialect, {"key": "sk-unknown"}, NOON))
    assert missing["status"] == 404


@pytest.mark.parametrize(
    ("stored", "change"),
    [
        ({"max_budget": 1}, {"soft_budget": 2}),
        ({"soft_budget": 2}, {"max_budget": 1}),
        ({"max_budget": 3, "soft_budget": 2}, {"max_budget": 1}),
        ({"max_budget": 3, "soft_budget": 2}, {"soft_budget": 4}),
        ({}, {"soft_budget": 2, "max_budget": 1}),
    ],
)
@pytest.mark.parametrize("path", ["/key/update", "/key/{key}/regenerate"])
async def test_a_soft_budget_above_the_stored_budget_is_refused(
    ledger: Ledger, path: str, stored: dict[str, Any], change: dict[str, Any]
) -> None:
    key = await ledger.key(**stored)
    dialect = ledger.store.dialect
    if path == "/key/update":
        decision = key_admin.update(dialect, {"key": key, **change}, NOON)
    else:
        decision = key_admin.regenerate(dialect, key, change, NOON)
    refused = await ledger.store.run(decision)
    assert (refused["ok"], refused.get("status"), refused.get("param")) == (False, 400, "soft_budget")
    shown = await ledger.info(key)  # the secret still works
    assert (shown["max_budget"], shown["soft_budget"]) == (stored.get("max_budget"), stored.get("soft_budget"))


async def test_a_key_with_inconsistent_budgets_can_be_regenerated(ledger: Ledger) -> None:
    """An earlier version stored such keys. The check runs only when one of the two budgets changes."""
    key = await ledger.key(key_alias="old", max_budget=3, soft_budget=2)
    await query(ledger.store, "UPDATE ledger_keys SET max_budget = 1 WHERE alias = 'old' RETURNING id")
    made = await do(ledger, key_admin.regenerate(ledger.store.dialect, key, {"rpm_limit": 5}, NOON))
    assert made["rpm_limit"] == 5


async def test_a_blocked_key_is_refused_on_the_next_request(ledger: Ledger) -> None:
    key = await ledger.key()
    assert (await ledger.admit(key))["ok"]
    assert (await do(ledger, key_admin.block(ledger.store.dialect, {"key": key}, NOON)))["blocked"] is True
    refused = await ledger.admit(key)
    assert (refused["status"], refused["type"], refused["code"]) == (401, "authentication_error", "invalid_api_key")
    await do(ledger, key_admin.unblock(ledger.store.dialect, {"key": key}, NOON))
    assert (await ledger.admit(key))["ok"]


async def test_an_expired_key_is_refused(ledger: Ledger) -> None:
    key = await ledger.key(duration="1h")
    ledger.now += periods.HOUR - 1
    assert (await ledger.admit(key))["ok"]
    ledger.now += 1
    assert (await ledger.admit(key))["message"] == "This API key is not valid here."
    found = await ledger.store.run(authenticate(keys.hash_secret(key), ledger.now))
    assert found["status"] == 401


async def test_a_regenerated_key_works_with_both_secrets_and_then_only_the_new_one(ledger: Ledger) -> None:
    old = await ledger.key(key_alias="bot", max_budget=1)
    settled = await ledger.admit(old, 1000)
    await ledger.settle(settled["reservation"], 700)
    body = {"grace_period": "1h", "rpm_limit": 100}
    made = await do(ledger, key_admin.regenerate(ledger.store.dialect, old, body, NOON))
    new = made["key"]
    assert (made["key_alias"], made["max_budget"], made["rpm_limit"]) == ("bot", 1, 100)
    assert made["spend"] == 700e-9
    ledger.now += periods.HOUR - 1
    assert (await ledger.admit(old))["key_id"] == (await ledger.admit(new))["key_id"]
    ledger.now += 1
    assert (await ledger.admit(old))["status"] == 401
    assert (await ledger.admit(new))["ok"]


async def test_without_a_grace_period_the_old_secret_is_revoked_at_once(ledger: Ledger) -> None:
    old = await ledger.key()
    regenerate = key_admin.regenerate(ledger.store.dialect, keys.hash_secret(old), {"new_key": "sk-the-new-one"}, NOON)
    assert (await do(ledger, regenerate))["key"] == "sk-the-new-one"
    assert (await ledger.admit(old))["status"] == 401
    assert (await ledger.admit("sk-the-new-one"))["ok"]


async def test_each_old_secret_keeps_its_own_expiry(ledger: Ledger) -> None:
    first = await ledger.key()
    dialect = ledger.store.dialect
    second = (await do(ledger, key_admin.regenerate(dialect, first, {"grace_period": "1h"}, NOON)))["key"]
    third = (await do(ledger, key_admin.regenerate(dialect, second, {"grace_period": "2h"}, NOON)))["key"]
    ledger.now += periods.HOUR
    assert [(await ledger.admit(k))["ok"] for k in (first, second, third)] == [False, True, True]
    await do(ledger, key_admin.regenerate(dialect, third, {}, ledger.now))
    assert [(await ledger.admit(k))["ok"] for k in (first, second, third)] == [False, False, False]


async def test_a_deleted_key_is_gone_and_its_spend_remains(ledger: Ledger) -> None:
    key, other = await ledger.key(key_alias="bot"), await ledger.key()
    running = await ledger.admit(key, 1000)
    missing = await ledger.store.run(key_admin.delete(ledger.store.dialect, {"keys": [key, "sk-unknown"]}))
    assert missing["status"] == 404
    assert (await ledger.admit(key))["ok"]
    # Identified by their tokens: a secret is shown only when it is created.
    assert await do(ledger, key_admin.delete(ledger.store.dialect, {"keys": [key]})) == {
        "deleted_keys": [keys.hash_secret(key)]
    }
    assert (await ledger.admit(key))["status"] == 401
    assert await ledger.settle(running["reservation"], 400) == "settled"
    accounts = await query(ledger.store, "SELECT total FROM ledger_accounts WHERE total > 0 ORDER BY id")
    assert accounts == [(400,), (400,)]
    assert (await ledger.admit(other))["ok"]


async def test_a_key_is_deleted_by_its_alias(ledger: Ledger) -> None:
    key = await ledger.key(key_alias="bot")
    assert await do(ledger, key_admin.delete(ledger.store.dialect, {"key_aliases": ["bot"]})) == {
        "deleted_keys": ["bot"]
    }
    assert (await ledger.admit(key))["status"] == 401


async def test_keys_and_aliases_are_deleted_together_or_not_at_all(ledger: Ledger) -> None:
    bot, other = await ledger.key(key_alias="bot"), await ledger.key(key_alias="other")
    token = keys.hash_secret(other)
    for body, param in (
        ({"keys": [other], "key_aliases": ["nobody"]}, "key_aliases"),
        ({"keys": ["sk-nobody"], "key_aliases": ["bot"]}, "keys"),
    ):
        missing = await ledger.store.run(key_admin.delete(ledger.store.dialect, body))
        assert (missing["status"], missing["param"]) == (404, param)
    assert [(await ledger.admit(key))["ok"] for key in (bot, other)] == [True, True]
    both = {"keys": [other, token], "key_aliases": ["bot", "other"]}
    assert await do(ledger, key_admin.delete(ledger.store.dialect, both)) == {"deleted_keys": [token, "bot", "other"]}
    assert [(await ledger.admit(key))["status"] for key in (bot, other)] == [401, 401]


async def test_an_unknown_field_blocks_and_deletes_nothing(ledger: Ledger) -> None:
    key = await ledger.key(key_alias="bot")
    dialect = ledger.store.dialect
    for more in ({"nope": 1}, {"max_budget": 1}, {"nope": 0}):
        for decision in (
            key_admin.block(dialect, {"key": key, **more}, NOON),
            key_admin.unblock(dialect, {"key": key, **more}, NOON),
            key_admin.delete(dialect, {"keys": [key], **more}),
            key_admin.delete(dialect, {"key_aliases": ["bot"], **more}),
        ):
            refused = await ledger.store.run(decision)
            assert (refused["status"], [refused["param"]]) == (400, list(more))
    assert (await ledger.admit(key))["ok"]
    await do(ledger, key_admin.block(dialect, {"key": key, "team_id": None}, NOON))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"keys": []},
        {"keys": "sk-x"},
        {"keys": [1]},
        {"keys": ["x"] * 51},
        {"keys": ["x"], "key_aliases": ["y"] * 51},
        {"key_aliases": "bot"},
    ],
)
async def test_a_deletion_without_keys_is_refused(ledger: Ledger, body: dict) -> None:
    assert (await ledger.store.run(key_admin.delete(ledger.store.dialect, body)))["status"] == 400


async def test_the_list_is_paged_newest_first(ledger: Ledger) -> None:
    made = []
    for index in range(5):
        made.append(
            await do(ledger, key_admin.generate(ledger.store.dialect, {"key_alias": f"bot-{index}"}, NOON + index))
        )
    first = await do(ledger, key_admin.list_keys(1, 2, NOON, full=True))
    assert [k["key_alias"] for k in first["keys"]] == ["bot-4", "bot-3"]
    assert (first["total_count"], first["current_page"], first["total_pages"]) == (5, 1, 3)
    last = await do(ledger, key_admin.list_keys(3, 2, NOON))
    assert last["keys"] == [made[0]["token"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["late", "shut", "ada-2", "ada-1"]),
        ({"user_id": "ada"}, ["ada-2", "ada-1"]),
        ({"user_id": "a"}, []),
        ({"key_alias": "ada-2"}, ["ada-2"]),
        ({"key_hash": "sk-secret-of-ada"}, ["ada-1"]),
        ({"key_hash": hashlib.sha256(b"sk-secret-of-ada").hexdigest(), "user_id": "ada"}, ["ada-1"]),
        ({"key_hash": "sk-unknown"}, []),
        ({"search": "DA-"}, ["ada-2", "ada-1"]),
        ({"search": "ada", "status": "active", "key_alias": "ada-1"}, ["ada-1"]),
        ({"search": "sk-secret-of-ada"}, ["ada-1"]),
        ({"search": "...-ada"}, ["ada-1"]),
        ({"search": hashlib.sha256(b"sk-secret-of-ada").hexdigest()}, ["ada-1"]),
        ({"search": "sk-secret"}, []),
        ({"search": "%"}, []),
        ({"search": "a_a"}, []),
        ({"search": "it's"}, []),
        ({"status": "active"}, ["ada-2", "ada-1"]),
        ({"status": "expired"}, ["late"]),
        ({"status": "revoked"}, ["shut"]),
        ({"status": "active", "size": "1", "page": "2"}, ["ada-1"]),
    ],
)
async def test_the_list_is_filtered(ledger: Ledger, query: dict[str, str], found: list[str]) -> None:
    for index, fields in enumerate(
        [
            {"key_alias": "ada-1", "user_id": "ada", "key": "sk-secret-of-ada"},
            {"key_alias": "ada-2", "user_id": "ada"},
            {"key_alias": "shut", "blocked": True},
            {"key_alias": "late", "duration": "1s"},
        ]
    ):
        await do(ledger, key_admin.generate(ledger.store.dialect, fields, NOON + index))
    call = {"name": "key_list", "key": None, "query": {"return_full_object": "true", **query}, "body": None}
    body = await do(ledger, decide(ledger.store.dialect, Policy(), call, NOON + DAY))
    assert [key["key_alias"] for key in body["keys"]] == found
    assert body["total_count"] == (2 if "page" in query else len(found))


@pytest.mark.parametrize(
    ("models", "model", "allowed"),
    [
        ([], "anything", True),
        (["gpt-4o"], "gpt-4o", True),
        (["gpt-4o"], "gpt-4o-mini", False),
        (["gpt-*"], "gpt-4o-mini", True),
        (["azure/*"], "azure/gpt-4o", True),
        (["azure/*"], "openai/azure/gpt", False),
        (["*"], "x\ny", True),
        (["a.b"], "aXb", False),
        (["all-proxy-models"], "gpt-4o", True),
    ],
)
async def test_a_key_may_use_only_its_models(ledger: Ledger, models: list[str], model: str, allowed: bool) -> None:
    key = await ledger.key(models=models)
    result = await ledger.admit(key, model=model)
    assert result["ok"] is allowed
    if not allowed:
        assert (result["status"], result["type"], result["param"]) == (403, "permission_error", "model")
