"""LiteLLM's own types as the oracle for teams, users, end users, tags and budgets: what its clients send is accepted or
refused by name, and what they read is there."""

import os
from typing import Any

import pytest

from container.stores import SqliteStore
from tests.ledger.support import NOON
from worker.core.api.endpoints import TABLE
from worker.core.ledger.accounts import Policy
from worker.core.ledger.administration import decide
from worker.core.ledger.owners import BUDGETS, OF_KIND, USER_ROLES

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

_LIMITS = {"max_budget": 2.5, "soft_budget": 1, "budget_duration": "1d", "rpm_limit": 3, "tpm_limit": 4}


@pytest.fixture
async def store():
    opened = SqliteStore(":memory:")
    await opened.open()
    yield opened
    await opened.close()


async def call(store: SqliteStore, path: str, body: Any = None, **query: str) -> Any:
    """Makes a call of the admin API, which must succeed, and returns its response."""
    called = {"name": TABLE[path].name, "key": None, "query": query, "body": body}
    result = await store.run(decide(store.dialect, Policy(), called, NOON))
    assert result["ok"], result
    return result["body"]


def test_every_field_is_one_of_litellms():
    from litellm.proxy import _types
    from litellm.types.tag_management import TagNewRequest

    # LiteLLM's team has it in its responses only.
    more = {"team": {"max_parallel_requests", "budget_id"}, "user": {"soft_budget", "budget_id"}}
    for kind, theirs in (
        ("team", _types.NewTeamRequest),
        ("user", _types.NewUserRequest),
        ("end_user", _types.NewCustomerRequest),
        ("tag", TagNewRequest),
    ):
        ours = set(OF_KIND[kind].table.fields) - more.get(kind, set()) - ({"blocked"} if kind == "tag" else set())
        assert ours <= theirs.model_fields.keys(), kind
    assert set(BUDGETS.fields) <= _types.BudgetNewRequest.model_fields.keys()
    roles = {role.value for role in _types.LitellmUserRoles}
    assert set(USER_ROLES) <= roles


async def test_a_team_is_what_litellms_clients_read(store: SqliteStore):
    from litellm.proxy import _types
    from litellm.types.proxy.management_endpoints.team_endpoints import TeamListResponse

    sent = _types.NewTeamRequest(
        team_id="blue", team_alias="Blue", models=["gpt-4o"], members_with_roles=[{"role": "admin", "user_id": "ada"}],
        **_LIMITS,
    )  # fmt: skip
    made = _types.LiteLLM_TeamTable(**await call(store, "/team/new", sent.model_dump(exclude_none=True)))
    assert (made.team_alias, made.max_budget, made.members_with_roles[0].user_id) == ("Blue", 2.5, "ada")
    assert made.budget_reset_at is not None
    changed = await call(store, "/team/update", _types.UpdateTeamRequest(team_id="blue", rpm_limit=9).model_dump())
    assert _types.LiteLLM_TeamTable(**changed["data"]).rpm_limit == 9
    added = await call(
        store,
        "/team/member_add",
        _types.TeamMemberAddRequest(team_id="blue", member={"role": "user", "user_id": "bob"}).model_dump(),
    )
    assert len(_types.TeamAddMemberResponse(**added).members_with_roles) == 2
    info = await call(store, "/team/info", team_id="blue")
    assert _types.TeamInfoResponseObjectTeamTable(**info["team_info"]).team_id == "blue"
    page = TeamListResponse(**await call(store, "/v2/team/list"))
    assert (page.total, page.teams[0].team_id) == (1, "blue")
    deleted = await call(store, "/team/delete", _types.DeleteTeamRequest(team_ids=["blue"]).model_dump())
    assert deleted["deleted_teams"] == ["blue"]


async def test_a_user_is_what_litellms_clients_read(store: SqliteStore):
    from litellm.proxy import _types
    from litellm.types.proxy.management_endpoints.internal_user_endpoints import UserListResponse

    sent = _types.NewUserRequest(user_id="ada", user_email="ada@example.com", user_role="internal_user", max_budget=2)
    body = {**sent.model_dump(mode="json", exclude_none=True), "spend": None}
    made = _types.NewUserResponse(**await call(store, "/user/new", body))
    assert (made.user_id, made.user_email, made.max_budget) == ("ada", "ada@example.com", 2)
    assert made.key.startswith("sk-")
    info = _types.UserInfoResponse(**await call(store, "/user/info", user_id="ada"))
    assert (info.user_id, len(info.keys)) == ("ada", 1)
    page = UserListResponse(**await call(store, "/user/list"))
    assert (page.users[0].user_id, page.users[0].key_count) == ("ada", 1)


async def test_an_end_user_and_its_budget_are_what_litellms_clients_read(store: SqliteStore):
    from litellm.proxy import _types
    from litellm.types.proxy.management_endpoints.customer_endpoints import CustomerResponse, DeleteCustomersResponse

    budget = _types.BudgetNewRequest(budget_id="free", **_LIMITS).model_dump(exclude_none=True)
    _types.LiteLLM_BudgetTableFull(**await call(store, "/budget/new", budget))
    sent = _types.NewCustomerRequest(user_id="c", alias="C", budget_id="free").model_dump(exclude_none=True)
    made = CustomerResponse(**await call(store, "/customer/new", sent))
    assert made.litellm_budget_table is not None
    assert (made.alias, made.litellm_budget_table.max_budget) == ("C", 2.5)
    assert CustomerResponse(**(await call(store, "/customer/list"))[0]).user_id == "c"
    blocked = await call(store, "/customer/block", _types.BlockUsers(user_ids=["c"]).model_dump())
    assert _types.LiteLLM_EndUserTable(**blocked["blocked_users"][0]).blocked is True
    gone = await call(store, "/end_user/delete", _types.DeleteCustomerRequest(user_ids=["c"]).model_dump())
    assert DeleteCustomersResponse(**gone).deleted_customers == 1


async def test_a_tag_is_what_litellms_clients_read(store: SqliteStore):
    from litellm.types.tag_management import TagConfig, TagInfoRequest, TagNewRequest

    sent = TagNewRequest(name="job", description="nightly", max_budget=1).model_dump(exclude_none=True)
    made = TagConfig(**(await call(store, "/tag/new", sent))["tag"])
    assert (made.name, made.description) == ("job", "nightly")
    found = await call(store, "/tag/info", TagInfoRequest(names=["job"]).model_dump())
    assert TagConfig(**found["job"]).name == "job"
    assert TagConfig(**(await call(store, "/tag/list"))[0]).name == "job"
