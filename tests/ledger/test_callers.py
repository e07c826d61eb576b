"""Who may do what through the admin API: people, and keys of each type. On every store."""

import json
from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import Ledger, query
from worker.core.api import admin
from worker.core.api.endpoints import ALL
from worker.core.ledger import callers, declared, keys
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.administration import decide
from worker.core.ledger.decision import POSTGRES
from worker.core.ledger.owners import OWNERS
from worker.core.values import periods

BILLION = 10**9
ADMIN = {e.name for e in ALL if e.admin}


class Company(Ledger):
    """Teams 'blue' (ada administers it, bob is a member) and 'red' (cyn administers it)."""

    async def found(self) -> None:
        await self.owner("team:blue", members=[("ada", "admin"), ("bob", "user")], max_budget=100 * BILLION)
        await self.owner("team:red", members=[("cyn", "admin"), ("zoë \"%'", "user")], models=["gpt-*"], rpm_limit=60)
        for user in ("ada", "bob", "cyn", "dan"):
            await self.owner(f"user:{user}")
        await self.owner("user:root", role="proxy_admin")
        await self.owner("user:eve", role="proxy_admin_viewer")
        await self.owner("user:fay", role="internal_user_viewer")

    async def owner(self, account: str, members: Any = (), **fields: Any) -> None:
        values = {**OWNERS.defaults, "created": self.now, "updated": self.now, "declared": 0, **fields}
        values["members"] = json.dumps([{"user_id": user, "role": role} for user, role in members])
        values["models"] = json.dumps(fields.get("models", []))
        await query(self.store, "DELETE FROM ledger_owners WHERE account = ? RETURNING 1", account)
        names = ", ".join(("account", *values))
        marks = ", ".join("?" * (len(values) + 1))
        await query(
            self.store, f"INSERT INTO ledger_owners ({names}) VALUES ({marks}) RETURNING 1", account, *values.values()
        )

    async def call(
        self, who: Any, name: str, body: Any = None, *, key: str | None = None, query: Any = None, **asked: str
    ) -> Any:
        """`who`: a user, a key's secret, a credential, or None for the master key."""
        credential = who
        if isinstance(who, str):
            is_key = who.startswith("sk-")
            credential = {"key": keys.hash_secret(who)} if is_key else {"person": {"user_id": who}}
        reads = name in ("key_info", "key_list", "spend_logs", "spend_keys", "spend_activity", "global_spend")
        called = {"name": name, "key": key, "query": query or asked, "body": None if reads else (body or {})}
        return await self.store.run(decide(self.store.dialect, self.policy, called, self.now, credential))

    async def info_of(self, who: Any, key: str) -> Any:
        return await self.call(who, "key_info", query={"key": key})

    async def made(self, who: Any, **fields: Any) -> Any:
        found = await self.call(who, "key_generate", fields)
        assert found["ok"], found
        return found["body"]

    async def refused(self, who: Any, name: str, body: Any = None, *, status: int = 403, **more: Any) -> Any:
        before = await query(self.store, "SELECT id, alias, models, max_budget, updated FROM ledger_keys ORDER BY id")
        found = await self.call(who, name, body, **more)
        assert (found["ok"], found.get("status")) == (False, status), found
        after = await query(self.store, "SELECT id, alias, models, max_budget, updated FROM ledger_keys ORDER BY id")
        assert before == after
        return found


@pytest.fixture
async def company(store: Store) -> Company:
    company = Company(store)
    await company.found()
    return company


@pytest.mark.parametrize("name", sorted(ADMIN - set(admin.RULES)))
@pytest.mark.parametrize("role", ["member", "team_admin", "management", "key", "llm_api", "read_only"])
def test_what_the_table_does_not_name_is_for_operators(name: str, role: str):
    caller = admin.AdminCaller(
        user_id="ada",
        teams=("blue",),
        admin_of=("blue",) if role == "team_admin" else (),
        key_id="" if role in ("member", "team_admin") else "1",
        key_type=role,
    )
    assert admin.call_refusal(caller, name, reads=True)
    assert admin.call_refusal(admin.OPERATOR, name, reads=False) is None


def test_the_table_names_endpoints_only():
    later = {name for name in admin.RULES if name.startswith(("team_", "user_"))}
    assert set(admin.RULES) - later <= ADMIN


