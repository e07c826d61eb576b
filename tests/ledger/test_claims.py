"""What requests say about themselves, and the tags of keys: validation, and their place in the spend log."""

import json
from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import NOON, Ledger
from worker.core.ledger import key_admin, spend
from worker.core.values import claims
from worker.core.values.claims import Claims


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"metadata": None},
        {"metadata": "tags"},
        {"metadata": {"tags": "job:1"}},
        {"metadata": {"tags": {"job": 1}}},
        {"metadata": {"tags": []}},
        {"metadata": {"tags": [1, "", "a\nb", "t" * 101, ["job:1"], "half \ud83d"]}},
        {"metadata": "{"},
        {"tags": "job:1", "litellm_metadata": [{"tags": ["job:1"]}]},
    ],
)
def test_invalid_tags_are_dropped(body: dict[str, Any]) -> None:
    assert claims.of_body(body).tags == ""


def test_the_number_of_tags_per_request_is_limited() -> None:
    many = [f"job:{n}" for n in range(30)]
    assert json.loads(claims.of_body({"metadata": {"tags": many}}).tags) == many[:20]
    assert json.loads(claims.of_body({"metadata": {"tags": ["a", "a", "t" * 100, 7]}}).tags) == ["a", "t" * 100]


@pytest.mark.parametrize("together", [False, True])
async def test_a_line_has_the_tags_of_its_key_and_its_request(store: Store, together: bool) -> None:
    ledger = Ledger(store)
    key = await ledger.key(tags=["team:a", "beta"])
    own = claims.of_body({"metadata": {"tags": ["beta", "job:1"]}}).tags
    asks = [
        ledger.request(key),
        ledger.request(key, tags=own),
        ledger.request(await ledger.key(), tags=own),
        ledger.request(None, tags=own),
        ledger.request(None),
    ]
    if together:
        await ledger.batch((), asks)
    else:
        for ask in asks:
            _, (result,) = await ledger.batch((), [ask])
            assert result["ok"]
    untagged = key_admin.update(store.dialect, {"key": key, "tags": None}, NOON)
    assert (await store.run(untagged))["body"]["tags"] == []
    for ask in asks:
        assert await ledger.settle(ask.id, 1) == "settled"
    lines = {line["request_id"]: line for line in (await store.run(spend.logs(spend.Filters())))["body"]["data"]}
    assert [lines[ask.id]["request_tags"] for ask in asks] == [
        ["team:a", "beta"],
        ["team:a", "beta", "job:1"],
        ["beta", "job:1"],
        ["beta", "job:1"],
        [],
    ]


def test_tags_come_from_everywhere_once() -> None:
    body = {"metadata": {"tags": ["a", "b"]}, "litellm_metadata": '{"tags": ["b", "c"]}', "tags": ["d"]}
    found = claims.with_headers(claims.of_body(body), {"x-litellm-tags": "e, a ,,f"})
    assert json.loads(found.tags) == ["a", "b", "c", "d", "e", "f"]
    many = claims.with_headers(Claims(json.dumps([f"t{n}" for n in range(19)])), {"x-litellm-tags": "x,y"})
    assert json.loads(many.tags)[-2:] == ["t18", "x"]


@pytest.mark.parametrize(
    ("body", "end_user"),
    [
        ({}, ""),
        ({"user": "ada"}, "ada"),
        ({"user": " ada "}, "ada"),
        ({"user": 7}, "7"),
        ({"user": True}, ""),
        ({"user": {"id": "ada"}}, ""),
        ({"user": "", "litellm_metadata": {"user": "bob"}}, "bob"),
        ({"metadata": {"user_id": "cid"}}, "cid"),
        ({"metadata": '{"user_id": "cid"}'}, "cid"),
        ({"metadata": {"user_id": "cid"}, "user": "ada"}, "ada"),
        ({"safety_identifier": "dan"}, "dan"),
        ({"metadata": {"user_id": None}, "safety_identifier": "dan"}, "dan"),
    ],
)
def test_the_end_user_of_a_body(body: dict[str, Any], end_user: str) -> None:
    """As `get_end_user_id_from_request_body` in LiteLLM's proxy/auth/auth_utils.py."""
    assert claims.of_body(body).end_user == end_user


@pytest.mark.parametrize(
    ("headers", "end_user"),
    [
        ({}, "ada"),
        ({"x-litellm-end-user-id": "eve"}, "eve"),
        ({"x-litellm-customer-id": "cus", "x-litellm-end-user-id": "eve"}, "cus"),
        ({"x-user": "own"}, "own"),
        ({"x-user": "own", "x-litellm-end-user-id": "eve"}, "eve"),
        ({"x-other": "own"}, "ada"),
        ({"x-litellm-end-user-id": "  "}, "ada"),
    ],
)
def test_the_end_user_of_headers(headers: dict[str, str], end_user: str) -> None:
    assert claims.with_headers(Claims(end_user="ada"), headers, ("x-user",)).end_user == end_user


@pytest.mark.parametrize("name", ["n" * 257, "a\nb", "a\x00", "half \ud83d", "\u202e"])
def test_a_name_that_no_database_takes_is_counted_under_its_hash(name: str) -> None:
    found = claims.of_body({"user": name}).end_user
    assert (found[:7], len(found), found.isascii()) == ("sha256:", 71, True)
    assert found != claims.of_body({"user": name + "x"}).end_user
    assert claims.of_body({"user": "n" * 256}).end_user == "n" * 256
