"""Stored responses belong to the key that made them, at a provider that stores them and at one that does not."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests.fakes.server import FakeProvider
from tests.money import Money
from tests.processes import MASTER_KEY, RunningProxy, StartProxy
from tests.responses.storing_provider import StoringProvider

STORED, KEPT = "gpt", "claude"


class Stored(Money):
    """A gateway with a model at a provider that stores responses, and one at a provider that does not."""

    def __init__(self, proxy: RunningProxy) -> None:
        super().__init__(httpx.Client(base_url=proxy.url, timeout=60), MASTER_KEY)
        self.proxy = proxy

    def send(self, key: str, method: str, path: str, **fields: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return self.http.request(method, f"/v1/responses{path}", headers=headers, **fields)

    def create(self, key: str, model: str = STORED, **fields: Any) -> httpx.Response:
        return self.send(key, "POST", "", json={"model": model, "input": "Hi there", **fields})

    def made(self, key: str, model: str = STORED, **fields: Any) -> dict[str, Any]:
        answer = self.create(key, model, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def streamed(self, key: str, model: str = STORED, **fields: Any) -> list[dict[str, Any]]:
        answer = self.create(key, model, stream=True, **fields)
        assert answer.status_code == 200, answer.text
        return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


class Keys(NamedTuple):
    owner: str
    other: str


@pytest.fixture(scope="module")
def storing() -> Iterator[StoringProvider]:
    with StoringProvider().serving() as provider:
        yield provider


def config(storing: StoringProvider, fake: FakeProvider) -> dict[str, Any]:
    at_storing = {"api_base": storing.base, "api_key": "sk-provider"}
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "max_input_tokens": 100_000}

    def model(name: str, params: dict[str, Any]) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": params, "model_info": {**prices, "max_output_tokens": 500}}

    claude = {"model": "anthropic/claude-sonnet-4-5", "api_base": fake.url, "api_key": "sk-provider"}
    return {
        "model_list": [
            model(STORED, {"model": "openai/gpt-5.1", **at_storing}),
            model("mini", {"model": "openai/gpt-5.1-mini", **at_storing}),
            model("pictures", {"model": "openai/gpt-4o-mini", **at_storing}),
            model("elsewhere", {"model": "openai/gpt-5.1", **at_storing, "api_key": "sk-another-account"}),
            model(KEPT, claude),
        ],
        "router_settings": {"num_retries": 0},
    }


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, storing: StoringProvider, providers: FakeProvider) -> Stored:
    return Stored(module_proxy(config(storing, providers)))


@pytest.fixture
def keys(gateway: Stored, storing: StoringProvider, provider: FakeProvider) -> Keys:
    storing.requests.clear()
    return Keys(gateway.key(), gateway.key())


def without(text: str, answer: httpx.Response) -> tuple[int, str, list[str]]:
    """What the client sees of an error, but for the id that it sent itself."""
    return answer.status_code, answer.text.replace(text, "<id>"), sorted(answer.headers)


UNKNOWN = "resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b"


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", "9" * 5000])
def test_an_impossible_page_is_the_clients_fault(gateway: Stored, keys: Keys, limit: str):
    id = gateway.made(keys.owner, KEPT)["id"]
    answer = gateway.send(keys.owner, "GET", f"/{id}/input_items", params={"limit": limit})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")


# What its owner can do


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_the_owner_continues_retrieves_and_deletes(gateway: Stored, keys: Keys, storing: StoringProvider, model: str):
    first = gateway.made(keys.owner, model, input="My name is Ada")
    assert first["id"].startswith("resp_S")
    second = gateway.made(keys.owner, model, input="Who am I?", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    path = f"/{second['id']}"
    found = gateway.send(keys.owner, "GET", path).json()
    assert gateway.send(keys.owner, "GET", f"/{found['previous_response_id']}").json()["output"] == first["output"]
    assert found == {**second, "model": model, "previous_response_id": found["previous_response_id"]}
    items = gateway.send(keys.owner, "GET", f"{path}/input_items", params={"order": "asc"}).json()
    texts = json.dumps(items["data"])
    assert "My name is Ada" in texts
    assert "Who am I?" in texts
    assert (items["first_id"], items["last_id"]) == (items["data"][0]["id"], items["data"][-1]["id"])
    assert gateway.send(keys.owner, "POST", f"{path}/cancel").status_code == 400  # it was not in the background
    deleted = gateway.send(keys.owner, "DELETE", path)
    assert deleted.json() == {"id": second["id"], "object": "response", "deleted": True}
    assert gateway.send(keys.owner, "GET", path).status_code == 404
    assert gateway.send(keys.owner, "GET", f"/{first['id']}").status_code == 200


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_input_items_come_in_pages(gateway: Stored, keys: Keys, model: str):
    given = [{"type": "message", "role": "user", "content": f"text {n}"} for n in range(5)]
    id = gateway.made(keys.owner, model, input=given)["id"]
    seen, after = [], None
    while True:
        query = {"limit": "2", "order": "asc", **({"after": after} if after else {})}
        page = gateway.send(keys.owner, "GET", f"/{id}/input_items", params=query).json()
        seen += [item["content"] for item in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert [f"text {n}" in json.dumps(content) for n, content in enumerate(seen)] == [True] * 5


@pytest.mark.parametrize("model", [STORED, KEPT])
@pytest.mark.parametrize("stream", [False, True])
def test_items_can_be_sent_back_as_references_or_whole(gateway: Stored, keys: Keys, model: str, stream: bool):
    first = gateway.streamed(keys.owner, model)[-1]["response"] if stream else gateway.made(keys.owner, model)
    user = {"type": "message", "role": "user", "content": "And then?"}
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    gateway.made(keys.owner, model, input=[user, *references, user])
    gateway.made(keys.owner, model, input=[user, *({"id": one["id"]} for one in references), user])
    gateway.made(keys.owner, model, input=[user, *first["output"], user])


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_a_stream_has_sealed_ids_throughout(gateway: Stored, keys: Keys, storing: StoringProvider, model: str):
    first = gateway.made(keys.owner, model)["id"]
    events = gateway.streamed(keys.owner, model, previous_response_id=first)
    (id,) = {event["response"]["id"] for event in events if "response" in event}
    assert {e["response"]["previous_response_id"] for e in events if "response" in e} == {first}
    introduced = {event["item"]["id"] for event in events if "item" in event}
    assert {event["item_id"] for event in events if "item_id" in event} <= introduced
    assert {item["id"] for item in events[-1]["response"]["output"]} == introduced
    assert all(name.partition("_")[2].startswith("S") for name in (id, *introduced))
    text = json.dumps(events)
    assert not [raw for raw in (*storing.responses, *storing.items) if raw in text]
    gateway.made(keys.owner, model, previous_response_id=id)


def test_the_provider_sees_only_its_own_ids(gateway: Stored, keys: Keys, storing: StoringProvider):
    made = gateway.made(keys.owner)
    gateway.made(
        keys.owner, previous_response_id=made["id"], input=[*made["output"][1:], {"role": "user", "content": "x"}]
    )
    assert storing.last["previous_response_id"] in storing.responses
    assert storing.last["input"][0]["id"] in storing.items
    assert "store" not in storing.last
    gateway.send(keys.owner, "GET", f"/{made['id']}")
    assert storing.requests[-1][1].rpartition("/")[2] in storing.responses
    assert storing.requests[-1][3] == "Bearer sk-provider"


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_what_is_not_to_be_stored_is_not(gateway: Stored, keys: Keys, storing: StoringProvider, model: str):
    before = len(storing.responses)
    made = gateway.made(keys.owner, model, store=False)
    assert made["store"] is False
    assert len(storing.responses) == before
    assert gateway.send(keys.owner, "GET", f"/{made['id']}").status_code == 404
    refused = gateway.create(keys.owner, model, previous_response_id=made["id"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")
    user = {"role": "user", "content": "x"}
    for item in made["output"]:
        reference = {"type": "item_reference", "id": item["id"]}
        assert gateway.create(keys.owner, model, input=[user, reference]).status_code == 404
    gateway.made(keys.owner, model, input=[user, *made["output"], user])  # their content is in them


def test_another_model_of_the_same_account_continues(gateway: Stored, keys: Keys):
    made = gateway.made(keys.owner)
    gateway.made(keys.owner, "mini", previous_response_id=made["id"])


@pytest.mark.parametrize("model", ["elsewhere", KEPT])
def test_a_model_elsewhere_is_refused_and_nothing_is_sent(
    gateway: Stored, keys: Keys, storing: StoringProvider, provider: FakeProvider, model: str
):
    made = gateway.made(keys.owner)
    storing.requests.clear()
    refused = gateway.create(keys.owner, model, previous_response_id=made["id"])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    assert not storing.requests
    assert not provider.requests
    whole = [*made["output"], {"role": "user", "content": "x"}]
    gateway.made(keys.owner, model, input=whole)  # what is in the request needs no storage


def test_a_kept_response_can_be_continued_by_any_model(gateway: Stored, keys: Keys, storing: StoringProvider):
    made = gateway.made(keys.owner, KEPT, input="My name is Ada")
    gateway.made(keys.owner, STORED, previous_response_id=made["id"], input="Who am I?")
    assert "previous_response_id" not in storing.last
    assert "My name is Ada" in json.dumps(storing.last["input"])
    assert not [item for item in storing.last["input"] if "id" in item]


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_a_stream_of_a_stored_response_is_refused(gateway: Stored, keys: Keys, model: str):
    made = gateway.made(keys.owner, model)
    refused = gateway.send(keys.owner, "GET", f"/{made['id']}", params={"stream": "true"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stream")
    assert gateway.send(keys.owner, "GET", f"/{made['id']}", params={"stream": "false"}).status_code == 200


# What nobody else can do


def attempts(gateway: Stored, key: str, id: str, items: list[str], model: str) -> list[tuple[int, str, list[str]]]:
    """Every way to use a response or its items, as the client sees the answer."""
    answers = [
        without(id, gateway.send(key, "GET", f"/{id}")),
        without(id, gateway.send(key, "HEAD", f"/{id}")),
        without(id, gateway.send(key, "GET", f"/{id}/input_items")),
        without(id, gateway.send(key, "POST", f"/{id}/cancel")),
        without(id, gateway.send(key, "DELETE", f"/{id}")),
        without(id, gateway.create(key, model, previous_response_id=id)),
        without(id, gateway.create(key, model, previous_response_id=id, stream=True)),
    ]
    for item in items:
        reference = {"type": "item_reference", "id": item}
        answers.append(without(item, gateway.create(key, model, input=[reference])))
        answers.append(without(item, gateway.create(key, model, input=[{"id": item}])))
    return answers


def unknown(gateway: Stored, key: str, model: str, items: int) -> list[tuple[int, str, list[str]]]:
    answers = attempts(gateway, key, UNKNOWN, ["rs_" + "ab" * 25] * items, model)
    assert {status for status, _, _ in answers} == {400, 404}
    return answers


@pytest.mark.parametrize("model", [STORED, KEPT])
@pytest.mark.parametrize("with_master", [False, True])
def test_another_key_sees_what_it_would_see_of_nothing(
    gateway: Stored, keys: Keys, storing: StoringProvider, provider: FakeProvider, model: str, with_master: bool
):
    made = gateway.made(keys.owner, model)
    other = MASTER_KEY if with_master else keys.other
    storing.requests.clear()
    provider.reset()
    items = [item["id"] for item in made["output"]]
    assert attempts(gateway, other, made["id"], items, model) == unknown(gateway, other, model, len(items))
    assert not storing.requests
    assert not provider.requests
    assert gateway.send(keys.owner, "GET", f"/{made['id']}").status_code == 200


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_a_key_cannot_use_what_the_master_key_made(gateway: Stored, keys: Keys, model: str):
    made = gateway.made(MASTER_KEY, model)
    assert gateway.send(MASTER_KEY, "GET", f"/{made['id']}").status_code == 200
    items = [item["id"] for item in made["output"]]
    assert attempts(gateway, keys.owner, made["id"], items, model) == unknown(gateway, keys.owner, model, len(items))


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_a_forged_id_is_no_id(gateway: Stored, keys: Keys, storing: StoringProvider, model: str):
    id = gateway.made(keys.owner, model)["id"]
    flipped = id[:40] + ("A" if id[40] != "A" else "B") + id[41:]
    raw = next(iter(storing.responses), UNKNOWN)
    for forged in (flipped, id[:-1], id[:-4], id + "A", id[:6], id.lower(), raw, "resp_S", UNKNOWN):
        answer = gateway.send(keys.owner, "GET", f"/{forged}")
        assert without(forged, answer) == without(UNKNOWN, gateway.send(keys.owner, "GET", f"/{UNKNOWN}")), forged
        refused = gateway.create(keys.owner, model, previous_response_id=forged)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found"), forged


@pytest.mark.parametrize("path", ["..%2f..%2fmodels", "%2e%2e", "resp_x%3fa=b", "resp_x%23", "%00", "%ff", "a%20b"])
def test_a_strange_id_reaches_nobody(gateway: Stored, keys: Keys, storing: StoringProvider, path: str):
    for tail in ("", "/input_items"):
        assert gateway.send(keys.owner, "GET", f"/{path}{tail}").status_code == 404
    assert not storing.requests


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_a_deleted_response_is_gone(gateway: Stored, keys: Keys, model: str):
    made = gateway.made(keys.owner, model)
    assert gateway.send(keys.owner, "DELETE", f"/{made['id']}").status_code == 200
    items = [item["id"] for item in made["output"]]
    assert attempts(gateway, keys.owner, made["id"], items, model) == unknown(gateway, keys.owner, model, len(items))


def test_a_deleted_response_costs_nobody_the_deployment(gateway: Stored, keys: Keys):
    made = gateway.made(keys.owner)
    gateway.send(keys.owner, "DELETE", f"/{made['id']}")
    for _ in range(10):
        assert gateway.create(keys.owner, previous_response_id=made["id"]).status_code == 400
    assert gateway.create(keys.other).status_code == 200


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_the_owner_keeps_its_responses_when_its_secret_is_replaced(gateway: Stored, keys: Keys, model: str):
    made = gateway.made(keys.owner, model)
    new = gateway.admin(f"/key/{keys.owner}/regenerate", {})["key"]
    assert gateway.send(keys.owner, "GET", f"/{made['id']}").status_code == 401
    assert gateway.send(new, "GET", f"/{made['id']}").status_code == 200
    gateway.made(new, model, previous_response_id=made["id"])


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_a_key_made_again_with_the_same_secret_is_another_owner(gateway: Stored, keys: Keys, model: str):
    secret = f"sk-chosen-twice-{model}"
    gateway.key(key=secret)
    made = gateway.made(secret, model)
    gateway.admin("/key/delete", {"keys": [secret]})
    gateway.key(key=secret)
    first = gateway.create(secret, model, previous_response_id=made["id"])
    assert first.status_code in (400, 503)  # 503: the proxy had taken it for the first one
    assert gateway.create(secret, model, previous_response_id=made["id"]).status_code == 400
    assert gateway.send(secret, "GET", f"/{made['id']}").status_code == 404


def test_a_blocked_key_uses_nothing(gateway: Stored, keys: Keys):
    made = gateway.made(keys.owner)
    gateway.admin("/key/block", {"key": keys.owner})
    for method in ("GET", "DELETE"):
        assert gateway.send(keys.owner, method, f"/{made['id']}").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_other_methods_are_refused(gateway: Stored, keys: Keys, method: str):
    answer = gateway.send(keys.owner, method, f"/{UNKNOWN}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, DELETE")
    assert gateway.http.get(f"/v1/responses/{UNKNOWN}").status_code == 401


def test_no_id_is_logged(gateway: Stored, keys: Keys, storing: StoringProvider):
    ids = [gateway.made(keys.owner, model)["id"] for model in (STORED, KEPT)]
    for id in ids:
        gateway.send(keys.owner, "GET", f"/{id}")
        gateway.send(keys.other, "GET", f"/{id}")
    log = gateway.proxy.log()
    assert not [id for id in (*ids, *storing.responses) if id in log]


@pytest.mark.parametrize("field", ["conversation", "background", "prompt"])
def test_what_all_keys_would_share_is_refused(gateway: Stored, keys: Keys, storing: StoringProvider, field: str):
    value = {"conversation": "conv_1", "background": True, "prompt": {"id": "pmpt_1"}}[field]
    refused = gateway.create(keys.owner, **{field: value})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
    assert not storing.requests


# Beside `/responses`


def test_a_conversation_is_compacted_for_its_owner_only(gateway: Stored, keys: Keys, storing: StoringProvider):
    made = gateway.made(keys.owner)
    body = {"model": STORED, "previous_response_id": made["id"], "max_output_tokens": 5, "stream": True, "store": True}
    answer = gateway.send(keys.owner, "POST", "/compact", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == "response.compaction"
    assert answer.json()["output"][0]["id"].startswith("cmp_S")
    assert storing.last.keys() == {"model", "previous_response_id"}
    assert float(answer.headers["x-litellm-response-cost"]) > 0
    gateway.made(keys.owner, input=[*answer.json()["output"], {"role": "user", "content": "x"}])
    refused = gateway.send(keys.other, "POST", "/compact", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")


def test_a_compaction_reserves_what_the_model_may_say(gateway: Stored, storing: StoringProvider):
    poor = gateway.key(max_budget=0.001)  # 500 tokens of output are $0.001
    refused = gateway.send(poor, "POST", "/compact", json={"model": STORED, "input": "Hi"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    rich = gateway.key(max_budget=0.002)
    assert gateway.send(rich, "POST", "/compact", json={"model": STORED, "input": "Hi"}).status_code == 200
    assert gateway.info(rich)["spend"] > 0


def test_a_model_that_cannot_compact_says_so(gateway: Stored, keys: Keys, provider: FakeProvider):
    refused = gateway.send(keys.owner, "POST", "/compact", json={"model": KEPT, "input": "Hi"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    assert not provider.requests


@pytest.mark.parametrize("model", [STORED, KEPT])
def test_tokens_are_counted_for_nothing(gateway: Stored, model: str):
    key = gateway.key(max_budget=0.01)
    made = gateway.made(key, model)
    spent = gateway.info(key)["spend"]
    body = {"model": model, "input": "one two three four five"}
    short = gateway.send(key, "POST", "/input_tokens", json=body).json()
    long = gateway.send(key, "POST", "/input_tokens", json={**body, "previous_response_id": made["id"]}).json()
    assert short["object"] == "response.input_tokens"
    assert 0 < short["input_tokens"] < long["input_tokens"]
    assert gateway.info(key)["spend"] == spent


@pytest.mark.parametrize("depth", [400, 1000])
def test_input_that_is_nested_too_deeply_is_the_clients_fault(gateway: Stored, keys: Keys, depth: int):
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    tool = b'{"type":"function","name":"f","parameters":%b}' % nested
    says = b'{"role":"user","content":"Hi"}'
    key = gateway.key(max_budget=1)

    def sent(model: str, input: bytes) -> int:
        body = b'{"model":"%b","input":[%b,%b]}' % (model.encode(), says, input)
        return gateway.send(key, "POST", "", content=body).status_code

    for model in (STORED, KEPT):
        assert sent(model, b'{"type":"function_call","call_id":"c","name":"f","arguments":%b}' % nested) == 400
        assert sent(model, b'{"type":"additional_tools","role":"developer","tools":[%b]}' % tool) in (200, 400)
    assert sent(KEPT, b'{"type":"old_call","more":%b}' % nested) == 200  # it is not sent to Claude, and not kept


# What references cost


def test_a_kept_conversation_counts_beside_what_a_provider_has(
    gateway: Stored, keys: Keys, storing: StoringProvider, provider: FakeProvider
):
    key = gateway.key(max_budget=1)
    thought = gateway.made(key)["output"][0]
    long = gateway.made(key, KEPT, input="word " * 20_000)["id"]
    gateway.admin("/key/update", {"key": key, "max_budget": gateway.info(key)["spend"] + 0.01})
    asked: dict[str, Any] = {"previous_response_id": long, "max_output_tokens": 16}
    for given in ("Hi", [thought, {"role": "user", "content": "Hi"}]):
        refused = gateway.create(key, KEPT, input=given, **asked)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")


@pytest.mark.parametrize(
    ("first", "model", "status"),
    [
        ({}, STORED, 200),
        ({}, "mini", 200),
        ({"truncation": "disabled"}, STORED, 200),
        ({"truncation": "auto"}, STORED, 429),  # the next model may read what this one left out
        ({}, "pictures", 429),  # gpt-4o-mini counts an image as 33 times the tokens
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_of_unknown_size_reserves_the_window(
    gateway: Stored, first: dict[str, Any], model: str, status: int, stream: bool
):
    key = gateway.key(max_budget=1)
    made = gateway.streamed(key, **first)[-1]["response"] if stream else gateway.made(key, **first)
    gateway.admin("/key/update", {"key": key, "max_budget": gateway.info(key)["spend"] + 0.05})
    body = {"previous_response_id": made["id"], "max_output_tokens": 16}
    assert gateway.create(key, model, **body).status_code == status
