"""Teams, users, end users and tags: a request draws on all of their accounts, and on no other."""

import json
from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import Ledger, check_balance, query
from worker.core.ledger import admit, alerts, key_admin
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.batch import batch
from worker.core.ledger.keys import hash_secret
from worker.core.ledger.settle import Report
from worker.core.values import periods

# What a request says, and the account that it then draws on. The key is of team "blue" and user "ada", with a tag.
DRAWN: list[tuple[str, dict[str, Any]]] = [
    ("user:ada", {}),
    ("team:blue", {}),
    ("end_user:7", {"end_user": "7"}),
    ("tag:job", {}),
    ("tag:night", {"tags": '["night"]'}),
]


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def a_key(ledger: Ledger) -> str:
    return await ledger.key(key_alias="bot", user_id="ada", team_id="blue", tags=["job"])


@pytest.mark.parametrize(("account", "said"), DRAWN, ids=[account for account, _ in DRAWN])
async def test_each_owners_budget_holds(ledger: Ledger, account: str, said: dict[str, Any]) -> None:
    await ledger.owner(account, max_budget=1000)
    key = await a_key(ledger)
    first = await ledger.admit(key, 600, **said)
    assert first["ok"], first
    refused = await ledger.admit(key, 401, **said)
    assert (refused["status"], refused["code"], refused["retry_after"]) == (429, "budget_exceeded", 1)
    assert f"of the {account.partition(':')[0].replace('_', ' ')} '{account.partition(':')[2]}'" in refused["message"]
    assert (await ledger.admit(key, 400, **said))["ok"]
    assert await ledger.settle(first["reservation"], 500) == "settled"
    found = await ledger.account(account)
    assert (found["spent"], found["reserved"], found["parallel"]) == (500, 400, 1)
    assert (await ledger.admit(key, 101, **said))["status"] == 429
    await check_balance(ledger.store)


@pytest.mark.parametrize(("account", "said"), DRAWN, ids=[account for account, _ in DRAWN])
@pytest.mark.parametrize("limit", [{"rpm_limit": 1}, {"tpm_limit": 15}, {"max_parallel_requests": 1}])
async def test_each_owners_rates_hold(
    ledger: Ledger, account: str, said: dict[str, Any], limit: dict[str, int]
) -> None:
    await ledger.owner(account, **limit)
    key = await a_key(ledger)
    assert (await ledger.admit(key, 0, tokens=10, **said))["ok"]
    refused = await ledger.admit(key, 0, tokens=10, **said)
    assert (refused["status"], refused["code"]) == (429, "rate_limit_exceeded")
    assert account.partition(":")[2] in refused["message"]


@pytest.mark.parametrize("account", ["team:blue", "end_user:7", "tag:night"])
async def test_a_refusal_tells_nothing_about_others(ledger: Ledger, account: str) -> None:
    await ledger.owner(account, max_budget=5_000_000, alias="Jane Doe")
    others, key = await ledger.key(team_id="blue"), await a_key(ledger)
    said = {"end_user": "7", "tags": '["night"]'}
    assert (await ledger.admit(others, 1_234_000, **said))["ok"]
    for amount, says in ((4_000_000, "$0.004000"), (6_000_000, "$0.006000")):
        message = (await ledger.admit(key, amount, **said))["message"]
        assert says in message
        assert "0.001234" not in message
        assert "1 running" not in message
        assert account == "team:blue" or "Jane Doe" not in message


async def test_a_request_draws_on_no_other_account(ledger: Ledger) -> None:
    for account in ("team:red", "user:eve", "end_user:8", "tag:day"):
        await ledger.owner(account, max_budget=0)
    key = await a_key(ledger)
    assert (await ledger.admit(key, 1000, end_user="7", tags='["night"]'))["ok"]
    rows = await query(ledger.store, "SELECT id FROM ledger_accounts WHERE total + reserved > 0 ORDER BY id")
    assert [row[0].partition(":")[0] for row in rows] == ["global", "key", "user"]
    await check_balance(ledger.store)


