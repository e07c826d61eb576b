"""What nobody but an operator may see or do, tried over HTTP for every endpoint of the admin API, at both doors.

The endpoints come from the table, so that a new one is tried as soon as it exists. Everything that belongs to others
has a marker in its name, which no answer may contain.
"""

from typing import Any, NamedTuple

import httpx
import pytest

from tests.processes import MASTER_KEY
from tests.sign_in.conftest import Gateway
from worker.core.api.admin import RULES
from worker.core.api.endpoints import ALL, Endpoint

MARK = "f0reign"
ENDPOINTS = [endpoint for endpoint in ALL if endpoint.admin]
ROLES = {
    "member": "member",
    "team admin": "team_admin",
    "key": "key",
    "read_only key": "key",
    "llm_api key": "llm_api",
    "management key": "management",
}


class Others(NamedTuple):
    """What belongs to others, and how each caller of the tests makes a call."""

    gateway: Gateway
    client: httpx.Client
    key: Any
    callers: dict[str, Any]

    def call(self, caller: str, endpoint: Endpoint, fields: dict[str, Any]) -> httpx.Response:
        path = endpoint.path.replace("{key}", self.key["token"])
        who, posts = self.callers[caller], "POST" in endpoint.methods
        if isinstance(who, str | None):
            headers = {} if who is None else {"authorization": f"Bearer {who}"}
            if posts:
                return self.client.post(path, json=fields, headers=headers)
            return self.client.get(path, params=fields, headers=headers)
        return who.post(path, fields) if posts else who.get(path, params=fields)

    def state(self) -> list[Any]:
        """Everything that no call may change."""
        kinds = ("/team/list", "/user/list", "/customer/list", "/tag/list", "/budget/list")
        master = {"authorization": f"Bearer {MASTER_KEY}"}
        shown = [self.client.get(path, headers=master) for path in (*kinds, f"/key/info?key={self.key['token']}")]
        assert all(answer.status_code == 200 for answer in shown), [answer.text for answer in shown]
        return [part for answer in shown for part in _objects(answer.json()) if MARK in str(part)]


@pytest.fixture(scope="module")
def others(gateway: Gateway) -> Others:
    def done(path: str, **fields: Any) -> Any:
        answer = gateway.call(path, fields)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    done("/budget/new", budget_id=f"budget-{MARK}", max_budget=5)
    done("/user/new", user_id=f"user-{MARK}", user_alias=f"alias-{MARK}", auto_create_key=False)
    done("/customer/new", user_id=f"customer-{MARK}", max_budget=5)
    done("/tag/new", name=f"tag-{MARK}")
    members = [{"user_id": f"user-{MARK}", "role": "admin"}]
    done("/team/new", team_id=f"team-{MARK}", team_alias=f"alias-{MARK}", members_with_roles=members)
    mine = [{"user_id": "ada", "role": "admin"}, {"user_id": "bob", "role": "user"}]
    done("/team/new", team_id="blue", team_alias="Blue", members_with_roles=mine)
    key = gateway.made(key_alias=f"key-{MARK}", team_id=f"team-{MARK}", user_id=f"user-{MARK}")
    keys = {
        f"{kind or ''} key".strip(): gateway.made(team_id="blue", **({"key_type": kind} if kind else {}))["key"]
        for kind in (None, "read_only", "llm_api", "management")
    }
    people = {"member": gateway.signed_in("bob"), "team admin": gateway.signed_in("ada")}
    strangers = {"nobody": None, "wrong key": "sk-unheard-of"}
    client = httpx.Client(base_url=gateway.url, timeout=20)
    return Others(gateway, client, key, {**keys, **people, **strangers})


def aims(others: Others) -> list[dict[str, Any]]:
    """The fields of calls that are aimed at others, in all the ways in which endpoints name them."""
    token, secret = others.key["token"], others.key["key"]
    user, team = f"user-{MARK}", f"team-{MARK}"
    return [
        {},
        {"key": token},
        {"key": secret, "max_budget": 1},
        {"keys": [token]},
        {"key_aliases": [f"key-{MARK}"]},
        {"key_hash": token},
        {"search": "f0r"},
        {"key_alias": f"key-{MARK}"},
        {"api_key": secret},
        {"user_id": user},
        {"user_ids": [user]},
        {"team_id": team},
        {"team_ids": [team]},
        {"team_id": team, "user_id": user},
        {"team_id": team, "member": {"user_id": "bob", "role": "admin"}},
        {"team_id": team, "user_id": user, "role": "user"},
        {"team_id": "blue", "user_id": user, "models": ["gpt"]},
        {"end_user_id": f"customer-{MARK}"},
        {"user_ids": [f"customer-{MARK}"]},
        {"name": f"tag-{MARK}"},
        {"names": [f"tag-{MARK}"]},
        {"budget_id": f"budget-{MARK}", "max_budget": 1},
        {"budgets": [f"budget-{MARK}"]},
        {"id": f"budget-{MARK}"},
        {"group_by": "key"},
        {"return_full_object": "true"},
        {"include_team_keys": "true"},
    ]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_what_belongs_to_others_is_neither_shown_nor_changed(others: Others, endpoint: Endpoint):
    before = others.state()
    for caller, role in ROLES.items():
        allowed = role in RULES.get(endpoint.name, ())
        for fields in aims(others) if allowed else aims(others)[:2]:
            answer = others.call(caller, endpoint, fields)
            what = (caller, fields, answer.status_code, answer.text[:300])
            if not allowed:
                assert answer.status_code == 403, what
            assert answer.status_code in (200, 400, 403, 404), what
            shown = answer.text
            for sent in _texts(fields):  # a refusal may repeat what it was sent
                shown = shown.replace(sent, "") if answer.status_code == 400 else shown
            assert MARK not in shown, what
            assert others.key["token"] not in shown, what
    assert others.state() == before


@pytest.mark.parametrize("caller", ["nobody", "wrong key"])
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_strangers_are_told_nothing(others: Others, endpoint: Endpoint, caller: str):
    for fields in ({}, {"key": others.key["token"], "user_id": f"user-{MARK}", "team_id": f"team-{MARK}"}):
        answer = others.call(caller, endpoint, fields)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
        assert MARK not in answer.text


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_is_for_an_endpoint(name: str):
    assert name in {endpoint.name for endpoint in ENDPOINTS}


def _objects(body: Any) -> list[Any]:
    """The listed objects of a response, or all of it."""
    if isinstance(body, dict):
        body = next((part for part in body.values() if isinstance(part, list)), [body])
    return body


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]