@pytest.mark.parametrize("name", sorted(ADMIN - {"model_info"} - admin.READS_BY_POST))
def test_rights_and_change_are_one_transaction(name: str):
    call = {"name": name, "key": "sk-x", "query": {}, "body": {}}
    decision = decide(POSTGRES, Policy(), call, 0, {"session": "x"})
    assert decision.transaction
    assert next(decision.steps)[0] == POSTGRES.lock[0]


async def test_a_member_makes_and_manages_its_own_keys(company: Company):
    made = await company.made("bob", key_alias="bobs", models=["gpt-4o"], max_budget=5)
    assert (made["user_id"], made["team_id"]) == ("bob", "blue")  # its only team
    assert (await company.info_of("bob", made["token"]))["body"]["info"]["key_alias"] == "bobs"
    changed = await company.call("bob", "key_update", {"key": made["token"], "max_budget": 7})
    assert changed["body"]["max_budget"] == 7
    rotated = await company.call("bob", "key_regenerate", {}, key=made["key"])
    assert rotated["body"]["key"] != made["key"]
    listed = (await company.call("bob", "key_list"))["body"]["keys"]
    assert listed == [rotated["body"]["token"]]
    assert (await company.call("bob", "key_delete", {"key_aliases": ["bobs"]}))["ok"]


async def test_a_member_touches_no_key_of_another(company: Company):
    others = [
        await company.made(None, user_id="ada", team_id="blue", key_alias="adas"),
        await company.made(None, team_id="blue"),
        await company.made(None),
        await company.made(None, user_id="cyn", team_id="red"),
    ]
    own = await company.made("bob")
    for other in [*others, {"token": "0" * 64, "key": "sk-unheard-of"}]:
        for name in (other["token"], other["key"]):
            await company.refused("bob", "key_update", {"key": name, "max_budget": 1})
            await company.refused("bob", "key_delete", {"keys": [own["token"], name]})
            await company.refused("bob", "key_regenerate", {}, key=name)
            await company.refused("bob", "key_block", {"key": name})
            assert (await company.info_of("bob", name))["status"] == 403
    await company.refused("bob", "key_delete", {"key_aliases": ["adas"]})
    assert (await company.call("bob", "key_list"))["body"]["total_count"] == 1
    for filters in ({"user_id": "ada"}, {"key_alias": "adas"}, {"key_hash": others[0]["token"]}, {"search": "ada"}):
        assert (await company.call("bob", "key_list", **filters))["body"]["total_count"] == 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"user_id": "ada"}, 403),
        ({"team_id": "red"}, 403),
        ({"team_id": "nowhere"}, 403),
        ({"key_type": "management"}, 403),
        ({"key": "sk-chosen-by-bob"}, 403),
        ({"budget_id": "gold"}, 403),
        ({"blocked": True}, 403),
        ({"unheard_of": 1}, 403),
        ({"max_budget": 100.01}, 400),
        ({"max_budget": -1}, 400),
        ({"team_id": ["blue"]}, 403),
    ],
)
async def test_a_member_makes_no_key_beyond_its_own_and_its_teams_limits(company: Company, fields, status):
    await company.refused("bob", "key_generate", fields, status=status)
    own = await company.made("bob")
    fields = {("new_key" if name == "key" else name): value for name, value in fields.items()}
    await company.refused("bob", "key_update", {"key": own["token"], **fields}, status=status)
    await company.refused("bob", "key_regenerate", fields, key=own["token"], status=status)


async def test_an_operators_budget_and_block_stay(company: Company):
    await company.budget("small")
    own = await company.made(None, user_id="bob", team_id="blue", budget_id="small", blocked=True)
    for fields in ({"budget_id": None}, {"blocked": None}, {"blocked": False}, {"team_id": None}, {"user_id": None}):
        await company.refused("bob", "key_update", {"key": own["token"], **fields})
    await company.refused("bob", "key_unblock", {"key": own["token"]})