async def test_without_an_owner_a_name_makes_no_account(ledger: Ledger) -> None:
    key = await a_key(ledger)
    assert (await ledger.admit(key, 10, end_user="7", tags='["night"]'))["ok"]
    rows = await query(ledger.store, "SELECT id FROM ledger_accounts WHERE id LIKE 'team:%' OR id LIKE 'end_user:%'")
    assert rows == []
    (line,) = await query(ledger.store, "SELECT team_id, end_user, others, tags FROM ledger_requests")
    assert line == ("blue", "7", "[]", '["job", "night"]')


async def test_a_budget_supplies_the_limits_that_a_row_leaves_open(ledger: Ledger) -> None:
    await ledger.budget("small", max_budget=100, budget_duration="1d", rpm_limit=3)
    await ledger.owner("team:blue", budget_id="small", rpm_limit=2)
    key = await ledger.key(team_id="blue")
    assert (await ledger.admit(key, 101))["code"] == "budget_exceeded"
    assert (await ledger.admit(key, 100))["ok"]
    assert (await ledger.account("team:blue"))["start"] == periods.start("1d", ledger.now)
    assert (await ledger.admit(key, 0))["ok"]
    assert (await ledger.admit(key, 0))["code"] == "rate_limit_exceeded"
    await ledger.budget("small", max_budget=200, budget_duration="1d")
    ledger.now += periods.MINUTE
    assert (await ledger.admit(key, 101))["code"] == "budget_exceeded"
    assert (await ledger.admit(key, 100))["ok"]


async def test_a_keys_budget_supplies_its_open_limits(ledger: Ledger) -> None:
    await ledger.budget("small", max_budget=100, soft_budget=50)
    key = await ledger.key(budget_id="small", max_parallel_requests=2, key_alias="bot")
    for keys in ([key], [key, await ledger.key()]):  # read with its accounts, and with other keys
        _, results = await ledger.batch((), [ledger.request(one, 101) for one in keys])
        assert [result["ok"] for result in results] == [False, True][: len(keys)]
    first = await ledger.admit(key, 100)
    assert first["ok"]
    await ledger.settle(first["reservation"], 100)
    found = await ledger.store.run(alerts.pending(ledger.now))
    assert sorted((alert["kind"], alert["name"]) for alert in found) == [
        ("budget_exhausted", "key bot"),
        ("soft_budget", "key bot"),
    ]


async def test_a_row_without_its_budget_has_its_own_limits(ledger: Ledger) -> None:
    await ledger.owner("team:blue", budget_id="gone", max_budget=10)
    key = await ledger.key(team_id="blue", budget_id="gone")
    assert (await ledger.admit(key, 11))["status"] == 429
    assert (await ledger.admit(key, 10))["ok"]


@pytest.mark.parametrize(("account", "status"), [("team:blue", 401), ("user:ada", 403), ("end_user:7", 403)])
async def test_who_is_blocked_is_refused(ledger: Ledger, account: str, status: int) -> None:
    key = await a_key(ledger)
    await ledger.owner(account, blocked=1)
    refused = await ledger.admit(key, end_user="7")
    assert (refused["ok"], refused["status"]) == (False, status)
    assert account.partition(":")[2] in refused["message"]
    known = await ledger.store.run(admit.authenticate(hash_secret(key), ledger.now))
    assert known["ok"] == (account == "end_user:7")
    await ledger.owner(account)
    assert (await ledger.admit(key, end_user="7"))["ok"]


async def test_a_blocked_key_is_refused_first(ledger: Ledger) -> None:
    await ledger.owner("team:blue", blocked=1)
    key = await ledger.key(team_id="blue", blocked=True)
    assert "blue" not in (await ledger.admit(key))["message"]


@pytest.mark.parametrize(
    ("own", "team", "allowed"),
    [
        ([], ["gpt-4o"], True),
        ([], ["gpt-5"], False),
        (["gpt-4o"], [], True),
        (["gpt-4o"], ["gpt-5"], False),
        (["gpt-*"], ["gpt-4o", "gpt-5"], True),
        (["gpt-4o"], ["gpt-*"], True),
        (["gpt-*"], ["*-mini"], False),
        (["all-team-models"], ["gpt-4o"], True),
        (["all-team-models"], ["gpt-5"], False),
        (["not-all-team-models"], [], False),
        (["gpt-4o"], ["all-proxy-models"], True),
    ],
)
async def test_a_teams_models_restrict_its_keys(ledger: Ledger, own: list[str], team: list[str], allowed: bool) -> None:
    await ledger.owner("team:blue", models=json.dumps(team))
    key = await ledger.key(team_id="blue", models=own)
    result = await ledger.admit(key)
    assert result["ok"] == allowed, result
    if not allowed:
        assert (result["status"], result["param"]) == (403, "model")


