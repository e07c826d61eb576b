"""Observability and the response cache at the edge: logs, traces, callbacks and cache hits belong to the right key."""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.edge.conftest import Edge, StartEdge
from tests.edge.money import Money
from tests.engine.receiver import Receiver
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for
from tests.processes import free_tcp_port
from tests.redis_server import RedisServer
from tests.tracing.collector import CLIENT, SERVER, Collector
from tests.tracing.conftest import PARENT

CANARY = "the-canary-sings"
OVER_THE_LIMIT = "x" * (70 * 1024)


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), free_tcp_port()) as server:
        yield server


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as one:
        yield one


@pytest.fixture(scope="module")
def money(start_module_edge: StartEdge, provider: FakeProvider, redis: RedisServer, collector: Collector) -> Money:
    config = {
        "model_list": [deployment(provider, "gpt")],
        "litellm_settings": {"cache": True, "max_budget": 100},
        "general_settings": {"request_logging": True},
    }
    variables = {
        "REDIS_URL": redis.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "LITELLM_LOG_LEVEL": "INFO",
    }
    return Money(start_module_edge(config=config, vars=variables))


def kept(money: Money, key: str | None, content: str) -> httpx.Response:
    """Repeats a request until its response is served from the cache, which is written a moment later."""
    return wait_for(lambda: money.ask(key, content=content), lambda answer: answer.headers.get("x-cache") == "hit")


@pytest.mark.parametrize("size", ["inline", "parked"])
def test_the_cache_answers_only_the_key_that_asked_before(money: Money, provider: FakeProvider, size: str):
    content = f"cached, {size} {OVER_THE_LIMIT if size == 'parked' else ''}"
    one, other = money.key(), money.key()
    first = money.ask(one, content=content)
    assert (first.status_code, first.headers["x-cache"]) == (200, "miss")
    hit = kept(money, one, content)
    assert hit.content == first.content
    assert hit.headers["x-litellm-response-cost"] == "0"
    asked = len(provider.requests)
    assert money.ask(one, content=content).headers["x-cache"] == "hit"
    assert len(provider.requests) == asked
    assert money.ask(other, content=content).headers["x-cache"] == "miss"
    assert money.ask(None, content=content).headers["x-cache"] == "miss"
    kept(money, None, content)
    money.admin("/key/block", {"key": one})
    assert money.ask(one, content=content).status_code == 401


def test_a_cache_hit_costs_nothing_and_is_in_the_spend_log(money: Money):
    key = money.key(max_budget=1)
    money.ask(key, content="cheap")
    (paid,) = money.settled(key)
    kept(money, key, "cheap")
    free = wait_for(lambda: money.logs(key), lambda lines: len(lines) >= 2)[0]
    assert paid["spend"] > 0
    assert (free["spend"], free["status"]) == (0.0, 200)
    assert money.info(key)["spend"] == pytest.approx(paid["spend"])


def lines_of(edge: Edge, request_id: str) -> list[dict[str, Any]]:
    """What the Worker, its objects and the container have logged about a request."""
    found = (line.partition(" | ")[2] for line in list(edge.lines) if request_id in line)
    return [json.loads(text) for text in found if text.startswith("{")]


def logged(edge: Edge, request_id: str, event: str = "request") -> dict[str, Any]:
    """The line about the event, from the request log unless another is asked for. Fails if there are several."""

    def find() -> list[dict[str, Any]]:
        return [line for line in lines_of(edge, request_id) if line["event"] == event]

    (line,) = wait_for(find, bool)
    return line


@pytest.mark.parametrize("named", [None, "a-client-s-name-0001"])
@pytest.mark.parametrize("size", ["inline", "parked"])
def test_header_logs_trace_and_spend_log_have_the_same_id(
    money: Money, collector: Collector, size: str, named: str | None
):
    key = money.key(key_alias=f"traced-{size}-{named}")
    named = named and f"{named}-{size}"
    headers = {"authorization": f"Bearer {key}"} | ({"x-request-id": named} if named else {})
    content = f"one id for all {named} {OVER_THE_LIMIT if size == 'parked' else ''}"
    answer = money.http.post("/v1/chat/completions", json=chat(content=content), headers=headers)
    id = answer.headers["x-request-id"]
    assert id == named or (named is None and len(id) == 32)
    assert answer.headers["x-litellm-call-id"] == id
    line = logged(money.edge, id, "request_finished")
    (row,) = wait_for(lambda: money.admin("/spend/logs", request_id=id)["data"], bool)
    assert line["source"] == "proxy"
    assert (line["key_alias"], line["status"]) == (row["key_alias"], 200)
    assert line["cost"] == pytest.approx(row["spend"])
    assert (row["request_id"], row["status"]) == (id, 200)
    assert logged(money.edge, id)["key"] == line["key"]
    name = "litellm_router.request_id"
    assert wait_for(lambda: [s for s in collector.all() if s.attributes.get(name) == id], bool)


@pytest.mark.parametrize("size", ["inline", "parked"])
def test_a_refusal_at_the_edge_has_a_line_that_says_budget(money: Money, size: str):
    key = money.key(key_alias=f"poor-{size}", max_budget=0.0000001)
    answer = money.ask(key, content=OVER_THE_LIMIT if size == "parked" else "short")
    assert answer.status_code == 429
    line = logged(money.edge, answer.headers["x-request-id"], "request_finished")
    assert (line["source"], line["status"], line["key_alias"], line["model"]) == ("edge", 429, f"poor-{size}", "gpt")
    assert "budget" in line["error"]


