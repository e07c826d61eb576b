"""The ledger's object also owns the first container. Clients cannot tell."""

from collections.abc import Iterator

import httpx
import pytest

from tests import response_events
from tests.edge.conftest import Edge, StartEdge, wait_for
from tests.edge.money import Money
from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.money import deployment


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module")
def money(start_module_edge: StartEdge, provider: FakeProvider) -> Money:
    config = {
        "model_list": [deployment(provider, "gpt")],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    return Money(start_module_edge(config))


@pytest.fixture(autouse=True)
def _plain(provider: FakeProvider) -> None:
    provider.always(Behaviour(usage=(10, 5)))


def test_a_refusal_wakes_no_container_and_has_the_apis_format(money: Money):
    """Must run first, while no container has started."""
    poor = money.key(max_budget=0)
    for key, status, kind in (
        ("sk-nobody", 401, "authentication_error"),
        (poor, 429, "budget_exceeded"),
    ):
        refused = money.ask(key)
        assert (refused.status_code, refused.json()["error"]["type"]) == (status, kind)
        assert_nothing_internal(refused)
    claude = {"model": "gpt", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    refused = httpx.post(f"{money.edge.url}/v1/messages", json=claude, headers={"x-api-key": poor}, timeout=30)
    assert (refused.status_code, refused.json()["type"]) == (429, "error")
    assert money.edge.containers(None) == []


def test_internal_headers_reach_neither_client_nor_provider(money: Money, provider: FakeProvider):
    assert_nothing_internal(money.ask())
    assert_nothing_internal(money.ask(stream=True))
    assert not [name for name in provider.last.headers if name.lower().startswith("x-internal")]
    provider.always(failing(500))
    assert_nothing_internal(money.ask())


def test_a_client_that_sends_the_edges_headers_is_not_trusted(money: Money, provider: FakeProvider):
    key = money.key(max_budget=1)
    before = len(provider.requests)
    for name in ("x-internal-ask", "x-internal-grant", "x-internal-report", "x-internal-refusal"):
        headers = {"authorization": f"Bearer {key}", name: '{"ask": {}, "reservation": "mine"}'}
        body = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]}
        answer = httpx.post(f"{money.edge.url}/v1/chat/completions", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200
    assert len(provider.requests) == before + 4
    money.settled(key, 4)


def test_the_next_request_finds_its_reservation_and_slot_free(money: Money):
    """A plain response carries its report, and the next admission settles it."""
    key = money.key(max_parallel_requests=1, max_budget=1)
    answers = [money.ask(key) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20
    info = money.info(key)
    assert info["spend"] == pytest.approx(20 * 0.00002)
    assert [line["state"] for line in money.logs(key)] == ["settled"] * 20


def test_a_blocked_key_is_refused_on_the_next_request(money: Money):
    key = money.key(max_budget=1)
    assert money.ask(key).status_code == 200
    money.admin("/key/block", {"key": key})
    assert money.ask(key).status_code == 401
    money.admin("/key/unblock", {"key": key})
    assert money.ask(key).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_admitted_and_settled(money: Money, provider: FakeProvider, stream: bool):
    provider.always(Behaviour(usage=(10, 5)))
    key = money.key(max_budget=1)
    fields = {"model": "gpt", "input": "Hi", "instructions": "Be brief.", "max_output_tokens": 99, "stream": stream}
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(f"{money.edge.url}/v1/responses", json=fields, headers=headers, timeout=30)
    assert answer.status_code == 200
    response = response_events.ended(answer.content) if stream else response_events.response(answer.json())
    assert response["usage"]["output_tokens"] == 5
    assert_nothing_internal(answer)
    (line,) = money.settled(key)
    assert (line["prompt_tokens"], line["completion_tokens"], line["state"]) == (10, 5, "settled")
    assert provider.last.body["max_output_tokens"] == 99


def test_responses_budget_is_refused_at_the_edge(money: Money, provider: FakeProvider):
    key = money.key(max_budget=0.00001)
    before = len(provider.requests)
    headers = {"authorization": f"Bearer {key}"}
    fields = {"model": "gpt", "input": [{"role": "user", "content": "word " * 2000}], "max_output_tokens": 9000}
    answer = httpx.post(f"{money.edge.url}/v1/responses", json=fields, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "budget_exceeded")
    assert len(provider.requests) == before


def test_no_reservation_stays_open(money: Money):
    spend = money.spend()
    assert (spend["running_requests"], spend["reserved"]) == (0, 0)
    wait_for(lambda: not money.edge.alarms(), "the end of all alarms", timeout=20)


def assert_nothing_internal(answer: httpx.Response) -> None:
    assert not [name for name in answer.headers if name.startswith("x-internal")]


def test_requests_for_other_instances_are_admitted_before_they_are_forwarded(
    start_edge: StartEdge, provider: FakeProvider
):
    config = {"model_list": [deployment(provider, "gpt")], "router_settings": {"num_retries": 0}}
    edge: Edge = start_edge(config, vars={"CONTAINER_INSTANCES": "2"})
    money = Money(edge)
    keys = [money.key(max_budget=1) for _ in range(8)]
    assert [money.ask(key).status_code for key in keys * 2] == [200] * 16
    assert len(edge.containers()) == 2, "eight keys fell on both of them (one seed of 128 would not)"
    for key in keys:
        assert [line["state"] for line in money.settled(key, 2)] == ["settled"] * 2
    assert money.spend()["reserved"] == 0
