"""The admin API over HTTP: access, responses and errors."""

import json

import pytest

from container.stores import LedgerUnavailable
from tests.admin.conftest import MASTER, Gateway
from worker.core.values import periods

POSTS = ["/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock", "/key/x/regenerate"]
POSTS += ["/dashboard/sessions/revoke"]
GETS = ["/key/info", "/key/list", "/spend/logs", "/spend/keys", "/spend/activity", "/global/spend", "/model/info"]
OWNERS = ["team", "user", "customer", "end_user", "tag", "budget"]
POSTS += [f"/{owner}/{action}" for owner in OWNERS for action in ("new", "update", "delete")]
POSTS += [f"/{owner}/{action}" for owner in ("team", "customer", "end_user") for action in ("block", "unblock")]
POSTS += ["/tag/info", "/budget/info", "/team/member_add", "/team/member_update", "/team/member_delete"]
GETS += [f"/{owner}/list" for owner in OWNERS] + [f"/{owner}/info" for owner in OWNERS[:4]]
GETS += ["/v2/team/list", "/budget/settings"]
EVERY = [("POST", path) for path in POSTS] + [("GET", path) for path in GETS]


@pytest.mark.parametrize(("method", "path"), EVERY)
async def test_without_the_master_key_nothing_is_shown_or_changed(gateway: Gateway, method: str, path: str):
    key = (await gateway.post("/key/generate"))["key"]
    nobody = await gateway.ask(method, path, key=None)
    assert (nobody.status, nobody.json["error"]["type"]) == (401, "authentication_error")
    stranger = await gateway.ask(method, path, key="sk-unheard-of")
    assert (stranger.status, stranger.json["error"]["code"]) == (401, "invalid_api_key")
    other = await gateway.ask(method, path, key=key)
    if path in ("/key/info", "/model/info"):  # of itself: test_own_key.py
        assert other.status == 200
    else:
        assert (other.status, other.json["error"]["type"]) == (403, "permission_error")
    assert (await gateway.get("/key/list"))["total_count"] == 1


