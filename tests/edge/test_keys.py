"""Virtual keys at the edge with the real proxy: changes apply from the next request on."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.money import IN, OUT, chat, wait_for

from .conftest import MASTER_KEY, ROOT, Edge, StartEdge
from .money import Money
from .stand_in import Events, image

CHAT = "/v1/chat/completions"
PRICES = {"input_cost_per_token": IN, "output_cost_per_token": OUT}


def mock(name: str, model: str = "openai/mock", **more: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, "mock_response": "Hello", **more}}


CONFIG = {
    "model_list": [
        {**mock("gpt"), "model_info": PRICES},
        {**mock("other"), "model_info": PRICES},
        {**mock("preset", temperature=0.5), "model_info": PRICES},
        {**mock("wild/*", "openai/*"), "model_info": PRICES},
        {
            "model_name": "off",
            "litellm_params": {"model": "openai/x", "api_key": "os.environ/NOT_SET_HERE"},
            "model_info": PRICES,
        },
    ],
    "router_settings": {"fallbacks": [{"other": ["gpt"]}]},
}


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge) -> Edge:
    return start_module_edge(CONFIG)


@pytest.fixture
def money(edge: Edge) -> Money:
    return Money(edge)


def error(response: httpx.Response) -> tuple[int, str | None]:
    return response.status_code, response.json()["error"]["code"]


def test_the_lifecycle_of_a_key(money: Money):
    key = money.key(key_alias="life", metadata={"team": "a"})
    assert money.ask(key).status_code == 200
    assert money.ask(key).json()["choices"][0]["message"]["content"] == "Hello"
    for again in range(3):
        money.admin("/key/block", {"key": key})
        assert error(money.ask(key)) == (401, "invalid_api_key"), again
        money.admin("/key/unblock", {"key": key})
        assert money.ask(key).status_code == 200, again
    money.admin("/key/update", {"key": key, "models": ["other"]})
    assert money.ask(key).status_code == 403
    assert money.ask(key, model="other").status_code == 200
    money.admin("/key/update", {"key": key, "models": None})
    assert money.ask(key).status_code == 200
    assert money.info(key)["key_alias"] == "life"
    money.admin("/key/delete", {"keys": [key]})
    assert error(money.ask(key)) == (401, "invalid_api_key")


def test_the_lifecycle_of_a_team_and_its_members(money: Money):
    member = {"user_id": "ada", "role": "admin"}
    money.admin("/team/new", {"team_id": "t:1", "models": ["gpt"], "members_with_roles": [member]})
    key = money.key(team_id="t:1")
    assert money.ask(key).status_code == 200
    assert money.ask(key, model="other").status_code == 403
    money.admin("/team/block", {"team_id": "t:1"})
    assert money.ask(key).status_code == 401
    money.admin("/team/unblock", {"team_id": "t:1"})
    assert money.ask(key).status_code == 200
    money.admin("/team/update", {"team_id": "t:1", "models": ["other"]})
    assert money.ask(key, model="other").status_code == 200
    assert money.admin("/team/member_add", {"team_id": "t:1", "member": {"user_id": "bob"}})["members_count"] == 2
    money.admin("/budget/new", {"budget_id": "b", "rpm_limit": 0})
    money.admin("/customer/new", {"user_id": "c", "budget_id": "b"})
    money.admin("/tag/new", {"name": "job"})
    money.admin("/user/new", {"user_id": "cy"})
    get = money.edge.client.get
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    for path, size in (("/v2/team/list", 1), ("/user/list", 3), ("/customer/list?page=1", 1), ("/tag/list?page=1", 1)):
        assert get(path, headers=headers).json()["total"] == size, path
    assert get("/budget/list", headers=headers).json()[0]["budget_id"] == "b"
    assert get("/team/info?team_id=t%3A1", headers=headers).json()["team_info"]["keys_count"] == 1
    assert money.admin("/team/delete", {"team_ids": ["t:1"]})["deleted_keys"] == 1
    assert money.ask(key).status_code == 401


def test_a_guess_does_not_reveal_whether_a_key_exists(money: Money):
    key = money.key(key="sk-easy-to-guess")
    money.admin("/key/block", {"key": key})
    blocked, unknown = money.ask(key), money.ask("sk-easy-to-miss")
    assert blocked.status_code == unknown.status_code == 401
    assert blocked.json() == unknown.json()


def test_a_rotated_key_works_during_its_grace_period_only(money: Money):
    key = money.key(key_alias="rotated")
    new = money.admin(f"/key/{key}/regenerate", {"grace_period": "2s"})["key"]
    began = time.monotonic()
    assert [money.ask(k).status_code for k in (key, new)] == [200, 200]
    wait_for(lambda: money.ask(key).status_code, lambda status: status == 401)
    assert time.monotonic() - began > 1.5
    assert money.ask(new).status_code == 200
    newest = money.admin(f"/key/{new}/regenerate", {})["key"]
    assert [money.ask(k).status_code for k in (new, newest)] == [401, 200]


def test_a_caller_can_choose_the_secret(money: Money):
    assert money.key(key="sk-chosen-by-the-caller") == "sk-chosen-by-the-caller"
    assert money.ask("sk-chosen-by-the-caller").status_code == 200
    again = money.http.post("/key/generate", json={"key": "sk-chosen-by-the-caller"})
    assert 400 <= again.status_code < 500


def test_an_expired_key_is_refused(money: Money):
    key = money.key(duration="1s")
    assert money.ask(key).status_code == 200
    wait_for(lambda: money.ask(key).status_code, lambda status: status == 401)


def test_a_virtual_key_is_accepted_in_each_header(money: Money):
    key = money.key()
    for headers in ({"x-api-key": key}, {"api-key": key}, {"authorization": f"Bearer {key}"}):
        assert httpx.post(money.edge.url + CHAT, json=chat(), headers=headers).status_code == 200


def test_a_key_lists_only_its_models(money: Money):
    some, everything = money.key(models=["gpt", "wild/*"]), money.key()

    def models(key: str) -> set[str]:
        answer = money.http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        listed = {model["id"] for model in answer.json()["data"]}
        assert "wild/gpt-4o" in listed  # matched by the wildcard
        return {name for name in listed if not name.startswith("wild/")}

    assert models(some) == {"gpt"}
    assert models(everything) == models(MASTER_KEY) == {"gpt", "other", "preset"}
    one = money.http.get("/v1/models/other", headers={"authorization": f"Bearer {some}"})
    assert error(one) == (404, "model_not_found")
    assert money.http.get("/v1/models", headers={"authorization": "Bearer sk-nobody"}).status_code == 401
    assert money.ask(some, model="wild/anything").status_code == 200
    assert money.ask(some, model="other").status_code == 403


def test_a_key_sees_only_itself_and_its_models(money: Money):
    key, other = money.key(models=["gpt"], key_alias="itself"), money.key()

    def asked(path: str, by: str = key) -> httpx.Response:
        return money.http.get(path, headers={"authorization": f"Bearer {by}"})

    for path in ("/key/info", "/v1/key/info", f"/key/info?key={key}"):
        answer = asked(path)
        assert (answer.status_code, answer.json()["info"]["key_alias"]) == (200, "itself")
        assert key not in answer.text
    assert asked(f"/key/info?key={other}").status_code == 403
    assert asked("/key/list").status_code == 403
    shown = asked("/v1/model/info").json()["data"]
    assert [(one["model_name"], one["set"], one["health"]) for one in shown] == [("gpt", [], None)]
    assert len(asked("/model/info", MASTER_KEY).json()["data"]) > 1
    listed = money.http.get(
        "/v1/models?limit=1", headers={"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
    ).json()
    assert (listed["first_id"], listed["has_more"], listed["data"][0]["type"]) == ("gpt", False, "model")
    assert httpx.get(f"{money.edge.url}/health/liveness").status_code == 200


def test_a_thousand_models_fit(money: Money):
    names = [f"some-model-with-a-long-name-{number}" for number in range(500)]
    key = money.key(models=[*names, "gpt", "preset"])
    answer = money.http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
    assert {model["id"] for model in answer.json()["data"]} == {"gpt", "preset"}
    assert money.ask(key).status_code == 200
    assert money.ask(key, model="preset").status_code == 200


def test_fallbacks_named_by_a_client_must_be_allowed_for_its_key(money: Money):
    key = money.key(models=["gpt"])
    assert money.ask(key, fallbacks=["gpt"]).status_code == 200
    refused = money.ask(key, fallbacks=["other"])
    assert refused.status_code == 403
    assert "other" in refused.json()["error"]["message"]


@pytest.mark.parametrize("key", [True, False])
def test_refusals_are_the_same_as_standalone(money: Money, key: bool):
    mine = money.key() if key else None
    assert error(money.ask(mine, model="no-such-model")) == (404, "model_not_found")
    off = money.ask(mine, model="off")
    assert off.status_code == 503
    assert "NOT_SET_HERE" in off.json()["error"]["message"]
    headers = {"authorization": f"Bearer {mine or MASTER_KEY}"}
    for content in (b"", b"[]", b"{", b'{"model": 4}', b'{"model": "gpt"}', b"\xff\xfe"):
        answer = httpx.post(money.edge.url + CHAT, content=content, headers=headers)
        assert answer.status_code == 400, content
    assert money.ask(mine, max_tokens="many").status_code == 400
    assert money.ask(mine, api_base="https://evil.example").status_code == 400
    squeezed = {**headers, "content-encoding": "gzip"}
    assert httpx.post(money.edge.url + CHAT, content=b"x", headers=squeezed).status_code == 415
    spent = wait_for(money.spend, lambda found: found["running_requests"] == 0)
    assert spent["reserved"] == 0


@pytest.mark.parametrize("brackets", [60_000, 990])
def test_deep_nesting_does_not_crash_the_isolate(money: Money, brackets: int):
    key = money.key()
    headers = {"authorization": f"Bearer {key}"}
    for start in (b'{"model": "gpt", "messages": ', b'{"model": "gpt", "tools": '):
        content = start + b"[" * brackets + b"]" * min(brackets, 1000) + b"}"
        assert httpx.post(money.edge.url + CHAT, content=content, headers=headers).status_code == 400
    deep = b'{"metadata": ' + b'{"a":' * brackets + b"1" + b"}" * brackets + b"}"
    assert money.http.post("/key/generate", content=deep).status_code == 400
    assert money.ask(key).status_code == 200


def test_parked_bodies_are_served_under_their_key(money: Money):
    """Chunked bodies, bodies larger than the Worker reads, and models that it cannot quote."""
    key = money.key()
    headers = {"authorization": f"Bearer {key}"}
    body = json.dumps(chat()).encode()
    chunked = httpx.post(money.edge.url + CHAT, content=iter([body[:10], body[10:]]), headers=headers)
    assert chunked.status_code == 200
    for size in (60_000, 70_000, 3_000_000):
        assert money.ask(key, content="x" * size).status_code == 200
    assert money.ask(key, model="preset").status_code == 200
    assert money.ask(key, model="wild/x").status_code == 200
    assert len(money.settled(key, 6)) == 6


def test_a_refused_key_wakes_no_container(start_edge: StartEdge, tmp_path: Path):
    events = Events(tmp_path / "events")
    money = Money(start_edge(image=image(events)))
    key = money.key(models=["echo"])
    broke = money.key(rpm_limit=0)
    big = "x" * 100_000
    for answer in (
        money.ask("sk-nobodys", model="echo"),
        money.ask("sk-nobodys", model="echo", content=big),
        money.ask("sk-nobodys", model="unknown"),
        money.ask(key, model="stream"),
        money.ask(broke, model="echo"),
        money.http.get("/v1/models", headers={"x-api-key": "sk-nobodys", "authorization": ""}),
    ):
        assert answer.status_code in (401, 403, 429)
    assert events.of("start") == []
    assert money.ask(key, model="echo").status_code == 200


def test_the_admin_api_explains_errors(money: Money):
    post = money.http.post
    assert post("/key/generate", json={"max_budget": -1}).status_code == 400
    assert post("/key/generate", json={"no_such_field": 1}).json()["error"]["param"] == "no_such_field"
    assert post("/key/generate", content=b"{").status_code == 400
    assert post("/key/update", json={"key": "sk-nobodys"}).status_code == 404
    assert post("/key/generate", content=iter([b"{}"])).status_code == 411
    assert post("/key/generate", content=b" " * (2 << 20)).status_code == 413
    assert post("/key/generate", content=b"x", headers={"content-encoding": "gzip"}).status_code == 415
    for path, fields in (
        ("/key/generate", {"key": MASTER_KEY}),
        ("/key/sk-nobodys/regenerate", {"new_key": MASTER_KEY}),
        ("/key/block", {"key": MASTER_KEY}),
    ):
        refused = post(path, json=fields)
        assert (refused.status_code, "is the master key" in refused.text) == (400, True)
    assert post("/key/delete", json={"key_aliases": ["\0"]}).status_code == 400
    assert money.http.get("/spend/logs?after=%C2%B2-x").status_code == 400
    assert money.http.get("/spend/logs", params={"size": "many"}).status_code == 400
    assert money.http.get("/spend/logs?size=1&size=2").status_code == 400
    assert post("/key/generate", content=b"").status_code == 200
    assert money.http.head("/key/list").content == b""


def test_keys_are_managed_from_the_shell(edge: Edge):
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "container", *arguments, "--url", edge.url]
        environment = {**os.environ, "LITELLM_MASTER_KEY": MASTER_KEY}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    key = run("keys", "create", "--alias", "shell", "--max-budget", "1", "--rpm", "60").strip()
    assert Money(edge).ask(key).status_code == 200
    assert "shell" in run("keys", "list")
    new = run("keys", "rotate", "shell").strip()
    assert Money(edge).ask(key).status_code == 401
    assert Money(edge).ask(new).status_code == 200
    assert "spent" in run("spend")
    assert "running" in run("status")
    run("keys", "delete", "shell")
    assert Money(edge).ask(new).status_code == 401


def test_keys_declared_in_the_config(start_edge: StartEdge, tmp_path: Path):
    declared = {"virtual_keys": [{"key": "os.environ/BOT_KEY", "key_alias": "bot", "models": ["gpt"]}]}
    config = {**CONFIG, "general_settings": declared}
    storage = tmp_path / "edge"
    storage.mkdir()
    edge = start_edge(config, vars={"BOT_KEY": "sk-of-the-bot-itself"}, directory=storage)
    assert Money(edge).ask("sk-of-the-bot-itself").status_code == 200
    assert Money(edge).ask("sk-of-the-bot-itself", model="other").status_code == 403
    edge.wait_for_log('"listening"')
    assert "BOT_KEY" not in edge.log(), "the container is not given it, and does not need it"
    edge.stop()
    gone = start_edge(CONFIG, vars={"BOT_KEY": "sk-of-the-bot-itself"}, directory=storage)
    assert Money(gone).ask("sk-of-the-bot-itself").status_code == 401
