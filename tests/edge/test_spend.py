"""The cost of requests through the edge: reported by the container's journal, stored by the ledger's object."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from tests.edge.conftest import Edge, StartEdge
from tests.edge.money import Money
from tests.edge.stand_in import Events, image
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for
from worker.edge.objects import usage_drain

USAGE = Behaviour(usage=(10, 5), usage_details=(4, 3))
COST = 0.00002
# Settlement takes milliseconds (`tests.edge.figures`); a reservation that is never settled expires after two minutes.
FREE_SECONDS = 5


@pytest.fixture(scope="module")
def providers() -> Iterator[tuple[FakeProvider, FakeProvider]]:
    with FakeProvider() as one, FakeProvider() as two:
        yield one, two


@pytest.fixture
def provider(providers: tuple[FakeProvider, FakeProvider]) -> FakeProvider:
    for one in providers:
        one.reset()
    providers[0].always(USAGE)
    return providers[0]


@pytest.fixture
def spare(providers: tuple[FakeProvider, FakeProvider], provider: FakeProvider) -> FakeProvider:
    providers[1].always(USAGE)
    return providers[1]


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge, providers: tuple[FakeProvider, FakeProvider]) -> Edge:
    models = [
        deployment(providers[0], "gpt"),
        deployment(providers[0], "embed"),
        deployment(providers[0], "cached", cache_read_input_token_cost=0.0000001),
        deployment(providers[1], "spare", input_cost_per_token=0.00001),
    ]
    router = {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"gpt": ["spare"]}]}
    return start_module_edge({"model_list": models, "router_settings": router})


@pytest.fixture
def money(edge: Edge) -> Money:
    return Money(edge)


def test_one_id_finds_a_request_in_the_header_the_containers_log_and_the_spend_log(
    edge: Edge, money: Money, provider: FakeProvider
):
    key, name = money.key(), "a-client-s-name-0002"
    authorized = {"authorization": f"Bearer {key}"}
    parked = "x" * 70_000  # quoted by the container
    for number, (content, named) in enumerate([("Hi", {}), ("Hi", {"x-request-id": name}), (parked, {})], 1):
        body = {"model": "gpt", "messages": [{"role": "user", "content": content}]}
        answer = edge.client.post("/v1/chat/completions", json=body, headers=authorized | named)
        assert answer.status_code == 200, answer.text
        id = answer.headers["x-request-id"]
        assert (id == name) is bool(named)
        money.settled(key, number)
        (row,) = money.admin("/spend/logs", request_id=id)["data"]
        assert (row["request_id"], row["endpoint"]) == (id, "chat_completions")


def test_a_plain_answer_is_charged(money: Money, provider: FakeProvider):
    key = money.key(max_budget=1)
    answer = money.ask(key)
    assert answer.status_code == 200
    assert answer.headers["x-litellm-response-cost"] == "0.000020000"
    (line,) = money.settled(key)
    assert (line["spend"], line["status"], line["model"], line["estimated"]) == (COST, 200, "gpt", False)
    tokens = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
    assert [line[name] for name in tokens] == [10, 5, 4, 3]
    assert money.info(key)["spend"] == COST


@pytest.mark.parametrize("content", ["Hi", "x" * 70_000], ids=["quoted", "parked"])
def test_tags_of_the_key_and_of_the_request(money: Money, provider: FakeProvider, content: str):
    key = money.key(max_budget=10, tags=["team:a"])
    assert money.ask(key, content=content, metadata={"tags": ["job:1"]}).status_code == 200
    (line,) = money.settled(key)
    assert line["request_tags"] == ["team:a", "job:1"]


@pytest.mark.parametrize("content", ["Hi", "x" * 70_000], ids=["quoted", "parked"])
@pytest.mark.parametrize(
    "headers", [{}, {"x-litellm-end-user-id": "eve", "x-litellm-tags": "job:2"}], ids=["body", "headers"]
)
def test_the_end_user_and_tags_that_a_request_names(money: Money, content: str, headers: dict[str, str]):
    key = money.key(max_budget=10)
    said = {"user": "ada", "metadata": {"tags": ["job:1"]}}
    assert money.ask(key, content=content, headers=headers, **said).status_code == 200
    (line,) = money.settled(key)
    expected = ("eve", ["job:1", "job:2"]) if headers else ("ada", ["job:1"])
    assert (line["end_user"], line["request_tags"]) == expected


def test_a_stream_is_charged(money: Money, provider: FakeProvider):
    key = money.key(max_budget=1)
    answer = money.ask(key, stream=True)
    assert answer.text.rstrip().endswith("data: [DONE]")
    (line,) = money.settled(key)
    assert (line["spend"], line["cached_tokens"], line["reasoning_tokens"]) == (COST, 4, 3)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_cached_tokens_are_discounted_in_every_providers_format(money: Money, provider: FakeProvider, stream: bool):
    """https://api-docs.deepseek.com/guides/kv_cache"""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_cache_hit_tokens": 4}
    choice = {"index": 0, "message": {"content": "x"}, "delta": {"content": "x"}, "finish_reason": "stop"}
    raw = orjson.dumps({"id": "1", "model": "m", "choices": [choice], "usage": usage})
    provider.always(Behaviour(raw=(b"data: " + raw + b"\n\n", b"data: [DONE]\n\n") if stream else (raw,)))
    key = money.key(max_budget=1)
    assert money.ask(key, model="cached", stream=stream).status_code == 200
    (line,) = money.settled(key)
    assert (line["spend"], line["cached_tokens"]) == (pytest.approx(6 * 1e-6 + 4 * 1e-7 + 5 * 2e-6), 4)