async def test_models_are_a_subset_of_the_teams_and_the_users(company: Company):
    await company.owner("user:cyn", models=["gpt-4*", "claude"])
    for models in (["claude"], ["*"], ["all-proxy-models"], ["gpt-3"], ["g*"]):
        await company.refused("cyn", "key_generate", {"models": models}, status=400)
    assert (await company.made("cyn", models=["gpt-4*", "gpt-4o"]))["models"] == ["gpt-4*", "gpt-4o"]
    made = await company.made("cyn")
    assert made["models"] == ["gpt-4*"]  # the user's, as far as the team has them
    again = await company.call("cyn", "key_update", {"key": made["token"], "models": None})
    assert again["body"]["models"] == ["gpt-4*"]
    await company.refused("cyn", "key_generate", {"rpm_limit": 61}, status=400)


async def test_without_a_team_a_member_needs_a_budget_of_its_own(company: Company):
    await company.refused("dan", "key_generate", {})
    theirs = await company.made(None, user_id="dan", max_budget=1, duration="1d")
    for fields in ({"max_budget": None}, {"max_budget": 2}, {"models": ["x"]}, {"duration": "-1"}, {"rpm_limit": 9}):
        await company.refused("dan", "key_update", {"key": theirs["token"], **fields})
        await company.refused("dan", "key_regenerate", fields, key=theirs["token"])
    await company.owner("user:dan", max_budget=3 * BILLION)
    assert not (await company.made("dan", max_budget=3))["team_id"]
    await company.refused("dan", "key_generate", {"max_budget": 3.01}, status=400)
    await company.owner("user:dan")
    company.policy = Policy(each_user=Limits(max_budget=2 * BILLION))
    await company.refused("dan", "key_generate", {"max_budget": 2.01}, status=400)
    assert await company.made("dan", max_budget=2)


async def test_a_team_that_was_deleted_limits_nothing(company: Company):
    theirs = await company.made("bob", max_budget=1)
    await query(company.store, "DELETE FROM ledger_owners WHERE account = 'team:blue' RETURNING 1")
    await company.refused("bob", "key_update", {"key": theirs["token"], "max_budget": None})
    await company.refused("bob", "key_regenerate", {"max_budget": 2}, key=theirs["token"])
    assert (await company.call("bob", "key_update", {"key": theirs["token"], "key_alias": "mine"}))["ok"]


async def test_a_budget_supplies_the_limits_that_a_team_leaves_open(company: Company):
    await company.budget("small", max_budget=2 * BILLION)
    await company.owner("team:blue", members=[("bob", "user")], budget_id="small")
    await company.refused("bob", "key_generate", {"max_budget": 2.01}, status=400)
    assert await company.made("bob", max_budget=2)


async def test_a_member_of_several_teams_names_one(company: Company):
    await company.owner("team:green", members=[("bob", "user")])
    await company.refused("bob", "key_generate", {}, status=400)
    assert (await company.made("bob", team_id="green"))["team_id"] == "green"


async def test_a_team_admin_manages_its_teams_keys_only(company: Company):
    await company.refused("bob", "key_generate", {"user_id": ""})  # it would be nobody's own
    bobs, teams = await company.made("bob"), await company.made("ada", user_id="")
    assert not teams["user_id"]
    for key in (bobs, teams):
        assert (await company.call("ada", "key_block", {"key": key["token"]}))["body"]["blocked"]
        assert (await company.call("ada", "key_unblock", {"key": key["token"]}))["ok"]
        assert (await company.call("ada", "key_update", {"key": key["token"], "rpm_limit": 1}))["ok"]
        await company.refused("ada", "key_update", {"key": key["token"], "team_id": "red"})
        await company.refused("cyn", "key_update", {"key": key["token"], "rpm_limit": 1})
        await company.refused("cyn", "key_block", {"key": key["token"]})
    assert (await company.call("ada", "key_list"))["body"]["total_count"] == 2
    assert (await company.call("cyn", "key_list"))["body"]["total_count"] == 0
    await company.refused("ada", "key_generate", {"user_id": "bob"})
    assert (await company.made("ada", key_type="management", team_id="blue"))["key_type"] == "management"


