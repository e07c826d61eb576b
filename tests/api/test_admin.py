"""Translation of HTTP requests into admin API calls, and of results into responses."""

import json

import pytest

from worker.core.api.admin import answer, call
from worker.core.api.endpoints import TABLE, find
from worker.core.api.errors import ApiError
from worker.core.ledger import decision

MASTER = "sk/master"
ADMIN = {
    ("POST", "/key/generate", "key_generate"),
    ("POST", "/key/update", "key_update"),
    ("POST", "/key/delete", "key_delete"),
    ("POST", "/key/block", "key_block"),
    ("POST", "/key/unblock", "key_unblock"),
    ("POST", "/key/sk-some%2Fkey/regenerate", "key_regenerate"),
    ("GET", "/key/info", "key_info"),
    ("GET", "/key/list", "key_list"),
    *(
        (method, f"/{owner}/{action}", f"{owner}_{action}")
        for owner in ("team", "user", "customer", "end_user", "tag", "budget")
        for method, action in (("POST", "new"), ("POST", "update"), ("POST", "delete"), ("GET", "list"))
    ),
    *(
        ("POST", f"/{owner}/{action}", f"{owner}_{action}")
        for owner in ("team", "customer", "end_user")
        for action in ("block", "unblock")
    ),
    *(("GET", f"/{owner}/info", f"{owner}_info") for owner in ("team", "user", "customer", "end_user")),
    *(("POST", f"/{owner}/info", f"{owner}_info") for owner in ("tag", "budget")),
    *(("POST", f"/team/member_{action}", f"team_member_{action}") for action in ("add", "update", "delete")),
    ("GET", "/v2/team/list", "team_page"),
    ("GET", "/budget/settings", "budget_settings"),
    ("GET", "/spend/logs", "spend_logs"),
    ("GET", "/spend/keys", "spend_keys"),
    ("GET", "/spend/activity", "spend_activity"),
    ("GET", "/global/spend", "global_spend"),
    ("GET", "/model/info", "model_info"),
    ("POST", "/dashboard/sessions/revoke", "session_revoke"),
}


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(("method", "path", "name"), sorted(ADMIN))
def test_admin_paths(prefix, method, path, name):
    endpoint = find(method, prefix + path)
    assert (endpoint.name, endpoint.admin, endpoint.public, endpoint.engine) == (name, True, False, False)
    with pytest.raises(ApiError) as caught:
        find("DELETE", prefix + path)
    assert caught.value.status == 405


def test_other_paths_are_not_admin_calls():
    assert {e.name for e in TABLE.values() if e.admin} == {name for _, _, name in ADMIN} - {"key_regenerate"}


@pytest.mark.parametrize(
    "path", ["/key", "/key/", "/key//regenerate", "/key/a/b/regenerate", "/key/a/regenerate/", "/key/x", "/spend"]
)
def test_similar_paths_are_404(path):
    with pytest.raises(ApiError) as caught:
        find("POST", path)
    assert caught.value.status == 404


def made(method: str, path: str, query: str = "", body: bytes = b"") -> dict:
    return call(find(method, path), path, query, body)


def test_a_call_contains_the_query_or_the_body():
    assert made("POST", "/v1/key/sk-a%2Fb/regenerate", "x=1", b'{"grace_period": "1h"}') == {
        "name": "key_regenerate",
        "key": "sk-a/b",
        "query": {},
        "body": {"grace_period": "1h"},
    }
    assert made("GET", "/spend/logs", "key=a%20b&model=", b"ignored") == {
        "name": "spend_logs",
        "key": None,
        "query": {"key": "a b", "model": ""},
        "body": None,
    }
    assert made("POST", "/key/generate")["body"] == {}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"a": "\\u0000"}',
        b'{"keys": ["sk-x", "\\u0000"]}',
        b'{"metadata": {"\\u0000": 1}}',
        b'"x"',
        b"{}{}",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"\n",
        b'{"a": "\\ud800"}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_a_body_that_is_not_an_object_is_400(body):
    with pytest.raises(ApiError) as caught:
        made("POST", "/key/generate", body=body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "query", ["key=a&key=b", "key=%ff", "key=%00", "key=\udcff", "%00=a", "&".join(f"a{i}=1" for i in range(99))]
)
def test_an_ambiguous_query_is_400(query):
    with pytest.raises(ApiError) as caught:
        made("GET", "/key/info", query)
    assert caught.value.status == 400


def test_an_escaped_backslash_before_u0000_is_not_nul():
    fields = {"metadata": {"a": "\\u0000", "b": "\\\\u0000"}}
    assert made("POST", "/key/generate", body=json.dumps(fields).encode())["body"] == fields


@pytest.mark.parametrize(
    ("method", "path", "query", "fields", "param"),
    [
        ("POST", "/key/generate", "", {"key": MASTER}, "key"),
        ("POST", "/key/update", "", {"key": MASTER, "max_budget": 1}, "key"),
        ("POST", "/key/block", "", {"key": MASTER}, "key"),
        ("POST", "/key/unblock", "", {"key": MASTER}, "key"),
        ("POST", "/key/delete", "", {"keys": ["sk-other", MASTER]}, "keys"),
        ("POST", "/key/sk-other/regenerate", "", {"new_key": MASTER}, "new_key"),
        ("POST", "/key/sk%2Fmaster/regenerate", "", {"key": "sk-other"}, "key"),
        ("GET", "/key/info", "key=sk%2Fmaster", {}, "key"),
        ("GET", "/key/list", "key_hash=sk%2Fmaster", {}, "key_hash"),
        ("GET", "/spend/logs", "api_key=sk%2Fmaster", {}, "api_key"),
    ],
)
def test_the_master_key_is_not_a_virtual_key(method, path, query, fields, param):
    body = json.dumps(fields).encode()
    with pytest.raises(ApiError) as caught:
        call(find(method, path), path, query, body, MASTER)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert "is the master key" in caught.value.message
    assert MASTER not in caught.value.message
    for another in ("sk-another", None):
        assert call(find(method, path), path, query, body, another)["name"]


def test_a_result_becomes_a_body_or_an_error():
    assert answer({"ok": True, "body": [1]}) == [1]
    with pytest.raises(ApiError) as caught:
        answer(decision.rate_limited("Slower.", 7, [["x-a", "b"]]))
    error = caught.value
    assert (error.status, error.type, error.message) == (429, "rate_limit_error", "Slower.")
    assert error.headers == [("x-a", "b"), ("retry-after", "7")]
