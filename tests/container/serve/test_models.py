"""The model list: wildcard models, and the shape for Anthropic's clients."""

import orjson
import pytest

from tests.container.raw import ask
from tests.container.serve.support import AUTHORIZED, get, refused
from tests.processes import RunningProxy

ANTHROPIC = {**AUTHORIZED, "anthropic-version": "2023-06-01"}


def ids(answer) -> list[str]:
    return [one["id"] for one in answer.json["data"]]


def test_wildcard_models_are_listed(gateway: RunningProxy):
    found = ids(get(gateway, "/v1/models"))
    assert found[:3] == ["gpt", "claude", "mock"]
    assert {"free/gpt-4o", "free/gpt-4o-mini"} <= set(found)
    assert not [name for name in found if "*" in name or name.startswith(("off", "free/ft:"))]
    assert get(gateway, "/v1/models/free/gpt-4o").json["id"] == "free/gpt-4o"


def test_anthropic_clients_get_anthropics_shape(gateway: RunningProxy):
    answer = get(gateway, "/v1/models?limit=1000", ANTHROPIC)
    body = answer.json
    assert body.keys() == {"data", "has_more", "first_id", "last_id"}
    assert {(*one,) for one in body["data"]} == {("type", "id", "display_name", "created_at")}
    assert (body["has_more"], body["first_id"], body["last_id"]) == (False, "gpt", ids(answer)[-1])
    assert ids(answer) == ids(get(gateway, "/v1/models"))
    one = get(gateway, "/v1/models/gpt", ANTHROPIC).json
    assert (one["type"], one["id"]) == ("model", "gpt")


def test_pagination_works_in_both_directions(gateway: RunningProxy):
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
def test_invalid_page_is_a_400_in_anthropics_shape(gateway: RunningProxy, query: str):
    answer = get(gateway, f"/v1/models?{query}", ANTHROPIC)
    if query == "limit=":  # as if absent
        assert answer.status == 200
        return
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (400, "error", "invalid_request_error")


def test_missing_model_is_reported_in_the_clients_shape(gateway: RunningProxy):
    answer = get(gateway, "/v1/models/nonesuch", ANTHROPIC)
    assert (answer.status, answer.json["type"]) == (404, "error")
    refused(get(gateway, "/v1/models/nonesuch"), 404, "invalid_request_error", "model_not_found")


def test_key_sees_only_the_wildcard_models_it_may_use(gateway: RunningProxy):
    body = orjson.dumps({"models": ["mock", "free/gpt-4o*"]})
    key = ask(gateway.port, "POST", "/key/generate", AUTHORIZED, body).json["key"]
    found = ids(get(gateway, "/v1/models", {"authorization": f"Bearer {key}"}))
    assert found[0] == "mock"
    assert {"free/gpt-4o", "free/gpt-4o-mini"} <= set(found[1:])
    assert all(name.startswith("free/gpt-4o") for name in found[1:])