async def test_a_management_key_provisions_within_its_team(company: Company):
    key = (await company.made(None, key_type="management", team_id="blue", key_alias="bot"))["key"]
    other = await company.made(None, key_type="management", team_id="blue")
    red = await company.made(None, team_id="red")
    made = await company.made(key, key_alias="made", max_budget=3)
    assert (made["team_id"], made["user_id"]) == ("blue", None)
    assert (await company.call(key, "key_update", {"key": made["token"], "max_budget": 4}))["ok"]
    for name in (other["token"], red["token"], key):
        await company.refused(key, "key_update", {"key": name, "max_budget": 1})
        await company.refused(key, "key_delete", {"keys": [name]})
        await company.refused(key, "key_regenerate", {}, key=name)
        await company.refused(key, "key_block", {"key": name})
    for fields in ({"team_id": "red"}, {"user_id": "bob"}, {"key_type": "management"}, {"budget_id": "x"}):
        await company.refused(key, "key_generate", fields)
        await company.refused(key, "key_update", {"key": made["token"], **fields})
    await company.refused(key, "key_generate", {"max_budget": 101}, status=400)
    listed = await company.call(key, "key_list")
    assert listed["body"]["total_count"] == 3
    for name in ("spend_logs", "spend_keys", "spend_activity", "global_spend"):
        await company.refused(key, name)
    admitted = await company.admit(key)
    assert (admitted["ok"], admitted["status"]) == (False, 403)
    await company.owner("team:blue", blocked=1)
    await company.refused(key, "key_generate", {})


async def test_a_management_key_of_a_blocked_user_does_nothing(company: Company):
    key = (await company.made("ada", key_type="management"))["key"]
    assert (await company.call(key, "key_list"))["ok"]
    await company.owner("user:ada", blocked=1)
    for name in ("key_generate", "key_list", "key_info"):
        await company.refused(key, name)


async def test_a_management_key_without_a_team_does_nothing(company: Company):
    key = (await company.made(None, key_type="management"))["key"]
    for name in ("key_generate", "key_list", "key_info"):
        await company.refused(key, name)


async def test_other_keys_change_nothing_and_see_themselves(company: Company):
    plain = await company.made(None, team_id="blue", user_id="bob")
    reads = await company.made(None, key_type="read_only", team_id="blue")
    calls = await company.made(None, key_type="llm_api", team_id="blue")
    for key in (plain, reads, calls):
        for name in sorted(ADMIN - {"model_info", "key_info"}):
            await company.refused(key["key"], name, {"key": key["token"]}, key=key["token"])
    assert (await company.call(plain["key"], "key_info"))["body"]["key"] == plain["token"]
    assert (await company.call(reads["key"], "key_info"))["body"]["key"] == reads["token"]
    await company.refused(calls["key"], "key_info")
    assert (await company.admit(reads["key"]))["status"] == 403
    assert (await company.admit(calls["key"]))["ok"]
    assert (await company.admit(plain["key"]))["ok"]


@pytest.mark.parametrize("change", ["blocked", "expired", "deleted", "replaced"])
async def test_a_key_that_is_no_longer_valid_is_a_401(company: Company, change: str):
    key = await company.made(None, key_type="management", team_id="blue", duration="1d")
    if change == "blocked":
        await company.call(None, "key_block", {"key": key["token"]})
    elif change == "expired":
        company.now += periods.DAY
    elif change == "deleted":
        await company.call(None, "key_delete", {"keys": [key["token"]]})
    else:
        await company.call(None, "key_regenerate", {}, key=key["token"])
    await company.refused(key["key"], "key_list", status=401)


async def test_a_teams_admin_learns_nothing_about_whom_it_adds(company: Company) -> None:
    await company.owner("user:dan", max_budget=7 * BILLION, metadata='{"notes": "secret"}', role="proxy_admin")
    body = {"team_id": "blue", "member": {"user_id": "dan", "role": "user"}}
    added = await company.call("ada", "team_member_add", body)
    assert added["ok"], added
    assert added["body"]["updated_users"] == [{"user_id": "dan", "user_alias": None, "user_email": None}]
    assert {"user_id": "dan", "role": "user"}.items() <= added["body"]["members_with_roles"][-1].items()


async def test_the_spend_log_does_not_tell_which_keys_exist(company: Company) -> None:
    await company.key(key="sk-of-others")
    for key in ("sk-of-others", "sk-of-nobody"):
        assert (await company.call("bob", "spend_logs", query={"key": key}))["body"]["data"] == []


