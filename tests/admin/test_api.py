"""The admin API over HTTP: access, responses and errors."""

import json

import pytest

from container.ledger.store import LedgerUnavailable
from tests.admin.conftest import MASTER, Gateway
from worker.core.values import periods

POSTS = ["/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock", "/key/x/regenerate"]
POSTS += ["/dashboard/sessions/revoke"]
GETS = ["/key/info", "/key/list", "/spend/logs", "/spend/keys", "/spend/activity", "/global/spend", "/model/info"]
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
        ("GET", "/key/list?team_id=ada", None, "team_id"),
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
        ("GET", "/spend/activity?group_by=user", None, "group_by"),
        ("GET", "/spend/activity?key=sk-x", None, "key"),
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