async def test_all_team_models_without_a_team_allow_none(ledger: Ledger) -> None:
    assert (await ledger.admit(await ledger.key(models=["all-team-models"])))["status"] == 403
    assert (await ledger.admit(await ledger.key(models=["all-team-models"], team_id="unknown")))["status"] == 403


async def test_a_users_models_restrict_its_keys_that_are_not_a_teams(ledger: Ledger) -> None:
    await ledger.owner("user:ada", models='["gpt-5"]')
    own, teams = await ledger.key(user_id="ada"), await ledger.key(user_id="ada", team_id="blue")
    assert (await ledger.admit(own))["status"] == 403
    assert (await ledger.admit(teams))["ok"]
    known = await ledger.store.run(admit.authenticate(hash_secret(own), ledger.now))
    assert known["models"] == ["gpt-5"]


async def test_a_caller_without_a_key_draws_on_its_user_and_team(ledger: Ledger) -> None:
    await ledger.owner("team:blue", max_budget=1000, models='["gpt-4o"]')
    await ledger.owner("user:ada", max_budget=700)
    said = {"user_id": "ada", "team_id": "blue"}
    first = await ledger.admit(None, 700, **said)
    assert (first["ok"], first["key_id"], first["user_id"]) == (True, "", "ada")
    assert "user 'ada'" in (await ledger.admit(None, 1, **said))["message"]
    assert "team 'blue'" in (await ledger.admit(None, 301, team_id="blue"))["message"]
    assert (await ledger.admit(None, model="gpt-5", **said))["status"] == 403
    await ledger.settle(first["reservation"], 650)
    assert (await ledger.account("user:ada"))["spent"] == (await ledger.account("team:blue"))["spent"] == 650
    (line,) = await query(ledger.store, "SELECT key_id, user_id, team_id FROM ledger_requests")
    assert line == ("", "ada", "blue")
    await check_balance(ledger.store)


async def test_an_unknown_key_in_the_same_batch_changes_nothing(ledger: Ledger) -> None:
    ledger.policy = Policy(accounts={"tag:job": Limits(max_budget=1000)})
    await ledger.owner("team:blue", max_budget=1000)
    for said in ({"team_id": "blue"}, {"tags": '["job"]'}):
        assert (await ledger.admit(None, 900, **said))["ok"]
        requests = [ledger.request("sk-unknown", 1), ledger.request(None, 900, **said)]
        _, (unknown, second) = await ledger.batch((), requests)
        assert (unknown["status"], second["status"]) == (401, 429)
    await check_balance(ledger.store)


async def test_a_caller_without_a_key_has_a_users_default_budget(store: Store) -> None:
    ledger = Ledger(store, Policy(each_user=Limits(max_budget=100)))
    first = await ledger.admit(None, 60, user_id="new")
    assert first["ok"]
    assert (await ledger.admit(None, 60, user_id="new"))["status"] == 429
    assert (await ledger.admit(None, 60))["ok"]  # the master key
    await ledger.settle(first["reservation"], 10)
    assert (await ledger.admit(None, 60, user_id="new"))["ok"]
    await check_balance(store)


async def test_the_team_of_a_caller_without_a_key_has_to_exist(ledger: Ledger) -> None:
    refused = await ledger.admit(None, team_id="unknown")
    assert (refused["status"], refused["ok"]) == (401, False)
    known = await ledger.store.run(admit.authenticate(None, ledger.now, team_id="unknown"))
    assert known["status"] == 401
    await ledger.owner("team:unknown")
    assert (await ledger.admit(None, team_id="unknown"))["ok"]
    known = await ledger.store.run(admit.authenticate(None, ledger.now, "ada", "unknown"))
    assert (known["user_id"], known["team_id"], known["models"]) == ("ada", "unknown", [])