async def test_spending_is_seen_by_whom_it_concerns(company: Company):
    keys = {
        "bob": (await company.made("bob"))["key"],
        "ada": (await company.made("ada"))["key"],
        "cyn": (await company.made("cyn", models=["gpt-4o"]))["key"],
    }
    for number, (name, key) in enumerate(keys.items(), 1):
        admitted = await company.admit(key, 1000, id=f"{name}-1")
        assert admitted["ok"], admitted
        await company.settle(f"{name}-1", number, status=200)
    await query(company.store, "UPDATE ledger_requests SET team_id = 'blue' WHERE user_id <> 'cyn' RETURNING 1")
    await query(company.store, "UPDATE ledger_requests SET team_id = 'red' WHERE user_id = 'cyn' RETURNING 1")
    for who, sees in {"bob": {"bob"}, "ada": {"ada", "bob"}, "cyn": {"cyn"}, "dan": set(), "eve": set(keys)}.items():
        lines = (await company.call(who, "spend_logs"))["body"]["data"]
        assert {line["user_id"] for line in lines} == sees, who
        found = (await company.call(who, "spend_keys"))["body"]
        assert {line["user_id"] for line in found["data"]} == sees
        assert found["total_count"] == len(sees)
        groups = (await company.call(who, "spend_activity", group_by="key"))["body"]["groups"]
        assert len(groups) == len(sees)


async def test_operators_do_everything_and_viewers_change_nothing(company: Company):
    await company.budget("x")
    made = await company.made("root", user_id="cyn", team_id="red", key="sk-chosen", budget_id="x")
    assert (await company.call("root", "global_spend"))["ok"]
    assert (await company.call("eve", "global_spend"))["ok"]
    assert (await company.call("eve", "key_list"))["body"]["total_count"] == 1
    for who in ("eve", "fay"):
        for name in ("key_generate", "key_update", "key_delete", "session_revoke"):
            await company.refused(who, name, {"key": made["token"]})
    await company.refused("fay", "global_spend")
    assert [one["budget_id"] for one in (await company.call("eve", "budget_info", {"budgets": ["x"]}))["body"]] == ["x"]
    await company.owner("tag:night")
    assert (await company.call("eve", "tag_info", {"names": ["night"]}))["ok"]
    for name, body in (("budget_info", {"budgets": ["x"]}), ("tag_info", {"names": ["night"]})):
        await company.refused("fay", name, body)


async def test_a_blocked_user_does_nothing(company: Company):
    await company.owner("user:bob", blocked=1)
    await company.refused("bob", "key_list")
    await company.refused("bob", "key_generate", {})


async def test_members_are_found_by_their_whole_name(company: Company):
    await company.owner("team:tricky", members=[("bobby", "admin"), ('x"bob', "admin"), ("BOB", "admin")])
    assert (await company.made("bob"))["team_id"] == "blue"
    await company.owner("user:zoë \"%'")
    assert (await company.made("zoë \"%'"))["team_id"] == "red"


async def test_what_a_token_says_about_teams_counts_for_teams_that_exist(company: Company):
    told = {"person": {"user_id": "new", "teams": ["red", "nowhere"], "admin_of": ["blue", "mars"]}}
    made = await company.made(told, team_id="red")
    assert made["team_id"] == "red"
    await company.refused(told, "key_generate", {"team_id": "nowhere"})
    await company.refused(told, "key_generate", {"team_id": "mars"})
    blues = await company.made(None, team_id="blue")
    assert (await company.call(told, "key_block", {"key": blues["token"]}))["ok"]


async def test_membership_ends_at_once(company: Company):
    made = await company.made("bob")
    await company.owner("team:blue", members=[("ada", "user")])
    await company.refused("bob", "key_generate", {})
    await company.refused("ada", "key_block", {"key": made["token"]})


# Sessions.

HOUR = periods.HOUR


async def signed_in(company: Company, user: str, *, login: str = "", **fields: Any) -> dict[str, str]:
    hash = keys.hash_secret(f"{user}{login}")
    session = callers.Session(user, "", "", "", (), (), company.now, HOUR, company.now + 8 * HOUR)
    started = callers.start_session(
        company.store.dialect, hash, login or f"login of {user}", session._replace(**fields), company.now
    )
    result = await company.store.run(started)
    assert result["ok"], result
    return {"session": hash}


