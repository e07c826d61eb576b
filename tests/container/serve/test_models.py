"""The list of models: what wildcards reach, and the shape that Anthropic's clients expect."""

import orjson
import pytest

from tests.container.raw import ask
from tests.container.serve.support import AUTHORIZED, get, refused
from tests.processes import RunningProxy

ANTHROPIC = {**AUTHORIZED, "anthropic-version": "2023-06-01"}


def ids(answer) -> list[str]:
    return [one["id"] for one in answer.json["data"]]


def test_what_wildcards_reach_is_listed(gateway: RunningProxy):
    found = ids(get(gateway, "/v1/models"))
    assert found[:3] == ["gpt", "claude", "mock"]
    assert {"free/gpt-4o", "free/gpt-4o-mini"} <= set(found)
    assert not [name for name in found if "*" in name or name.startswith(("off", "free/ft:"))]
    assert get(gateway, "/v1/models/free/gpt-4o").json["id"] == "free/gpt-4o"


def test_a_client_of_anthropics_gets_anthropics_shape(gateway: RunningProxy):
    answer = get(gateway, "/v1/models?limit=1000", ANTHROPIC)
    body = answer.json
    assert body.keys() == {"data", "has_more", "first_id", "last_id"}
    assert {(*one,) for one in body["data"]} == {("type", "id", "display_name", "created_at")}
    assert (body["has_more"], body["first_id"], body["last_id"]) == (False, "gpt", ids(answer)[-1])
    assert ids(answer) == ids(get(gateway, "/v1/models"))
    one = get(gateway, "/v1/models/gpt", ANTHROPIC).json
    assert (one["type"], one["id"]) == ("model", "gpt")


def test_pages_follow_each_other_both_ways(gateway: RunningProxy):
    everything = ids(get(gateway, "/v1/models"))
    pages, after = [], ""
    while True:
        answer = get(gateway, f"/v1/models?limit=40{after}", ANTHROPIC)
        pages += ids(answer)
        if not answer.json["has_more"]:
            break
        after = f"&after_id={answer.json['last_id']}"
    assert pages == everything
    before = get(gateway, f"/v1/models?limit=2&before_id={everything[3]}", ANTHROPIC).json
    assert ([one["id"] for one in before["data"]], before["has_more"]) == (everything[1:3], True)
    first = get(gateway, f"/v1/models?before_id={everything[1]}", ANTHROPIC).json
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (everything[:1], False)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=", "after_id=nonesuch", "before_id=nonesuch",
              "after_id=gpt&before_id=mock", "limit=99999999999999999999"]
)  # fmt: skip
def test_a_page_that_cannot_be_is_400_in_anthropics_shape(gateway: RunningProxy, query: str):
    answer = get(gateway, f"/v1/models?{query}", ANTHROPIC)
    if query == "limit=":  # as if it were not sent
        assert answer.status == 200
        return
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (400, "error", "invalid_request_error")


def test_a_model_that_is_not_there_is_told_in_the_clients_shape(gateway: RunningProxy):
    answer = get(gateway, "/v1/models/nonesuch", ANTHROPIC)
    assert (answer.status, answer.json["type"]) == (404, "error")
    refused(get(gateway, "/v1/models/nonesuch"), 404, "invalid_request_error", "model_not_found")


def test_a_key_sees_of_wildcards_what_it_may_use(gateway: RunningProxy):
    body = orjson.dumps({"models": ["mock", "free/gpt-4o*"]})
    key = ask(gateway.port, "POST", "/key/generate", AUTHORIZED, body).json["key"]
    found = ids(get(gateway, "/v1/models", {"authorization": f"Bearer {key}"}))
    assert found[0] == "mock"
    assert {"free/gpt-4o", "free/gpt-4o-mini"} <= set(found[1:])
    assert all(name.startswith("free/gpt-4o") for name in found[1:])