async def test_each_end_user_has_the_configurations_budget(store: Store) -> None:
    ledger = Ledger(store, Policy(each_end_user=Limits(max_budget=100, duration="1d")))
    key = await ledger.key()
    assert (await ledger.admit(key, 100, end_user="7"))["ok"]
    assert (await ledger.admit(key, 1, end_user="7"))["status"] == 429
    assert (await ledger.admit(key, 100, end_user="8"))["ok"]
    assert (await ledger.admit(key, 1000))["ok"]
    await ledger.owner("end_user:7", max_budget=200)
    assert (await ledger.admit(key, 100, end_user="7"))["ok"]
    assert (await ledger.admit(key, 1, end_user="7"))["status"] == 429
    await check_balance(store)


async def test_a_refused_request_makes_no_account(store: Store) -> None:
    ledger = Ledger(store, Policy(each_end_user=Limits(max_budget=100)))
    key = await ledger.key()
    assert not (await ledger.admit(key, 101, end_user="invented"))["ok"]
    assert await ledger.account("end_user:invented") == {}


async def test_each_end_user_has_the_budget_that_the_configuration_names(store: Store) -> None:
    ledger = Ledger(store, Policy(end_user_budget="small"))
    key = await ledger.key()
    assert (await ledger.admit(key, 1, end_user="7"))["status"] == 429  # there is no such budget
    assert (await ledger.admit(key, 1))["ok"]
    await ledger.budget("small", max_budget=100)
    assert (await ledger.admit(key, 100, end_user="7"))["ok"]
    assert (await ledger.admit(key, 1, end_user="7"))["status"] == 429
    await check_balance(store)


async def test_a_key_that_changes_its_team_settles_where_it_reserved(ledger: Ledger) -> None:
    for account in ("team:blue", "team:red", "tag:job", "end_user:7"):
        await ledger.owner(account, max_budget=1000)
    key = await a_key(ledger)
    running = await ledger.admit(key, 600, end_user="7")
    await ledger.store.run(
        key_admin.update(ledger.store.dialect, {"key": key, "team_id": "red", "tags": []}, ledger.now)
    )
    await query(ledger.store, "DELETE FROM ledger_owners WHERE account <> 'team:red'")
    assert await ledger.settle(running["reservation"], 400) == "settled"
    for account in ("team:blue", "tag:job", "end_user:7"):
        found = await ledger.account(account)
        assert (found["spent"], found["reserved"], found["parallel"]) == (400, 0, 0), account
    assert (await ledger.account("team:red"))["spent"] == 0
    assert (await ledger.admit(key, 1000))["ok"]
    await check_balance(ledger.store)


async def test_a_deleted_team_gives_back_nothing_when_it_is_made_again(ledger: Ledger) -> None:
    await ledger.owner("team:blue", max_budget=1000)
    key = await ledger.key(team_id="blue")
    running = await ledger.admit(key, 600)
    await query(ledger.store, "DELETE FROM ledger_owners")
    assert (await ledger.admit(key, 5000))["ok"]  # nothing limits it, and it is not counted
    await ledger.owner("team:blue", max_budget=1000)
    assert (await ledger.admit(key, 401))["status"] == 429
    await ledger.settle(running["reservation"], 600)
    assert (await ledger.admit(key, 401))["status"] == 429
    assert (await ledger.admit(key, 400))["ok"]
    await check_balance(ledger.store)


async def test_each_account_has_its_own_period(ledger: Ledger) -> None:
    await ledger.owner("team:blue", max_budget=1000, budget_duration="1h")
    await ledger.owner("tag:job", max_budget=1500, budget_duration="1d")
    key = await a_key(ledger)
    first = await ledger.admit(key, 900)
    ledger.now += periods.HOUR
    assert (await ledger.admit(key, 601))["status"] == 429  # the tag's
    second = await ledger.admit(key, 600)
    assert second["ok"]
    await ledger.settle(first["reservation"], 800)
    team, tag = await ledger.account("team:blue"), await ledger.account("tag:job")
    assert (team["spent"], team["reserved"], team["total"]) == (0, 600, 800)
    assert (tag["spent"], tag["reserved"], tag["total"]) == (800, 600, 800)
    await check_balance(ledger.store)
    ledger.now -= periods.HOUR  # the clock moves back: that hour is as it was left
    assert (await ledger.admit(key, 101))["status"] == 429  # the tag's again
    await ledger.owner("tag:job")
    assert (await ledger.admit(key, 201))["status"] == 429
    assert (await ledger.admit(key, 200))["ok"]
    await check_balance(ledger.store)