def test_a_wrong_key_and_a_refused_upload_have_a_line(money: Money):
    headers = {"authorization": "Bearer sk-nobodys-key"}
    wrong = money.http.post("/v1/chat/completions", json=chat(), headers=headers)
    line = logged(money.edge, wrong.headers["x-request-id"], "request_finished")
    assert (line["source"], line["status"], line["error"]) == ("edge", 401, "invalid_api_key")
    refused = money.ask(money.key(), model="nonesuch", content=OVER_THE_LIMIT)
    line = logged(money.edge, refused.headers["x-request-id"], "request_finished")
    assert (line["source"], line["status"], line["error"]) == ("proxy", 404, "model_not_found")
    health = money.http.get("/health")
    assert not lines_of(money.edge, health.headers["x-request-id"])


def test_the_request_log_names_the_key_and_includes_uploads(money: Money):
    key = money.key()
    hashed = hashlib.sha256(key.encode()).hexdigest()
    for who, owner in ((key, hashed), (None, "master")):
        for content in (CANARY, CANARY + OVER_THE_LIMIT):
            answer = money.ask(who, content=content)
            line = logged(money.edge, answer.headers["x-request-id"])
            assert (line["key"], line["status"], line["model"]) == (owner, 200, "gpt")
            assert line["response"]["usage"] == answer.json()["usage"]
            if len(content) < 1000:
                assert line["request"]["messages"][0]["content"] == f"[{len(content)} characters]"
            else:
                assert line["request"] == f"[{len(answer.request.content)} bytes]"  # longer than what the log keeps
    assert key not in money.edge.log()
    assert CANARY not in money.edge.log()


@pytest.mark.parametrize("size", ["inline", "parked"])
def test_a_clients_trace_continues_in_the_container(money: Money, collector: Collector, size: str):
    key = money.key()
    trace = hashlib.md5(size.encode()).hexdigest()
    content = f"traced {CANARY} {OVER_THE_LIMIT if size == 'parked' else ''}"
    answer = money.http.post(
        "/v1/chat/completions",
        json=chat(content=content),
        headers={"authorization": f"Bearer {key}", "traceparent": PARENT.replace(PARENT.split("-")[1], trace)},
    )
    assert answer.status_code == 200
    spans = wait_for(lambda: [s for s in collector.all() if s.trace == trace], lambda found: len(found) == 2)
    (root,) = (s for s in spans if s.kind == SERVER)
    (attempt,) = (s for s in spans if s.kind == CLIENT)
    assert (root.parent, attempt.parent) == (PARENT.split("-")[2], root.id)
    assert root.name == "POST /v1/chat/completions"
    assert root.attributes["litellm_router.request_id"] == answer.headers["x-request-id"]
    assert root.attributes["litellm_router.key"] == hashlib.sha256(key.encode()).hexdigest()
    for body in collector.bodies:
        assert CANARY.encode() not in body
        assert key.encode() not in body


def test_a_client_cannot_claim_another_keys_identity(money: Money):
    grant = json.dumps({"reservation": "x", "owner": "master"})
    key = money.key()
    answer = money.http.post(
        "/v1/chat/completions",
        json=chat(content="posing"),
        headers={"authorization": f"Bearer {key}", "x-internal-grant": grant},
    )
    line = logged(money.edge, answer.headers["x-request-id"])
    assert line["key"] == hashlib.sha256(key.encode()).hexdigest()


def test_neither_side_logs_below_the_log_level(start_edge: StartEdge, provider: FakeProvider):
    off = deployment(provider, "off")
    off["litellm_params"]["api_key"] = "os.environ/NOT_SET_ANYWHERE"
    # Each side logs one warning: the edge an invalid duration, the container a disabled model.
    edge = start_edge(
        config={"model_list": [deployment(provider, "gpt"), off]},
        vars={"LITELLM_LOG_LEVEL": "warning", "CONTAINER_SLEEP_AFTER": "a while"},
    )
    assert Money(edge).ask().status_code == 200
    said = [line.partition(" | ") for line in edge.lines]
    levels = {(part, json.loads(text)["level"]) for part, _, text in said if text[:1] == "{"}
    assert levels == {("worker", "warning"), ("proxy", "warning")}


def test_both_sides_log_in_the_configs_format(start_edge: StartEdge, provider: FakeProvider):
    config = {"model_list": [deployment(provider, "gpt")], "general_settings": {"log_format": "text"}}
    edge = start_edge(config=config)
    assert Money(edge).ask().status_code == 200
    assert Money(edge).ask("sk-nobodys-key").status_code == 401
    for source, status in (("proxy", 200), ("edge", 401)):
        line = wait_for(lambda s=source: [x for x in edge.lines if f"INFO {s} request_finished" in x], bool)[0]
        assert f" status={status} " in line
        assert " endpoint=chat_completions " in line


@pytest.mark.timeout(240)
def test_a_callback_gets_its_variables_and_is_called(start_edge: StartEdge, provider: FakeProvider):
    with Receiver() as receiver:
        edge = start_edge(
            config={
                "model_list": [deployment(provider, "gpt")],
                "litellm_settings": {"success_callback": ["generic_api"]},
            },
            vars={"GENERIC_LOGGER_ENDPOINT": receiver.url},
        )
        edge.client.timeout = 200  # the engine starts
        end = time.monotonic() + 180
        while (answer := Money(edge).ask(content="called back at the edge")).status_code in (502, 503):
            assert time.monotonic() < end, answer.text
        assert answer.status_code == 200, answer.text
        assert receiver.wait_for("called back at the edge", "success")["total_tokens"] > 0
