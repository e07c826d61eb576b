"""The admin API of teams, users, end users and tags, on every store."""

import asyncio
import json
from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import NOON, Ledger, query
from worker.core.ledger import budget_admin, key_admin, owner_admin, owner_views
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.decision import Decision
from worker.core.ledger.owner_views import MAX_UNPAGED, Filters
from worker.core.ledger.owners import MAX_MEMBERS, OF_KIND, OWNERS
from worker.core.values import periods

TEAM, USER, END_USER, TAG = OF_KIND["team"], OF_KIND["user"], OF_KIND["end_user"], OF_KIND["tag"]


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


class Admin:
    """Shorthands. What refuses is returned as the refusal; `ok` wants a success."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.store = ledger.store
        self.dialect = ledger.store.dialect

    async def run(self, decision: Decision) -> dict[str, Any]:
        return await self.store.run(decision)

    async def ok(self, decision: Decision) -> Any:
        result = await self.store.run(decision)
        assert result["ok"], result
        return result["body"]

    async def new(self, kind: Any, id: str | None = None, **fields: Any) -> Any:
        given = fields if id is None else {kind.id: id, **fields}
        return await self.ok(owner_admin.new(self.dialect, kind, given, self.ledger.now))

    async def refused(self, kind: Any, **fields: Any) -> tuple[int, str]:
        result = await self.run(owner_admin.new(self.dialect, kind, fields, self.ledger.now))
        assert not result["ok"], result
        return result["status"], result["param"]

    async def update(self, kind: Any, id: str, **fields: Any) -> Any:
        return await self.run(owner_admin.update(self.dialect, kind, {kind.id: id, **fields}, self.ledger.now))

    async def delete(self, kind: Any, **fields: Any) -> Any:
        return await self.run(owner_admin.delete(self.dialect, kind, fields, self.ledger.now))

    async def info(self, kind: Any, id: Any) -> Any:
        return await self.run(owner_views.info(kind, id, self.ledger.now))

    async def list(self, kind: Any, page: int | None = 1, size: int = 25, **filters: Any) -> Any:
        return await self.ok(owner_views.list_owners(kind, page, size, self.ledger.now, Filters(**filters)))

    async def add(self, team: str, member: Any) -> Any:
        return await self.run(
            owner_admin.member_add(self.dialect, {"team_id": team, "member": member}, self.ledger.now)
        )

    async def members(self, team: str) -> dict[str, str]:
        shown = (await self.info(TEAM, team))["body"]["team_info"]["members_with_roles"]
        return {one["user_id"]: one["role"] for one in shown}


@pytest.fixture
def admin(ledger: Ledger) -> Admin:
    return Admin(ledger)


LIMITS = {
    "max_budget": 12.5,
    "soft_budget": 10,
    "budget_duration": "30d",
    "rpm_limit": 60,
    "tpm_limit": 1000,
    "max_parallel_requests": 3,
    "blocked": True,
}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (TEAM, {"team_alias": "Blue", "models": ["gpt-*"], "metadata": {"cost": 7}}),
        (USER, {"user_alias": "Ada", "user_email": "ada@example.com", "user_role": "internal_user", "models": ["x"]}),
        (END_USER, {"alias": "a customer"}),
        (TAG, {"description": "what is not billed"}),
    ],
)
async def test_fields_are_shown_as_set_and_null_unsets_them(admin: Admin, kind: Any, fields: dict[str, Any]) -> None:
    id = "a:b/c Zürich 東京"
    await admin.new(kind, id, **fields, **LIMITS)
    (shown,) = (await admin.list(kind))[kind.words]
    assert {name: shown[name] for name in (kind.id, *fields, *LIMITS)} == {kind.id: id, **fields, **LIMITS}
    assert (shown["spend"], shown["reserved"], shown["budget_reset_at"]) == (0, 0, "2026-12-01T00:00:00.000Z")
    assert shown["created_at"] == shown["updated_at"] == "2026-11-20T12:00:30.000Z"
    admin.ledger.now += 1000
    assert (await admin.update(kind, id, **dict.fromkeys((*fields, *LIMITS))))["ok"]
    (shown,) = (await admin.list(kind))[kind.words]
    assert {shown[name] or None for name in LIMITS} == {None}
    assert shown["updated_at"] == "2026-11-20T12:00:31.000Z"


@pytest.mark.parametrize(
    ("kind", "fields", "param"),
    [
        (TEAM, {"team_id": "a\nb"}, "team_id"),
        (TEAM, {"team_id": "x" * 256}, "team_id"),
        (TEAM, {"team_id": 7}, "team_id"),
        (TEAM, {"max_budget": "much"}, "max_budget"),
        (TEAM, {"max_budget": 1, "soft_budget": 2}, "soft_budget"),
        (TEAM, {"budget_duration": "1y"}, "budget_duration"),
        (TEAM, {"models": "gpt-4o"}, "models"),
        (TEAM, {"blocked": "yes"}, "blocked"),
        (TEAM, {"team_member_budget": 1}, "team_member_budget"),
        (TEAM, {"organization_id": "o"}, "organization_id"),
        (TEAM, {"guardrails": ["pii"]}, "guardrails"),
        (TEAM, {"user_email": "a@b"}, "user_email"),
        (TEAM, {"members_with_roles": {}}, "members_with_roles"),
        (TEAM, {"members_with_roles": ["ada"]}, "members_with_roles"),
        (TEAM, {"members_with_roles": [{"role": "user"}]}, "members_with_roles"),
        (TEAM, {"members_with_roles": [{"user_id": "ada", "role": "owner"}]}, "members_with_roles"),
        (TEAM, {"members_with_roles": [{"user_id": "a\0", "role": "user"}]}, "members_with_roles"),
        (TEAM, {"members_with_roles": [{"user_id": "ada", "max_budget": 1}]}, "members_with_roles"),
        (TEAM, {"members_with_roles": [{"user_id": f"u{n}"} for n in range(MAX_MEMBERS + 1)]}, "members_with_roles"),
        (USER, {"user_role": "king"}, "user_role"),
        (USER, {"user_role": ["proxy_admin"]}, "user_role"),
        (USER, {"user_email": "a\u202eb"}, "user_email"),
        (USER, {"password": "hunter2"}, "password"),
        (USER, {"teams": "blue"}, "teams"),
        (USER, {"teams": [7]}, "teams"),
        (USER, {"auto_create_key": "no"}, "auto_create_key"),
        (USER, {"duration": "1y"}, "duration"),
        (END_USER, {}, "user_id"),
        (END_USER, {"user_id": ""}, "user_id"),
        (END_USER, {"user_id": "c", "allowed_model_region": "eu"}, "allowed_model_region"),
        (END_USER, {"user_id": "c", "models": ["gpt-4o"]}, "models"),
        (TAG, {"name": "t" * 101}, "name"),
        (TAG, {"name": "t", "models": ["gpt-4o"]}, "models"),
    ],
)
async def test_an_invalid_field_is_named_and_nothing_is_created(
    admin: Admin, kind: Any, fields: dict[str, Any], param: str
) -> None:
    assert await admin.refused(kind, **fields) == (400, param)
    for table in ("owners", "keys"):
        assert await query(admin.store, f"SELECT COUNT(*) FROM ledger_{table}") == [(0,)]


@pytest.mark.parametrize("kind", [TEAM, USER, END_USER, TAG])
async def test_an_id_is_unique_within_its_kind(admin: Admin, kind: Any) -> None:
    await admin.new(kind, "same", **({"auto_create_key": False} if kind is USER else {}))
    assert await admin.refused(kind, **{kind.id: "same"}) == (409 if kind is USER else 400, kind.id)
    other = TAG if kind is TEAM else TEAM
    await admin.new(other, "same")


async def test_litellm_fields_that_say_nothing_are_accepted(admin: Admin) -> None:
    await admin.new(TEAM, "blue", organization_id=None, guardrails=[], metadata=None, admins=[], members=[])
    await admin.new(USER, "ada", spend=None, aliases={}, config={}, permissions={}, send_invite_email=False)


@pytest.mark.parametrize("kind", [TEAM, END_USER, TAG])
async def test_an_unknown_id_is_404(admin: Admin, kind: Any) -> None:
    field = {TEAM: "team_ids", END_USER: "user_ids"}.get(kind, "name")
    for result in (
        await admin.update(kind, "nobody", max_budget=1),
        await admin.delete(kind, **{field: "nobody" if kind is TAG else ["nobody"]}),
        await admin.info(kind, "nobody"),
    ):
        assert result["status"] == 404
    assert (await admin.info(kind, None))["status"] == 400
    assert (await admin.info(kind, "a\nb"))["status"] == 400


async def test_update_creates_a_user_as_in_litellm(admin: Admin) -> None:
    made = await admin.update(USER, "ada", max_budget=5)
    assert (made["body"]["user_id"], made["body"]["max_budget"], made["body"]["key"]) == ("ada", 5, "")
    assert (await admin.update(USER, "ada", max_budget=6))["body"]["data"]["max_budget"] == 6


async def test_a_user_is_updated_by_email(admin: Admin) -> None:
    await admin.new(USER, "ada", user_email="Ada@example.com")
    result = await admin.run(
        owner_admin.update(admin.dialect, USER, {"user_email": "ada@EXAMPLE.com", "rpm_limit": 3}, NOON)
    )
    assert result["body"]["data"]["rpm_limit"] == 3
    nobody = await admin.run(owner_admin.update(admin.dialect, USER, {"user_email": "b@example.com"}, NOON))
    assert (nobody["status"], nobody["param"]) == (404, "user_email")


async def test_an_email_is_unique_whatever_its_case(admin: Admin) -> None:
    await admin.new(USER, "ada", user_email="Ada@example.com")
    assert await admin.refused(USER, user_id="bob", user_email="ada@example.com") == (409, "user_email")
    await admin.new(USER, "bob")
    assert (await admin.update(USER, "bob", user_email="ADA@example.com"))["status"] == 409
    assert (await admin.update(USER, "ada", user_email="ada@example.com"))["ok"]


async def test_a_new_user_gets_a_key_and_joins_teams(admin: Admin) -> None:
    await admin.new(TEAM, "blue")
    await admin.new(TEAM, "red")
    made = await admin.new(USER, "ada", teams=["blue", {"team_id": "red", "user_role": "admin"}], key_alias="ada's")
    assert sorted(made["teams"]) == ["blue", "red"]
    assert (await admin.members("red"), await admin.members("blue")) == ({"ada": "admin"}, {"ada": "user"})
    info = await admin.ledger.info(made["key"])
    assert (info["user_id"], info["key_alias"], info["max_budget"]) == ("ada", "ada's", None)
    without = await admin.new(USER, auto_create_key=False)
    assert (without["key"], len(without["user_id"])) == ("", 32)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"teams": ["none"]}, (404, "teams")),
        ({"team_id": "none"}, (404, "teams")),
        ({"key_alias": "taken"}, (400, "key_alias")),
        ({"budget_id": "none"}, (404, "budget_id")),
    ],
)
async def test_a_user_that_cannot_be_made_leaves_nothing(
    admin: Admin, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    await admin.ledger.key(key_alias="taken")
    assert await admin.refused(USER, user_id="ada", **fields) == expected
    assert await query(admin.store, "SELECT COUNT(*) FROM ledger_owners") == [(0,)]
    assert await query(admin.store, "SELECT COUNT(*) FROM ledger_keys") == [(1,)]


async def test_members_are_added_by_id_and_by_email_and_users_are_created(admin: Admin) -> None:
    await admin.new(TEAM, "blue")
    await admin.new(USER, "ada", user_email="ada@example.com")
    added = await admin.add("blue", [{"user_email": "ADA@example.com", "role": "admin"}, {"user_id": "bob"}])
    assert [one["user_id"] for one in added["body"]["updated_users"]] == ["ada", "bob"]
    assert await admin.members("blue") == {"ada": "admin", "bob": "user"}
    assert (await admin.add("blue", {"user_email": "cy@example.com", "role": "user"}))["ok"]
    (cy,) = [id for id in await admin.members("blue") if id not in ("ada", "bob")]
    assert (await admin.info(USER, cy))["body"]["user_info"]["user_email"] == "cy@example.com"
    assert (await admin.info(USER, "bob"))["body"]["user_info"]["teams"] == ["blue"]
    assert (await admin.info(USER, "bob"))["body"]["teams"][0]["team_id"] == "blue"


@pytest.mark.parametrize(
    ("member", "param"),
    [
        (None, "member"),
        ([], "member"),
        ("ada", "member"),
        ({}, "member"),
        ({"user_id": "ada"}, "member"),
        ([{"user_id": "ada"}], "member"),
        ({"user_id": "x", "role": "owner"}, "member"),
        ({"user_id": "x", "user_email": "ada@example.com"}, "member"),
        ([{"user_id": f"u{n}"} for n in range(MAX_MEMBERS)], "member"),
    ],
)
async def test_a_member_that_cannot_be_added_changes_nothing(admin: Admin, member: Any, param: str) -> None:
    await admin.new(USER, "ada", user_email="ada@example.com", auto_create_key=False)
    await admin.new(TEAM, "blue", members_with_roles=[{"user_id": "ada", "role": "user"}])
    refused = await admin.add("blue", member)
    assert (refused["status"], refused["param"]) == (400, param)
    assert await admin.members("blue") == {"ada": "user"}
    assert await query(admin.store, "SELECT COUNT(*) FROM ledger_owners") == [(2,)]


async def test_those_who_are_in_the_team_already_are_passed_over_among_others(admin: Admin) -> None:
    await admin.new(TEAM, "blue", members_with_roles=[{"user_id": "ada", "role": "admin"}])
    assert (await admin.add("blue", [{"user_id": "ada", "role": "user"}, {"user_id": "bob"}]))["ok"]
    assert await admin.members("blue") == {"ada": "admin", "bob": "user"}


async def test_concurrent_additions_lose_nobody(admin: Admin) -> None:
    await admin.new(TEAM, "blue")
    results = await asyncio.gather(*(admin.add("blue", {"user_id": f"u{n}", "role": "user"}) for n in range(25)))
    assert all(one["ok"] for one in results)
    assert set(await admin.members("blue")) == {f"u{n}" for n in range(25)}


@pytest.mark.parametrize("named", [{"user_id": "ada"}, {"user_email": "ADA@example.com"}])
async def test_a_member_who_leaves_loses_the_keys_of_this_team_only(admin: Admin, named: dict[str, str]) -> None:
    await admin.new(USER, "ada", user_email="ada@example.com", auto_create_key=False)
    for team in ("blue", "red"):
        await admin.new(TEAM, team, members_with_roles=[{"user_id": "ada", "role": "user"}])
    doomed = await admin.ledger.key(user_id="ada", team_id="blue")
    kept = [
        await admin.ledger.key(user_id="ada", team_id="red"),
        await admin.ledger.key(user_id="ada"),
        await admin.ledger.key(user_id="bob", team_id="blue"),
    ]
    body = {"team_id": "blue", **named}
    left = await admin.ok(owner_admin.member_delete(admin.dialect, body, NOON))
    assert (left["members_with_roles"], left["deleted_keys"]) == ([], 1)
    assert (await admin.ledger.admit(doomed))["status"] == 401
    for key in kept:
        assert (await admin.ledger.info(key))["key_name"]
    again = await admin.run(owner_admin.member_delete(admin.dialect, body, NOON))
    assert again["status"] == 404
    assert await admin.members("red") == {"ada": "user"}


async def test_a_members_role_can_be_changed(admin: Admin) -> None:
    await admin.new(TEAM, "blue", members_with_roles=[{"user_id": "ada", "role": "user"}, {"user_id": "bob"}])
    body = {"team_id": "blue", "user_id": "ada", "role": "admin"}
    changed = await admin.ok(owner_admin.member_update(admin.dialect, body, NOON))
    assert changed == {"team_id": "blue", "user_id": "ada", "user_email": None, "role": "admin"}
    assert await admin.members("blue") == {"ada": "admin", "bob": "user"}
    for wrong in ({"role": None}, {"role": "king"}, {"max_budget_in_team": 3}, {"user_id": None}):
        refused = await admin.run(owner_admin.member_update(admin.dialect, {**body, **wrong}, NOON))
        assert refused["status"] == 400, wrong
    unknown = await admin.run(owner_admin.member_update(admin.dialect, {**body, "team_id": "x"}, NOON))
    assert unknown["status"] == 404


async def test_a_deleted_team_takes_its_keys_along_and_keeps_its_spending(admin: Admin) -> None:
    await admin.new(TEAM, "blue")
    await admin.new(TEAM, "red")
    doomed = [await admin.ledger.key(team_id="blue") for _ in range(3)]
    kept = await admin.ledger.key(team_id="red")
    free = await admin.ledger.key()
    await query(admin.store, "UPDATE ledger_accounts SET spent = 5, total = 5 WHERE id = 'team:blue'")
    both = await admin.delete(TEAM, team_ids=["blue", "none"])
    assert both["status"] == 404
    assert (await admin.ledger.info(doomed[0]))["team_id"] == "blue"
    assert (await admin.delete(TEAM, team_ids=["blue"]))["body"] == {"deleted_teams": ["blue"], "deleted_keys": 3}
    for key in doomed:
        assert (await admin.ledger.admit(key))["status"] == 401
    assert await query(admin.store, "SELECT COUNT(*) FROM ledger_secrets") == [(2,)]
    for key in (kept, free):
        assert (await admin.ledger.info(key))["key_name"]
    await admin.new(TEAM, "blue")
    assert (await admin.info(TEAM, "blue"))["body"]["team_info"]["total_spend"] == 5e-9


async def test_a_deleted_user_leaves_its_teams_and_loses_its_keys(admin: Admin) -> None:
    await admin.new(TEAM, "blue", members_with_roles=[{"user_id": "ada", "role": "admin"}, {"user_id": "bob"}])
    key = await admin.ledger.key(user_id="ada")
    assert (await admin.delete(USER, user_ids=["ada"]))["body"] == {"deleted_users": ["ada"], "deleted_keys": 1}
    assert await admin.members("blue") == {"bob": "user"}
    assert (await admin.ledger.admit(key))["status"] == 401
    assert (await admin.info(USER, "ada"))["status"] == 404


@pytest.mark.parametrize("ids", [None, [], "blue", [7], [f"t{n}" for n in range(51)]])
async def test_deleting_wants_a_list_of_ids(admin: Admin, ids: Any) -> None:
    refused = await admin.delete(TEAM, team_ids=ids)
    assert (refused["status"], refused["param"]) == (400, "team_ids")


async def test_teams_and_end_users_are_blocked_and_unblocked(admin: Admin) -> None:
    await admin.new(TEAM, "blue")
    for blocked in (True, False):
        found = await admin.ok(owner_admin.block(admin.dialect, TEAM, {"team_id": "blue"}, blocked, NOON))
        assert found["blocked"] is blocked
    ids = {"user_ids": ["new", "newer"]}
    made = await admin.ok(owner_admin.block(admin.dialect, END_USER, ids, True, NOON))
    assert [(one["user_id"], one["blocked"]) for one in made["blocked_users"]] == [("new", True), ("newer", True)]
    assert await admin.ok(owner_admin.block(admin.dialect, END_USER, ids, False, NOON)) == {"blocked_users": []}
    assert (await admin.info(END_USER, "new"))["body"]["blocked"] is False
    for kind, body in ((TEAM, {"team_id": "none"}), (END_USER, {"user_ids": ["none"]})):
        refused = await admin.run(owner_admin.block(admin.dialect, kind, body, False, NOON))
        assert refused["status"] == 404


async def test_tags_are_shown_by_name(admin: Admin) -> None:
    made = await admin.new(TAG, "team:a", max_budget=1)
    assert made["tag"]["name"] == "team:a"
    found = await admin.ok(owner_views.tags_info({"names": ["team:a"]}, NOON))
    assert found["team:a"]["max_budget"] == 1
    assert (await admin.run(owner_views.tags_info({"names": ["team:a", "b"]}, NOON)))["status"] == 404
    for wrong in ({}, {"names": "team:a"}, {"names": [7]}):
        assert (await admin.run(owner_views.tags_info(wrong, NOON)))["status"] == 400
    assert (await admin.delete(TAG, name="team:a"))["ok"]
    assert (await admin.list(TAG, None)) == []


async def test_a_list_is_paged_searched_and_sorted(admin: Admin) -> None:
    for n in range(12):
        admin.ledger.now += 1
        await admin.new(TEAM, f"t{n:02}", team_alias=f"Blue {n}" if n % 2 else None, max_budget=n)
    await admin.new(USER, "blue", auto_create_key=False)
    first = await admin.list(TEAM, 1, 5)
    assert [one["team_id"] for one in first["teams"]] == ["t11", "t10", "t09", "t08", "t07"]
    assert (first["total"], first["page"], first["page_size"], first["total_pages"]) == (12, 1, 5, 3)
    assert len((await admin.list(TEAM, 3, 5))["teams"]) == 2
    assert len(await admin.list(TEAM, None)) == 12
    assert (await admin.list(TEAM, search="bLUE 1"))["total"] == 2
    assert (await admin.list(TEAM, search="T05"))["total"] == 1
    assert (await admin.list(TEAM, alias="blue"))["total"] == 6
    assert (await admin.list(TEAM, ids=("t01", "none")))["total"] == 1
    by_alias = await admin.list(TEAM, 1, 3, sort="team_alias", descending=True)
    assert [one["team_alias"] for one in by_alias["teams"]] == ["Blue 9", "Blue 7", "Blue 5"]
    dearest = await admin.list(TEAM, 1, 1, sort="max_budget", descending=True)
    assert dearest["teams"][0]["team_id"] == "t11"


async def test_users_are_found_by_role_email_and_team(admin: Admin) -> None:
    await admin.new(USER, "ada", user_email="ada@example.com", user_role="proxy_admin", auto_create_key=False)
    await admin.new(USER, "bob", user_email="bob@other.com")
    await admin.new(TEAM, "blue", members_with_roles=[{"user_id": "bob"}, {"user_id": 'c"y'}])

    async def ids(**filters: Any) -> list[str]:
        return [one["user_id"] for one in (await admin.list(USER, **filters))["users"]]

    assert await ids(role="proxy_admin") == ["ada"]
    assert await ids(email="OTHER") == ["bob"]
    assert await ids(team="blue") == ["bob", 'c"y']
    assert await ids(team="blue", search="example") == []
    assert await ids(team="none") == []
    assert [team["team_id"] for team in (await admin.list(TEAM, member='c"y'))["teams"]] == ["blue"]
    assert (await admin.list(TEAM, member="c"))["teams"] == []
    shown = {one["user_id"]: (one["teams"], one["key_count"]) for one in (await admin.list(USER))["users"]}
    assert shown == {"ada": ([], 0), "bob": (["blue"], 1), 'c"y': (["blue"], 0)}


async def test_more_than_a_response_holds_needs_pages(admin: Admin) -> None:
    await admin.new(TAG, "t0")
    columns = ", ".join(name for name in OWNERS.columns if name != "account")
    await query(
        admin.store,
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAX_UNPAGED - 1}) "
        f"INSERT INTO ledger_owners (account, {columns}) "
        f"SELECT 'tag:t' || i, {columns} FROM n, ledger_owners WHERE account = 'tag:t0'",
    )
    assert len(await admin.list(TAG, None)) == MAX_UNPAGED
    await admin.new(TAG, "one more")
    refused = await admin.run(owner_views.list_owners(TAG, None, 25, NOON))
    assert (refused["status"], refused["param"]) == (400, "page")
    assert (await admin.list(TAG))["total"] == MAX_UNPAGED + 1


async def test_a_budget_supplies_the_limits_that_are_open(admin: Admin) -> None:
    budget = await admin.ok(
        budget_admin.new(admin.dialect, {"budget_id": "free", "max_budget": 2, "budget_duration": "1d"}, NOON)
    )
    assert (budget["budget_id"], budget["max_budget"]) == ("free", 2)
    await admin.new(TEAM, "blue", budget_id="free", rpm_limit=3)
    shown = (await admin.info(TEAM, "blue"))["body"]["team_info"]
    assert (shown["max_budget"], shown["rpm_limit"], shown["budget_id"]) == (None, 3, "free")
    assert shown["litellm_budget_table"]["max_budget"] == 2
    assert shown["budget_reset_at"] == "2026-11-21T00:00:00.000Z"
    key = await admin.ledger.info(await admin.ledger.key(budget_id="free"))
    assert key["budget_reset_at"] == "2026-11-21T00:00:00.000Z"
    own = await admin.ledger.info(await admin.ledger.key(budget_id="free", budget_duration="1h"))
    assert own["budget_reset_at"] == "2026-11-20T13:00:00.000Z"
    assert await admin.refused(TAG, name="t", budget_id="none") == (404, "budget_id")
    assert (await admin.update(TEAM, "blue", budget_id="none"))["param"] == "budget_id"


async def test_a_key_belongs_to_a_team_that_exists_and_may_use_its_models(admin: Admin) -> None:
    await admin.new(TEAM, "blue", models=["gpt-*", "claude"])

    async def refused(decision: Decision) -> tuple[int, str]:
        result = await admin.run(decision)
        assert not result["ok"]
        return result["status"], result["param"]

    def generate(**fields: Any) -> Decision:
        return key_admin.generate(admin.dialect, fields, NOON)

    assert await refused(generate(team_id="none")) == (404, "team_id")
    assert await refused(generate(budget_id="none")) == (404, "budget_id")
    assert await refused(generate(team_id="blue", models=["gpt-4o", "gemini"])) == (400, "models")
    assert await refused(generate(team_id="blue", models=["*"])) == (400, "models")
    assert await refused(generate(models=["all-team-models"])) == (400, "models")
    assert await refused(generate(key_type="king")) == (400, "key_type")
    key = await admin.ledger.key(team_id="blue", models=["gpt-4o", "gpt-5*"], key_type="llm_api")
    info = await admin.ledger.info(key)
    assert (info["team_id"], info["key_type"]) == ("blue", "llm_api")
    assert (await admin.ledger.info(await admin.ledger.key(key_type="default")))["key_type"] is None

    def update(**fields: Any) -> Decision:
        return key_admin.update(admin.dialect, {"key": key, **fields}, NOON)

    assert await refused(update(models=["gemini"])) == (400, "models")
    await admin.ok(update(models=["all-team-models"]))
    assert await refused(update(team_id=None)) == (400, "models")
    assert await refused(update(team_id="none")) == (404, "team_id")
    assert await refused(key_admin.regenerate(admin.dialect, key, {"team_id": "none"}, NOON)) == (404, "team_id")
    free = await admin.ledger.key(models=["gemini"])
    moved = key_admin.update(admin.dialect, {"key": free, "team_id": "blue"}, NOON)
    assert await refused(moved) == (400, "models")
    listed = await admin.ok(key_admin.list_keys(1, 10, NOON, key_admin.KeyFilters(team_id="blue")))
    assert listed["total_count"] == 1


async def test_a_row_in_the_config_file_refuses_changes_but_can_be_blocked(admin: Admin) -> None:
    for kind in (TEAM, USER, END_USER, TAG):
        await admin.new(kind, "x", **({"auto_create_key": False} if kind is USER else {}))
    await query(admin.store, "UPDATE ledger_owners SET declared = 1")
    for kind, doomed in ((TEAM, "team_ids"), (USER, "user_ids"), (END_USER, "user_ids"), (TAG, "name")):
        changed = await admin.update(kind, "x", max_budget=1)
        deleted = await admin.delete(kind, **{doomed: "x" if kind is TAG else ["x"]})
        assert (changed["status"], deleted["status"]) == (400, 400)
        assert kind.words in changed["message"]
    assert (await admin.add("x", {"user_id": "ada"}))["status"] == 400
    assert (await admin.ok(owner_admin.block(admin.dialect, TEAM, {"team_id": "x"}, True, NOON)))["blocked"]


async def test_a_team_with_keys_in_the_config_file_is_not_deleted(admin: Admin) -> None:
    await admin.new(TEAM, "blue")
    key = await admin.ledger.key(team_id="blue")
    await query(admin.store, "UPDATE ledger_keys SET declared = 1")
    assert (await admin.delete(TEAM, team_ids=["blue"]))["status"] == 400
    assert (await admin.ledger.info(key))["team_id"] == "blue"
    assert (await admin.info(TEAM, "blue"))["ok"]


async def test_members_are_stored_as_they_are_searched_for(admin: Admin) -> None:
    await admin.new(TEAM, "blue", members_with_roles=[{"role": "admin", "user_id": "ada"}])
    ((stored,),) = await query(admin.store, "SELECT members FROM ledger_owners WHERE account = 'team:blue'")
    assert stored == json.dumps([{"user_id": "ada", "role": "admin"}])


async def test_spending_of_the_current_period_is_shown(admin: Admin) -> None:
    await admin.new(TEAM, "blue", budget_duration="1d", max_budget=1)
    await query(
        admin.store,
        "UPDATE ledger_accounts SET spent = 1000000000, reserved = 5, total = 7000000000, parallel = 2 WHERE id = ?",
        "team:blue",
    )
    shown = (await admin.info(TEAM, "blue"))["body"]["team_info"]
    assert (shown["spend"], shown["reserved"], shown["total_spend"], shown["running_requests"]) == (1, 5e-9, 7, 2)
    admin.ledger.now += periods.DAY
    shown = (await admin.info(TEAM, "blue"))["body"]["team_info"]
    assert (shown["spend"], shown["reserved"], shown["total_spend"]) == (0, 0, 7)


async def test_limits_of_the_configuration_say_which_period_is_shown(admin: Admin) -> None:
    await admin.new(USER, "ada", auto_create_key=False)
    start = periods.start("1d", NOON)
    await query(
        admin.store, "UPDATE ledger_accounts SET start = ?, spent = 5, total = 9 WHERE id = ?", start, "user:ada"
    )
    policy = Policy(each_user=Limits(max_budget=100, duration="1d"))
    shown = (await admin.ok(owner_views.info(USER, "ada", NOON, policy)))["user_info"]
    assert (shown["spend"], shown["budget_reset_at"]) == (5e-9, "2026-11-21T00:00:00.000Z")
    later = (await admin.ok(owner_views.info(USER, "ada", NOON + periods.DAY, policy)))["user_info"]
    assert (later["spend"], later["total_spend"]) == (0, 9e-9)