async def test_a_session_is_its_users(company: Company):
    session = await signed_in(company, "bob")
    assert (await company.made(session))["user_id"] == "bob"
    await company.refused({"session": "0" * 64}, "key_list", status=401)


async def test_a_session_ends_when_unused_and_at_its_end(company: Company):
    session = await signed_in(company, "bob")
    for _ in range(9):
        company.now += HOUR - 1
        found = await company.call(session, "key_list")
        if not found["ok"]:
            break
    assert found["code"] == "session_ended"
    assert company.now > (await query(company.store, "SELECT expires FROM ledger_sessions"))[0][0]
    session = await signed_in(company, "bob", login="again")
    company.now += HOUR
    await company.refused(session, "key_list", status=401)


@pytest.mark.parametrize("how", ["signed out", "revoked", "blocked", "deleted"])
async def test_a_session_ends_at_once(company: Company, how: str):
    session, other = await signed_in(company, "bob"), await signed_in(company, "ada")
    second = await signed_in(company, "bob", login="another browser")
    if how == "signed out":
        await company.store.run(callers.end_session(session["session"], company.now))
        assert (await company.call(second, "key_list"))["ok"]
    elif how == "revoked":
        revoked = await company.call("root", "session_revoke", {"user_id": "bob"})
        assert revoked["body"] == {"user_id": "bob", "sessions_ended": 2}
        await company.refused(second, "key_list", status=401)
    elif how == "blocked":
        await company.owner("user:bob", blocked=1)
    else:
        await query(company.store, "DELETE FROM ledger_owners WHERE account = 'user:bob' RETURNING 1")
    refused = await company.refused(session, "key_list", status=401)
    assert refused["code"] == "session_ended"
    assert (await company.call(other, "key_list"))["ok"]


@pytest.mark.parametrize("how", ["blocked", "deleted", "gone from the file"])
async def test_a_session_that_has_ended_with_its_user_does_not_come_back(company: Company, how: str):
    session, other = await signed_in(company, "bob"), await signed_in(company, "ada")
    if how == "blocked":
        for blocked in (True, False):
            assert (await company.call(None, "user_update", {"user_id": "bob", "blocked": blocked}))["ok"]
    elif how == "deleted":
        assert (await company.call(None, "user_delete", {"user_ids": ["bob"]}))["ok"]
        assert (await company.call(None, "user_new", {"user_id": "bob", "auto_create_key": False}))["ok"]
    else:
        for entries in (["bob"], [], ["bob"]):
            owners = declared.resolve_owners({"section": "users", "fields": {"user_id": id}} for id in entries)
            await company.store.run(declared.sync_declared(company.store.dialect, owners, company.now))
    assert (await company.refused(session, "key_list", status=401))["code"] == "session_ended"
    assert (await company.call(await signed_in(company, "bob", login="again"), "key_list"))["ok"]
    assert (await company.call(other, "key_list"))["ok"]


async def test_a_sign_in_starts_one_session(company: Company):
    session = await signed_in(company, "bob", login="one")
    await company.store.run(callers.end_session(session["session"], company.now))
    again = callers.Session("bob", "", "", "", (), (), company.now, HOUR, company.now + HOUR)
    result = await company.store.run(callers.start_session(company.store.dialect, "f" * 64, "one", again, company.now))
    assert (result["ok"], result["code"]) == (False, "sign_in_used")


async def test_a_first_sign_in_makes_the_user(company: Company):
    session = await signed_in(company, "new", name="New", email="new@example.com")
    assert (await company.call(session, "key_list"))["ok"]
    sql = "SELECT alias, email, role FROM ledger_owners WHERE account = ?"
    assert await query(company.store, sql, "user:new") == [("New", "new@example.com", "")]
    await signed_in(company, "same", name="Same", email="NEW@example.com")
    assert await query(company.store, sql, "user:same") == [("Same", None, "")]  # an address belongs to one user


async def test_the_providers_role_is_the_sessions(company: Company):
    session = await signed_in(company, "bob", role="proxy_admin")
    assert (await company.call(session, "global_spend"))["ok"]
    await company.refused("bob", "global_spend")


async def test_revoking_takes_one_user(company: Company):
    for body in ({}, {"user_id": ""}, {"user_id": 1}, {"user_id": "bob", "more": 1}):
        await company.refused("root", "session_revoke", body, status=400)