def test_a_stream_whose_client_disconnects_is_charged(money: Money, provider: FakeProvider):
    provider.always(Behaviour(pace=0.02, chunks=500, text="word " * 500))
    key = money.key(max_budget=1)
    headers = {"authorization": f"Bearer {key}"}
    with httpx.stream("POST", f"{money.edge.url}/v1/chat/completions", json=chat(stream=True), headers=headers) as one:
        next(one.iter_lines())
    (line,) = money.settled(key)
    assert (line["status"], line["estimated"]) == (499, True)
    assert 0 < line["spend"] < 0.01


def test_a_stream_broken_by_the_provider_is_charged(money: Money, provider: FakeProvider):
    provider.always(Behaviour(fault=Fault.RESET_MID_STREAM, after=2))
    key = money.key(max_budget=1)
    assert '"error"' in money.ask(key, stream=True).text
    (line,) = money.settled(key)
    assert (line["status"], line["estimated"]) == (502, True)
    assert line["spend"] > 0


def test_a_failed_request_costs_nothing(money: Money, provider: FakeProvider, spare: FakeProvider):
    provider.always(failing(500))
    spare.always(failing(500))
    key = money.key(max_budget=1)
    assert money.ask(key).status_code == 500
    (line,) = money.settled(key)
    assert (line["spend"], line["status"]) == (0, 500)


def test_after_a_fallback_the_deployment_that_answered_is_charged(
    money: Money, provider: FakeProvider, spare: FakeProvider
):
    provider.always(failing(500))
    key = money.key(max_budget=1)
    assert money.ask(key).headers["x-litellm-attempted-fallbacks"] == "1"
    (line,) = money.settled(key)
    assert line["spend"] == 0.00011


def test_embeddings_are_charged(money: Money, provider: FakeProvider):
    provider.always(Behaviour(usage=(7, 0)))
    key = money.key(max_budget=1)
    assert money.ask(key, "/v1/embeddings", model="embed", input="Hello").status_code == 200
    (line,) = money.settled(key)
    assert line["spend"] == 0.000007


def test_missing_usage_is_estimated(money: Money, provider: FakeProvider):
    provider.always(Behaviour(usage_in="never", text="one two three"))
    key = money.key(max_budget=1)
    money.ask(key, stream=True)
    (line,) = money.settled(key)
    assert line["estimated"] is True
    assert line["completion_tokens"] >= 3


def test_a_request_refused_by_the_container_releases_its_reservation(money: Money, provider: FakeProvider):
    key = money.key(max_budget=0.05)  # one request at a time: four thousand output tokens are reserved
    for _ in range(5):
        assert money.ask(key, temperature="warm").status_code == 400
    assert money.ask(key).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_one_request_at_a_time_back_to_back(money: Money, provider: FakeProvider, stream: bool):
    key = money.key(max_parallel_requests=1, max_budget=1)
    answers = [money.ask(key, stream=stream) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20
    assert sum(line["spend"] for line in money.settled(key, 20)) == pytest.approx(20 * COST)


@pytest.mark.parametrize("stream", [False, True])
def test_slot_and_reservation_are_free_soon_after_the_last_byte(money: Money, provider: FakeProvider, stream: bool):
    key = money.key(max_budget=1)
    for _ in range(5):
        money.ask(key, stream=stream)
        wait_for(money.spend, lambda found: found["running_requests"] == 0, FREE_SECONDS)


def test_a_long_stream_keeps_its_container_and_is_settled_at_its_end(money: Money, provider: FakeProvider):
    """Longer than an idle object stays in memory."""
    provider.always(Behaviour(pace=0.5, chunks=36, text="word " * 36, usage=(10, 5)))
    key = money.key(max_parallel_requests=1)
    assert "[DONE]" in money.ask(key, stream=True).text
    wait_for(lambda: money.logs(key), bool, FREE_SECONDS)
    assert "container_found_running" not in money.edge.log()


def test_when_everything_is_reported_polling_stops(start_edge: StartEdge, tmp_path: Path):
    events = Events(tmp_path / "events")
    edge = start_edge(image=image(events))
    assert edge.client.post("/v1/chat/completions", json={**chat("mock"), "padding": "x"}).status_code == 200
    wait_for(lambda: events.of("poll"), bool)
    time.sleep(usage_drain.QUIET + 1)
    polls = events.of("poll")
    assert len(polls) <= 3
    time.sleep(usage_drain.QUIET + usage_drain.ALARM_AFTER)
    assert events.of("poll") == polls
