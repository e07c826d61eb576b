"""Stored responses at the edge: they belong to the key, whichever container serves the request."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.server import FakeProvider
from tests.responses.storing_provider import StoringProvider
from worker.core.shared_settings import seal_secret

from .conftest import MASTER_KEY, Edge, StartEdge
from .money import Money

UNKNOWN = "resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b"
PRICES = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "max_input_tokens": 100_000}


@pytest.fixture(scope="module")
def storing() -> Iterator[StoringProvider]:
    with StoringProvider().serving() as provider:
        yield provider


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge, storing: StoringProvider, providers: FakeProvider) -> Edge:
    gpt = {"model": "openai/gpt-5.1", "api_base": storing.base, "api_key": "os.environ/STORING_KEY"}
    claude = {"model": "anthropic/claude-sonnet-4-5", "api_base": providers.url, "api_key": "sk-provider"}
    return start_module_edge(
        {
            "model_list": [
                {"model_name": "gpt", "litellm_params": gpt, "model_info": {**PRICES, "max_output_tokens": 500}},
                {"model_name": "claude", "litellm_params": claude, "model_info": PRICES},
            ],
            "router_settings": {"num_retries": 0},
        },
        vars={"STORING_KEY": "sk-provider"},
    )


class Client:
    def __init__(self, edge: Edge, key: str) -> None:
        self.http = httpx.Client(base_url=f"{edge.url}/v1", headers={"authorization": f"Bearer {key}"}, timeout=60)

    def create(self, model: str = "gpt", **fields: Any) -> httpx.Response:
        return self.http.post("/responses", json={"model": model, "input": "Hi", **fields})

    def statuses(self, id: str) -> list[int]:
        """Of every way to use a response, the deletion last."""
        answers = [
            self.http.get(f"/responses/{id}"),
            self.http.head(f"/responses/{id}"),
            self.http.get(f"/responses/{id}/input_items"),
            self.http.post(f"/responses/{id}/cancel"),
            self.create(previous_response_id=id),
            self.http.post("/responses/input_tokens", json={"model": "gpt", "previous_response_id": id}),
            self.http.delete(f"/responses/{id}"),
            self.http.get(f"/responses/{id}"),
        ]
        return [answer.status_code for answer in answers]


NOTHING = [404, 404, 404, 404, 400, 400, 404, 404]


def test_a_response_belongs_to_its_key(edge: Edge, storing: StoringProvider):
    money = Money(edge)
    secret = money.key(max_budget=1)
    owner, other, master = (Client(edge, key) for key in (secret, money.key(), MASTER_KEY))
    made = owner.create().json()
    assert made["id"].startswith("resp_S")
    reference = {"type": "item_reference", "id": made["output"][0]["id"]}
    assert owner.create(input=[reference, {"role": "user", "content": "x"}]).status_code == 200
    storing.requests.clear()
    for stranger in (other, master):
        assert stranger.statuses(made["id"]) == stranger.statuses(UNKNOWN) == NOTHING
        assert stranger.create(input=[reference]).status_code == 404
    assert not storing.requests
    edge.kill_container()
    rotated = Client(edge, money.admin(f"/key/{secret}/regenerate", {})["key"])
    assert rotated.statuses(made["id"]) == [200, 200, 200, 400, 200, 200, 200, 404]
    assert owner.http.get(f"/responses/{made['id']}").status_code == 401
    assert storing.requests[-1][3] == "Bearer sk-provider"


def test_a_stream_is_continued_and_paid_for(edge: Edge):
    money = Money(edge)
    key = money.key(max_budget=1)
    owner = Client(edge, key)
    text = owner.create(stream=True, max_output_tokens=100).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    (id,) = {event["response"]["id"] for event in events if "response" in event}
    money.settled(key, 1)
    assert owner.create(previous_response_id=id, max_output_tokens=100).status_code == 200
    lines = money.settled(key, 2)
    assert all(line["spend"] > 0 for line in lines)
    assert owner.http.get(f"/responses/{id}").status_code == 200
    assert len(money.logs(key)) == 2  # a retrieval costs nothing


def test_what_the_provider_does_not_store_is_not_kept(edge: Edge):
    owner = Client(edge, Money(edge).key())
    made = owner.create("claude").json()
    assert made["store"] is False
    assert owner.http.get(f"/responses/{made['id']}").status_code == 404
    refused = owner.create("claude", previous_response_id=made["id"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")
    whole = [*made["output"], {"role": "user", "content": "x"}]
    assert owner.create("claude", input=whole).status_code == 200


def test_other_methods_and_websockets_are_refused_before_a_container(edge: Edge):
    client = Client(edge, MASTER_KEY)
    assert client.http.put(f"/responses/{UNKNOWN}").status_code == 405
    assert client.http.post(f"/responses/{UNKNOWN}").status_code == 405
    upgrade = {"connection": "upgrade", "upgrade": "websocket"}
    assert client.http.get("/responses", headers=upgrade).status_code == 426
    nobody = Client(edge, "no-key")
    assert [
        nobody.http.get(f"/responses/{UNKNOWN}").status_code,
        nobody.http.delete(f"/responses/{UNKNOWN}").status_code,
    ] == [401, 401]


def test_the_secret_of_ids_is_not_shown(edge: Edge):
    secret = seal_secret(None, MASTER_KEY)
    assert secret is not None
    assert secret not in edge.log()
