"""A container that receives its configurations from the edge.

Each request is served and charged under the configuration that it names.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.accounting.edge import BEHIND, TOKEN, Behind, a_grant
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for
from tests.processes import RunningProxy, StartProxy
from worker.core.protocol import MOST_CONFIGURATIONS, PROTOCOL_VERSION

USAGE = Behaviour(usage=(10, 5))
PATH = "/internal/configuration"


class Giving(Behind):
    """Plays an edge that sends configurations."""

    def __init__(self, proxy: RunningProxy) -> None:
        super().__init__(proxy)
        self.http.headers["x-internal-catalog"] = "of-the-test"

    def give(self, name: str, document: Mapping[str, Any], /, **fields: Any) -> httpx.Response:
        given = {
            "name": name,
            "catalog": "of-the-test",
            "file": "litellm_config.yaml",
            "document": json.dumps(document),
            "variables": ["PROVIDER_KEY"],
            "environment": {},
            **fields,
        }
        return self.http.post(PATH, json=given)

    def ask(self, name: str, **grant: Any) -> httpx.Response:
        return self.post(headers={"x-internal-configuration": name}, grant=grant)


@pytest.fixture
def edge(proxy: StartProxy, fake: FakeProvider) -> Iterator[Giving]:
    """Starts the proxy with a config file whose model no request may reach."""
    fake.always(USAGE)
    file = {"model_list": [deployment(fake, "of-the-file")]}
    environment = {**BEHIND, "INTERNAL_PROTOCOL": str(PROTOCOL_VERSION)}
    playing = Giving(proxy(file, master_key=None, environment=environment))
    yield playing
    playing.finish()


def priced(fake: FakeProvider, dollars: float, **params: Any) -> dict[str, Any]:
    one = deployment(fake, "gpt", input_cost_per_token=dollars, output_cost_per_token=dollars)
    one["litellm_params"].update(params)
    return {"model_list": [one]}


def test_without_a_configuration_it_is_ready_and_refuses_requests(edge: Giving, fake: FakeProvider) -> None:
    assert edge.http.get("/health/readiness").status_code == 200
    refused = edge.ask("first")
    assert (refused.status_code, refused.headers["x-internal-no-instance"]) == (503, "unconfigured")
    assert int(refused.headers["retry-after"]) >= 1
    assert edge.post(json=chat("of-the-file")).status_code == 503
    assert fake.requests == []
    assert edge.poll(1)["open"] == 0


def test_each_request_is_charged_under_the_configuration_it_names(edge: Giving, fake: FakeProvider) -> None:
    assert edge.give("cheap", priced(fake, 0.001)).status_code == 200
    assert edge.give("dear", priced(fake, 0.002)).status_code == 200
    spent = []
    for name in ("cheap", "dear", "cheap"):
        assert edge.ask(name).status_code == 200
        spent.append(edge.report().cost)
    assert spent == [15_000_000, 30_000_000, 15_000_000]


def test_a_configuration_sent_again_is_rebuilt_only_if_it_changed(edge: Giving, fake: FakeProvider) -> None:
    secret = priced(fake, 0.001, api_key="os.environ/PROVIDER_KEY")
    for value in ("sk-one", "sk-one", "sk-two"):
        assert edge.give("one", secret, environment={"PROVIDER_KEY": value}).status_code == 200
        assert edge.ask("one").status_code == 200
        assert fake.last.api_key == value
    wait_for(lambda: edge.proxy.log().count('"config_given"'), lambda found: found == 2)
    assert edge.give("one", secret).status_code == 200  # the secret is gone
    assert edge.ask("one").status_code == 503


def test_the_oldest_configuration_is_dropped_and_can_be_sent_again(edge: Giving, fake: FakeProvider) -> None:
    for number in range(MOST_CONFIGURATIONS + 1):
        assert edge.give(str(number), priced(fake, 0.001)).status_code == 200
    assert edge.ask("0").headers["x-internal-no-instance"] == "unconfigured"
    assert [edge.ask(str(number)).status_code for number in range(1, MOST_CONFIGURATIONS + 1)] == [
        200
    ] * MOST_CONFIGURATIONS
    edge.give("0", priced(fake, 0.001))
    assert edge.ask("0").status_code == 200


def test_an_invalid_configuration_changes_nothing(edge: Giving, fake: FakeProvider) -> None:
    edge.give("good", priced(fake, 0.001))
    for document, reason in (
        ('{"model_list": "none"}', "model_list"),
        ('{"model_list": [], "litellm_settings": {"max_budget": "much"}}', "max_budget"),
        ("model_list: []", "JSON"),
        ("[]", "mapping"),
    ):
        refused = edge.give("bad", {}, document=document)
        assert refused.status_code == 422
        assert reason in refused.json()["error"]["message"]
    assert edge.ask("good").status_code == 200
    assert edge.ask("bad").headers["x-internal-no-instance"] == "unconfigured"


def test_a_malformed_configuration_is_a_400(edge: Giving, fake: FakeProvider) -> None:
    for body in (b"", b"[]", b"{}", b'{"name": 1}', b"\xff", b'"text"'):
        assert edge.http.post(PATH, content=body).status_code == 400, body
    for field in ("name", "catalog", "file", "document", "variables", "environment"):
        for wrong in (None, 7, [1], [None], {"a": 1}):
            answer = edge.give("one", priced(fake, 0.001), **{field: wrong})
            assert answer.status_code == 400, (field, wrong)


def test_only_the_edge_can_send_a_configuration(edge: Giving, fake: FakeProvider) -> None:
    for headers in ({"x-internal-token": "guessed"}, {"x-internal-token": ""}):
        refused = edge.http.post(PATH, json={}, headers=headers)
        assert refused.status_code == 401
    assert edge.http.get(PATH).status_code == 405
    assert TOKEN not in refused.text


def test_a_stream_keeps_its_configuration_after_it_is_dropped(edge: Giving, fake: FakeProvider) -> None:
    edge.give("0", priced(fake, 0.001))
    fake.queue(Behaviour(text="one two three", chunks=6, pace=0.2, usage=(10, 5)))
    headers = {"x-internal-configuration": "0", "x-internal-grant": json.dumps(a_grant())}
    with edge.http.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=headers) as answer:
        for number in range(1, MOST_CONFIGURATIONS + 2):
            edge.give(str(number), priced(fake, 0.002))
        assert b"[DONE]" in answer.read()
    assert edge.report().cost == 15_000_000


def test_an_older_edge_uses_the_config_file(proxy: StartProxy, fake: FakeProvider) -> None:
    fake.always(USAGE)
    before = Behind(proxy({"model_list": [deployment(fake, "gpt")]}, master_key=None, environment=BEHIND))
    assert before.post().status_code == 200
    before.finish()