@pytest.mark.parametrize("name", ['a","b', 'x"],["team:blue",0],["tag:y', "Größe\\", "日本", "o'neil"])
async def test_any_name_is_counted_in_its_own_account(ledger: Ledger, name: str) -> None:
    await ledger.owner("team:blue", max_budget=10_000, budget_duration="1h")
    await ledger.owner(f"tag:{name}", max_budget=1000, budget_duration="1h")
    key = await ledger.key(team_id="blue")
    first = await ledger.admit(key, 600, tags=json.dumps([name]))
    assert first["ok"]
    assert name in (await ledger.admit(key, 600, tags=json.dumps([name])))["message"]
    ledger.now += periods.HOUR
    assert (await ledger.admit(key, 600, tags=json.dumps([name])))["ok"]
    ledger.now -= periods.HOUR  # what is reserved is added up again
    assert (await ledger.admit(key, 400, tags=json.dumps([name])))["ok"]
    assert (await ledger.account(f"tag:{name}"))["reserved"] == 1000
    assert (await ledger.account("team:blue"))["reserved"] == 1000
    await check_balance(ledger.store)


async def test_each_owner_is_alerted_by_its_name(ledger: Ledger) -> None:
    await ledger.owner("team:8c1", alias="Blue", max_budget=1000, soft_budget=500)
    await ledger.owner("end_user:7", soft_budget=500)
    key = await ledger.key(team_id="8c1")
    first = await ledger.admit(key, 1000, end_user="7")
    await ledger.settle(first["reservation"], 1000)
    found = await ledger.store.run(alerts.pending(ledger.now))
    assert sorted((alert["kind"], alert["name"]) for alert in found) == [
        ("budget_exhausted", "team Blue"),
        ("soft_budget", "end user 7"),
        ("soft_budget", "team Blue"),
    ]


async def test_many_callers_in_one_batch_draw_on_their_own_accounts(ledger: Ledger) -> None:
    await ledger.owner("team:blue", max_budget=100_000)
    keys = [await ledger.key(team_id="blue", tags=[f"key-{number}"]) for number in range(3)]
    for number in range(3):
        await ledger.owner(f"tag:key-{number}", max_budget=100_000)
    for number in range(50):
        await ledger.owner(f"end_user:{number}", max_budget=150)
    asks = [ledger.request(keys[n % 3], 100, end_user=str(n % 50)) for n in range(120)]
    found = await ledger.store.run(batch(ledger.store.dialect, ledger.policy, (), asks, ledger.now))
    assert sum(result["ok"] for result in found["results"]) == 50
    assert (await ledger.account("team:blue"))["reserved"] == 5000
    reports = [Report(result["reservation"], "one", 60) for result in found["results"] if result["ok"]]
    await ledger.batch(reports, ())
    assert (await ledger.account("team:blue"))["spent"] == 3000
    one_key = [ledger.request(keys[0], 90, end_user=str(n)) for n in range(50)]
    _, results = await ledger.batch((), one_key)
    assert all(result["ok"] for result in results)
    await check_balance(ledger.store)


async def test_an_accounts_end_wakes_those_it_kept_out(ledger: Ledger) -> None:
    await ledger.owner("team:blue", max_budget=1000)
    key = await ledger.key(team_id="blue")
    first = await ledger.admit(key, 900)
    refused = await ledger.admit(key, 900)
    assert refused["soon"] == "team:blue"
    done = await ledger.store.run(
        batch(ledger.store.dialect, ledger.policy, [Report(first["reservation"], "one", 1)], (), ledger.now)
    )
    assert refused["soon"] in done["ended"]