async def test_the_lifecycle_of_a_key(gateway: Gateway):
    made = await gateway.post("/v1/key/generate", {"key_alias": "bot", "max_budget": 2.5, "duration": "1d"})
    key, token = made["key"], made["token"]
    assert (made["key_alias"], made["max_budget"], made["spend"]) == ("bot", 2.5, 0)
    assert made["expires"] == "2026-11-21T12:00:30.000Z"

    shown = await gateway.get(f"/key/info?key={token}")
    assert shown["key"] == token
    assert key not in str(shown)
    assert shown == await gateway.get(f"/key/info?key={key}")

    changed = await gateway.post("/key/update", {"key": token, "max_budget": None, "rpm_limit": 3})
    assert (changed["max_budget"], changed["rpm_limit"], changed["key_alias"]) == (None, 3, "bot")

    assert (await gateway.ledger.admit(key))["ok"]
    assert (await gateway.post("/key/block", {"key": token}))["blocked"] is True
    assert (await gateway.ledger.admit(key))["status"] == 401
    assert (await gateway.post("/key/unblock", {"key": key}))["blocked"] is False
    assert (await gateway.ledger.admit(key))["ok"]

    assert await gateway.post("/key/delete", {"key_aliases": ["bot"]}) == {"deleted_keys": ["bot"]}
    assert (await gateway.ledger.admit(key))["status"] == 401
    gone = await gateway.ask("GET", f"/key/info?key={token}")
    assert (gone.status, gone.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("named_by", ["key", "token"])
async def test_a_regenerated_secret_with_and_without_grace_period(gateway: Gateway, named_by: str):
    made = await gateway.post("/key/generate", {})
    second = await gateway.post(f"/key/{made[named_by]}/regenerate", {"grace_period": "1h"})
    assert second["key"] != made["key"]
    assert (await gateway.ledger.admit(made["key"]))["ok"]
    assert (await gateway.ledger.admit(second["key"]))["ok"]
    gateway.ledger.now += periods.HOUR
    assert (await gateway.ledger.admit(made["key"]))["status"] == 401
    third = await gateway.post(f"/key/{second[named_by]}/regenerate")
    assert (await gateway.ledger.admit(second["key"]))["status"] == 401
    assert (await gateway.ledger.admit(third["key"]))["ok"]


async def test_metadata_may_contain_any_number(gateway: Gateway):
    metadata = {"much": 2**70, "less": [-(2**64), 1e300]}
    made = await gateway.post("/key/generate", json.dumps({"metadata": metadata}).encode())
    assert made["metadata"] == metadata
    assert (await gateway.get(f"/key/info?key={made['token']}"))["info"]["metadata"] == metadata


async def test_a_chosen_secret_may_contain_any_path_character(gateway: Gateway):
    assert (await gateway.post("/key/generate", {"key": "sk-a/b?c%d"}))["key"] == "sk-a/b?c%d"
    again = await gateway.post("/key/sk-a%2Fb%3Fc%25d/regenerate", {"new_key": "sk-other"})
    assert again["key"] == "sk-other"
    taken = await gateway.ask("POST", "/key/generate", {"key": "sk-other"})
    assert (taken.status, taken.json["error"]["param"]) == (400, "key")


async def test_the_list_is_paged(gateway: Gateway):
    for i in range(12):
        gateway.ledger.now += 1
        await gateway.post("/key/generate", {"key_alias": f"k{i}"})
    first = await gateway.get("/key/list?return_full_object=true")
    assert [k["key_alias"] for k in first["keys"]] == [f"k{i}" for i in range(11, 1, -1)]
    assert (first["total_count"], first["current_page"], first["total_pages"]) == (12, 1, 2)
    rest = await gateway.get("/key/list?page=2&size=10")
    assert len(rest["keys"]) == 2
    assert all(len(token) == 64 for token in rest["keys"])


@pytest.mark.parametrize(
    ("method", "path", "fields", "param"),
    [
        ("POST", "/key/generate", {"max_budget": "much"}, "max_budget"),
        ("POST", "/key/generate", {"max_budget": -1}, "max_budget"),
        ("POST", "/key/generate", {"budget_duration": "1 day"}, "budget_duration"),
        ("POST", "/key/generate", {"rpm_limit": 1.5}, "rpm_limit"),
        ("POST", "/key/generate", {"models": "gpt-4o"}, "models"),
        ("POST", "/key/generate", {"key": "short"}, "key"),
        ("POST", "/key/generate", {"team_id": ["t"]}, "team_id"),
        ("POST", "/key/generate", {"key": MASTER}, "key"),
        ("POST", "/key/x/regenerate", {"new_key": MASTER}, "new_key"),
        ("POST", "/key/block", {"key": MASTER}, "key"),
        ("POST", "/key/delete", {"key_aliases": ["\0"]}, "key_aliases"),
        ("POST", "/key/update", {"max_budget": 1}, "key"),
        ("POST", "/key/delete", {}, "keys"),
        ("POST", "/key/block", {"key": 7}, "key"),
        ("POST", "/key/x/regenerate", {"grace_period": "soon"}, "grace_period"),
        ("GET", "/key/info", None, "key"),
        ("GET", "/key/info?key=sk-x&team=y", None, "team"),
        ("GET", "/key/list?page=0", None, "page"),
        ("GET", "/key/list?size=501", None, "size"),
        ("GET", "/key/list?size=ten", None, "size"),
        ("GET", "/key/list?return_full_object=perhaps", None, "return_full_object"),
        ("GET", "/key/list?status=deleted", None, "status"),
        ("GET", "/key/list?key_alias=no%00body", None, "key_alias"),
        ("GET", "/spend/logs?model=%00", None, "model"),
        ("GET", "/spend/logs?from=yesterday", None, "from"),
        ("GET", "/spend/logs?end_date=2026-02-30", None, "end_date"),
        ("GET", "/spend/logs?key=a&api_key=b", None, "api_key"),
        ("GET", "/spend/logs?from=1969-12-31", None, "from"),
        ("GET", "/spend/logs?to=9999-12-31T23:59:59-12:00", None, "to"),
        ("GET", "/spend/logs?after=x", None, "after"),
        ("GET", "/spend/logs?after=%C2%B2-x", None, "after"),
        ("GET", "/spend/logs?after=9999999999999999-x", None, "after"),
        ("GET", "/spend/logs?after=0", None, "after"),
        ("GET", "/spend/logs?after=0-x", None, "after"),
        ("GET", "/spend/logs?status=%C2%B2", None, "status"),
        ("GET", "/key/list?page=%C2%B2", None, "page"),
        ("GET", "/key/list?page=99999999999999999999", None, "page"),
        ("GET", "/global/spend?since=x", None, "since"),
        ("GET", "/spend/logs?status=bad", None, "status"),
        ("GET", "/spend/logs?status=600", None, "status"),
        ("GET", "/spend/activity?from=yesterday", None, "from"),
        ("GET", "/spend/activity?to=0001-01-01", None, "to"),
        ("GET", "/spend/activity?to=9999-12-31T23:59:59-12:00", None, "to"),
        ("GET", "/spend/activity?bucket=minute", None, "bucket"),
        ("GET", "/spend/activity?group_by=secret", None, "group_by"),
        ("GET", "/spend/activity?key=sk-x", None, "key"),
        ("POST", "/team/new", {"max_budget": -1}, "max_budget"),
        ("POST", "/team/new", {"team_id": "no\nbody"}, "team_id"),
        ("POST", "/team/new", {"team_id": "\0"}, "team_id"),
        ("POST", "/team/update", {"max_budget": 1}, "team_id"),
        ("POST", "/team/delete", {}, "team_ids"),
        ("POST", "/team/block", {"team_id": 7}, "team_id"),
        ("POST", "/team/member_add", {"team_id": 7}, "team_id"),
        ("GET", "/team/info", None, "team_id"),
        ("GET", "/team/info?team_id=a%0Ab", None, "team_id"),
        ("GET", "/team/info?team_id=x&key_limit=0", None, "key_limit"),
        ("GET", "/team/list?sort_by=password", None, "sort_by"),
        ("GET", "/team/list?sort_order=up", None, "sort_order"),
        ("GET", "/team/list?organization_id=x", None, "organization_id"),
        ("GET", "/v2/team/list?page=0", None, "page"),
        ("GET", "/v2/team/list?page_size=501", None, "page_size"),
        ("POST", "/user/new", {"user_role": "king"}, "user_role"),
        ("POST", "/user/update", {"user_alias": "x"}, "user_id"),
        ("GET", "/user/info", None, "user_id"),
        ("GET", "/user/list?role=king", None, "role"),
        ("GET", "/user/list?user_ids=%2C", None, "user_ids"),
        ("GET", "/user/list?user_ids=" + "a," * 51, None, "user_ids"),
        ("POST", "/customer/new", {}, "user_id"),
        ("POST", "/end_user/block", {"user_ids": []}, "user_ids"),
        ("GET", "/customer/info?user_id=x", None, "user_id"),
        ("GET", "/end_user/info", None, "end_user_id"),
        ("GET", "/customer/list?role=king", None, "role"),
        ("POST", "/tag/new", {"name": "t", "models": ["x"]}, "models"),
        ("POST", "/tag/info", {"names": "t"}, "names"),
        ("POST", "/tag/delete", {}, "name"),
        ("POST", "/budget/new", {"budget_id": "a\nb"}, "budget_id"),
        ("POST", "/budget/new", {"model_max_budget": {"x": 1}}, "model_max_budget"),
        ("POST", "/budget/info", {"budgets": []}, "budgets"),
        ("GET", "/budget/settings", None, "budget_id"),
    ],
)
async def test_an_invalid_field_is_named(gateway: Gateway, method: str, path: str, fields, param: str):
    answer = await gateway.ask(method, path, fields)
    error = answer.json["error"]
    assert (answer.status, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert param in error["message"]


async def test_an_unknown_key_is_404(gateway: Gateway):
    for method, path, fields in (
        ("POST", "/key/update", {"key": "sk-none-such"}),
        ("POST", "/key/delete", {"keys": ["sk-none-such"]}),
        ("POST", "/key/block", {"key": "sk-none-such"}),
        ("POST", "/key/sk-none-such/regenerate", {}),
        ("GET", "/key/info?key=sk-none-such", None),
        ("GET", "/spend/logs?key=sk-none-such", None),
    ):
        assert (await gateway.ask(method, path, fields)).status == 404, path


async def test_an_unknown_owner_is_404(gateway: Gateway):
    for method, path, fields in (
        ("POST", "/key/generate", {"team_id": "none"}),
        ("POST", "/key/generate", {"budget_id": "none"}),
        ("POST", "/team/update", {"team_id": "none"}),
        ("POST", "/team/block", {"team_id": "none"}),
        ("POST", "/team/delete", {"team_ids": ["none"]}),
        ("POST", "/team/member_add", {"team_id": "none", "member": {"user_id": "x", "role": "user"}}),
        ("GET", "/team/info?team_id=none", None),
        ("GET", "/user/info?user_id=none", None),
        ("POST", "/user/delete", {"user_ids": ["none"]}),
        ("GET", "/customer/info?end_user_id=none", None),
        ("POST", "/customer/update", {"user_id": "none"}),
        ("POST", "/end_user/unblock", {"user_ids": ["none"]}),
        ("POST", "/tag/info", {"names": ["none"]}),
        ("POST", "/budget/update", {"budget_id": "none"}),
        ("GET", "/budget/settings?budget_id=none", None),
    ):
        assert (await gateway.ask(method, path, fields)).status == 404, path


async def test_the_lifecycle_of_a_team(gateway: Gateway):
    member = {"user_id": "ada", "role": "admin"}
    made = await gateway.post(
        "/team/new", {"team_id": "blue", "team_alias": "Blue", "max_budget": 2.5, "members_with_roles": [member]}
    )
    assert (made["team_id"], made["max_budget"], made["members_count"]) == ("blue", 2.5, 1)
    key = await gateway.post("/key/generate", {"team_id": "blue"})
    info = await gateway.get("/team/info?team_id=blue")
    assert (info["team_info"]["keys_count"], [one["token"] for one in info["keys"]]) == (1, [key["token"]])
    changed = await gateway.post("/team/update", {"team_id": "blue", "max_budget": None})
    assert (changed["team_id"], changed["data"]["max_budget"]) == ("blue", None)
    await gateway.post("/team/member_add", {"team_id": "blue", "member": {"user_email": "bob@b.com", "role": "user"}})
    assert (await gateway.get("/v2/team/list?search=BLUE"))["teams"][0]["members_count"] == 2
    assert (await gateway.get("/team/list?user_id=ada"))[0]["team_id"] == "blue"
    assert [team["team_id"] for team in (await gateway.get("/user/info?user_id=ada"))["teams"]] == ["blue"]
    assert (await gateway.get("/key/list?team_id=blue"))["total_count"] == 1
    assert await gateway.post("/team/delete", {"team_ids": ["blue"]}) == {"deleted_teams": ["blue"], "deleted_keys": 1}
    assert (await gateway.ledger.admit(key["key"]))["status"] == 401
    assert (await gateway.get("/user/list"))["total"] == 2


async def test_the_lifecycle_of_an_end_user_by_either_name(gateway: Gateway):
    await gateway.post("/budget/new", {"budget_id": "free", "max_budget": 1})
    await gateway.post("/customer/new", {"user_id": "c", "budget_id": "free"})
    assert (await gateway.get("/end_user/info?end_user_id=c"))["litellm_budget_table"]["max_budget"] == 1
    assert (await gateway.post("/end_user/update", {"user_id": "c", "alias": "C"}))["alias"] == "C"
    assert [one["alias"] for one in await gateway.get("/customer/list")] == ["C"]
    assert (await gateway.get("/end_user/list?page=1"))["total"] == 1
    assert (await gateway.post("/end_user/block", {"user_ids": ["c"]}))["blocked_users"][0]["blocked"] is True
    refused = await gateway.ask("POST", "/budget/delete", {"id": "free"})
    assert (refused.status, refused.json["error"]["param"]) == (400, "id")
    assert (await gateway.post("/customer/delete", {"user_ids": ["c"]}))["deleted_customers"] == 1
    assert (await gateway.post("/budget/delete", {"id": "free"}))["budget_id"] == "free"


async def test_the_lifecycle_of_a_tag(gateway: Gateway):
    made = await gateway.post("/tag/new", {"name": "a:b", "description": "x", "max_budget": 1})
    assert (made["tag"]["name"], made["tag"]["description"]) == ("a:b", "x")
    assert (await gateway.post("/tag/update", {"name": "a:b", "max_budget": 2}))["tag"]["max_budget"] == 2
    assert (await gateway.post("/tag/info", {"names": ["a:b"]}))["a:b"]["max_budget"] == 2
    assert [one["name"] for one in await gateway.get("/tag/list")] == ["a:b"]
    assert "a:b" in (await gateway.post("/tag/delete", {"name": "a:b"}))["message"]


async def test_spend_is_reported(gateway: Gateway):
    bot = await gateway.post("/key/generate", {"key_alias": "bot"})
    start = gateway.ledger.now
    await gateway.spend(bot["key"], 2_000_000_000)
    gateway.ledger.now += periods.DAY
    await gateway.spend(bot["key"], 500_000_000, model="claude")
    await gateway.spend(None, 250_000_000)

    async def spent(query: str) -> list[float]:
        return [line["spend"] for line in (await gateway.get("/spend/logs" + query))["data"]]

    assert sorted(await spent("")) == [0.25, 0.5, 2.0]
    assert await spent("?model=claude") == [0.5]
    for name in (bot["key"], bot["token"]):
        assert await spent(f"?key={name}") == [0.5, 2.0]
        assert await spent(f"?api_key={name}&model=gpt-4o") == [2.0]
    assert await spent("?key=master") == [0.25]
    assert await spent("?to=2026-11-20") == await spent("?start_date=2026-11-20&end_date=2026-11-20") == [2.0]
    assert sorted(await spent("?from=2026-11-21")) == [0.25, 0.5]
    assert await spent("?to=2026-11-20T12:00:30Z") == []
    assert await spent("?to=2026-11-20T13:00:31%2B01:00") == [2.0]
    assert await spent(f"?from={start // 1000}&to={start + 1}") == [2.0]

    first = await gateway.get("/spend/logs?size=2")
    rest = await gateway.get(f"/spend/logs?size=2&after={first['next']}")
    assert sorted(line["spend"] for line in first["data"] + rest["data"]) == [0.25, 0.5, 2.0]
    assert rest["next"] is None

    for status, spends in (("success", 3), ("200", 3), ("failure", 0), ("429", 0)):
        assert len(await spent(f"?status={status}")) == spends

    activity = await gateway.get("/spend/activity?bucket=day&from=2026-11-20")
    assert [(line["start"][:10], line["group"], line["spend"]) for line in activity["data"]] == [
        ("2026-11-20", "gpt-4o", 2.0),
        ("2026-11-21", "claude", 0.5),
        ("2026-11-21", "gpt-4o", 0.25),
    ]
    assert [g["name"] for g in (await gateway.get("/spend/activity?group_by=key&from=0"))["groups"]] == [
        "bot",
        "master key",
    ]

    by_key = await gateway.get("/spend/keys")
    assert [(k["key_alias"], k["total_spend"]) for k in by_key["data"]] == [("bot", 2.5)]
    assert (await gateway.get("/global/spend"))["total_spend"] == 2.75


async def test_responses_are_not_cacheable(gateway: Gateway):
    answer = await gateway.ask("POST", "/key/generate", {})
    assert answer.headers["cache-control"] == "no-store"


async def test_large_bodies_are_refused(gateway: Gateway):
    answer = await gateway.ask("POST", "/key/generate", b'{"metadata": {"a": "' + b"x" * 1_100_000 + b'"}}')
    assert answer.status == 413


async def test_without_a_database_it_is_503(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    async def down(decision):
        decision.steps.close()
        raise LedgerUnavailable

    monkeypatch.setattr(gateway.ledger.store, "run", down)
    for key in (MASTER, "sk-whose"):
        answer = await gateway.ask("GET", "/key/list", key=key)
        assert (answer.status, answer.json["error"]["type"]) == (503, "service_unavailable")
        assert "retry-after" in answer.headers
