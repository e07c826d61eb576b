"""Aliases of a team: what a model's name stands for is decided by the admission, on every store."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.stores import SqliteStore, Store
from tests.ledger.support import NOON, Ledger, query
from worker.core.identity.authenticator import JwtCaller, Team
from worker.core.ledger import admit, owners
from worker.core.ledger.accounts import Policy
from worker.core.ledger.administration import decide
from worker.core.ledger.keys import hash_secret

ALIASES = {"fast": "small", "gpt-4o": "small", "small": "gpt-4o", "far": "fast"}


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def a_key(ledger: Ledger, *, models: list[str] | None = None, **team: Any) -> str:
    await ledger.owner("team:blue", model_aliases=json.dumps(ALIASES), **team)
    return await ledger.key(team_id="blue", models=models or [])


@pytest.mark.parametrize(
    ("model", "named", "wanted"),
    [
        ("gpt-4o", "", "small"),
        ("fast", "", "small"),
        ("small", "", "gpt-4o"),  # not the target of an alias, but an alias itself
        ("small", "far", "fast"),  # an alias of an alias is none
        ("gpt-4o", "fast", "small"),  # quoted before the alias was changed
        ("small", "gone", "gone"),  # quoted before the alias was removed
        ("fast", "fast", "small"),
    ],
)
async def test_a_request_for_another_model_is_not_admitted(ledger: Ledger, model: str, named: str, wanted: str) -> None:
    key = await a_key(ledger, max_budget=1000)
    result = await ledger.admit(key, 10, model=model, named=named)
    assert (result["ok"], result["aliased"], result["status"]) == (False, wanted, 503)
    assert ("retry-after", "1") in map(tuple, result["headers"])
    assert await query(ledger.store, "SELECT id FROM ledger_requests") == []
    assert (await ledger.account("team:blue"))["requests"] == 0


@pytest.mark.parametrize(("named", "model"), [*ALIASES.items(), ("", "other")])
async def test_a_request_is_recorded_with_the_model_that_its_name_stands_for(
    ledger: Ledger, named: str, model: str
) -> None:
    key = await a_key(ledger)
    result = await ledger.admit(key, 10, model=model, named=named)
    assert (result["ok"], result["aliases"]) == (True, ALIASES)
    assert await query(ledger.store, "SELECT model FROM ledger_requests") == [(model,)]


@pytest.mark.parametrize(
    ("own", "teams"), [(["one"], []), ([], ["one"]), (["one"], ["two"]), (["all-team-models"], ["one"])]
)
async def test_an_alias_may_be_used_and_its_model_may_not(ledger: Ledger, own: list[str], teams: list[str]) -> None:
    key = await ledger.key(team_id="blue", models=own)
    await ledger.owner("team:blue", model_aliases='{"fast": "small"}', models=json.dumps(teams))
    assert (await ledger.admit(key, model="small", named="fast"))["ok"]
    for model in ("small", "other"):
        refused = await ledger.admit(key, model=model)
        assert (refused["status"], refused["message"]) == (403, f"This key may not use the model '{model}'.")


async def test_a_blocked_key_learns_nothing_about_aliases(ledger: Ledger) -> None:
    key = await a_key(ledger, blocked=1)
    assert "aliased" not in (await ledger.admit(key, model="fast"))
    assert (await ledger.admit("sk-unknown", model="fast"))["status"] == 401


async def test_only_a_team_has_aliases(ledger: Ledger) -> None:
    await ledger.owner("user:ada", model_aliases=json.dumps(ALIASES))
    await ledger.owner("end_user:7", model_aliases=json.dumps(ALIASES))
    key = await ledger.key(user_id="ada")
    assert (await ledger.admit(key, model="fast", end_user="7"))["ok"]
    assert (await ledger.admit(None, model="fast"))["ok"]


async def test_a_jwts_team_has_aliases(ledger: Ledger) -> None:
    await a_key(ledger)
    assert (await ledger.admit(None, model="fast", team_id="blue"))["aliased"] == "small"
    found = await ledger.store.run(
        owners.of_token("", ["blue"], add_user=False, add_team=False, chosen=False, now=NOON)
    )
    assert (found["teams"], found["aliases"]) == ([["blue", "[]"]], {"blue": json.dumps(ALIASES)})


async def test_a_lookup_tells_the_aliases(ledger: Ledger) -> None:
    key = await a_key(ledger, models=["one"])
    found = await ledger.store.run(admit.authenticate(hash_secret(key), ledger.now))
    assert (found["models"], found["aliases"]) == (["one", *ALIASES], ALIASES)
    other = await ledger.store.run(admit.authenticate(hash_secret(await ledger.key()), ledger.now))
    assert "aliases" not in other


async def test_requests_of_several_teams_in_one_batch(ledger: Ledger) -> None:
    blue = await a_key(ledger)
    await ledger.owner("team:red", model_aliases='{"fast": "large"}')
    red, none = await ledger.key(team_id="red"), await ledger.key()
    asked = [ledger.request(key, model="small", named="fast") for key in (blue, red)]
    _, results = await ledger.batch((), [*asked, ledger.request(none, model="fast")])
    assert [result["ok"] for result in results] == [True, False, True]
    assert results[1]["aliased"] == "large"


def test_the_team_that_pays_decides_what_a_jwts_alias_stands_for() -> None:
    teams = (
        Team("a", '["x"]'),
        Team("b", '["y"]', '{"x": "1", "fast": "2"}'),
        Team("c", "[]", '{"fast": "3", "z": "4"}'),
    )
    caller = JwtCaller(teams=teams)
    assert caller.aliases == {"fast": "2", "z": "4"}
    assert [caller.aliases_with(model) for model in ("x", "fast", "z")] == [
        {}, {"x": "1", "fast": "2"}, {"fast": "3", "z": "4"},
    ]  # fmt: skip
    assert JwtCaller().aliases_with("x") == {}
    assert [caller.payer(model)[0] for model in ("x", "fast", "z", "other")] == ["a", "b", "c", "c"]


def test_a_jwts_scopes_limit_its_aliases() -> None:
    caller = JwtCaller(teams=(Team("a", '["x"]', '{"fast": "y", "slow": "y"}'),), scoped=("fast", "y"))
    assert json.loads(caller.payer("fast")[1]) == ["fast"]


NAMES = st.sampled_from(["a", "b", "c", "d"])


@given(
    aliases=st.dictionaries(NAMES, NAMES, max_size=4),
    later=st.dictionaries(NAMES, NAMES, max_size=4),
    name=NAMES,
    models=st.lists(NAMES, max_size=2),
)
async def test_whatever_changes_meanwhile_a_reservation_is_that_of_the_model(
    aliases: dict[str, str], later: dict[str, str], name: str, models: list[str]
) -> None:
    """A door quotes for what it believes the name stands for, and again for what the ledger says."""
    prices = {"a": 1, "b": 20, "c": 300, "d": 4000}
    store = SqliteStore(":memory:")
    await store.open()
    try:
        ledger = Ledger(store)
        await ledger.owner("team:blue", model_aliases=json.dumps(aliases), models=json.dumps(models))
        key = await ledger.key(team_id="blue")
        believed = aliases.get(name, name)
        await ledger.owner("team:blue", model_aliases=json.dumps(later), models=json.dumps(models))
        for _ in range(2):
            named = name if believed != name else ""
            result = await ledger.admit(key, prices[believed], model=believed, named=named)
            if "aliased" not in result:
                break
            believed = result["aliased"]
        assert result["ok"] == (not models or name in models or name in later), result
        if result["ok"]:
            target = later.get(name, name)
            assert await query(store, "SELECT model, amount FROM ledger_requests") == [(target, prices[target])]
    finally:
        await store.close()


async def call(store: Store, name: str, body: Any = None, **asked: str) -> dict[str, Any]:
    called = {"name": name, "key": None, "query": asked, "body": body}
    return await store.run(decide(store.dialect, Policy(), called, NOON))


@pytest.mark.parametrize(
    "wrong",
    [
        [], "fast", 7, {"": "m"}, {"a": ""}, {"a": 1}, {"a": None}, {"a": ["m"]}, {"a*": "m"}, {"a": "m/*"},
        {"all-proxy-models": "m"}, {"all-team-models": "m"}, {"no-default-models": "m"},
        {"a\n": "m"}, {"a": "m\u0000"}, {"a" * 256: "m"}, {"a": "m" * 256},
        {f"alias-{number}": "m" for number in range(1001)}, {f"{number:0200}": "m" for number in range(90)},
    ],
)  # fmt: skip
async def test_malformed_aliases_are_refused_by_name(ledger: Ledger, wrong: Any) -> None:
    for name in ("team_new", "team_update"):
        refused = await call(ledger.store, name, {"team_id": "blue", "model_aliases": wrong})
        assert not refused["ok"]
        assert name == "team_update" or (refused["status"], refused["param"]) == (400, "model_aliases")
    assert await query(ledger.store, "SELECT account FROM ledger_owners") == []


@pytest.mark.parametrize("kind", ["user", "customer", "tag"])
async def test_nobody_else_can_be_given_aliases(ledger: Ledger, kind: str) -> None:
    id = "name" if kind == "tag" else "user_id"
    refused = await call(ledger.store, f"{kind}_new", {id: "x", "model_aliases": {"fast": "small"}})
    assert (refused["status"], refused["param"]) == (400, "model_aliases")


async def test_a_team_is_given_aliases_and_shows_them(ledger: Ledger) -> None:
    made = await call(ledger.store, "team_new", {"team_id": "blue", "model_aliases": {"fast": "größe"}})
    assert made["body"]["model_aliases"] == {"fast": "größe"}
    await call(ledger.store, "team_update", {"team_id": "blue", "model_aliases": {"slow": "small"}})
    info = await call(ledger.store, "team_info", team_id="blue")
    assert info["body"]["team_info"]["model_aliases"] == {"slow": "small"}
    await call(ledger.store, "team_update", {"team_id": "blue", "model_aliases": None})
    info = await call(ledger.store, "team_info", team_id="blue")
    assert info["body"]["team_info"]["model_aliases"] == {}


async def test_a_key_may_name_an_alias_of_its_team(ledger: Ledger) -> None:
    await call(ledger.store, "team_new", {"team_id": "blue", "models": ["one"], "model_aliases": {"fast": "small"}})
    for models, fits in ((["fast"], True), (["one", "fast"], True), (["small"], False)):
        made = await call(ledger.store, "key_generate", {"team_id": "blue", "models": models})
        assert made["ok"] is fits
        if fits:
            assert (await ledger.admit(made["body"]["key"], model="small", named="fast"))["ok"]
