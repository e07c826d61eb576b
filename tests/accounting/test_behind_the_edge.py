"""A container behind the edge serves reserved requests and reports their usage in its journal."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import response_events
from tests.accounting.edge import TOKEN, Behind, behind
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for
from tests.processes import StartProxy

USAGE = Behaviour(usage=(10, 5))


@pytest.fixture
def config(fake: FakeProvider, second_fake: FakeProvider) -> dict[str, Any]:
    return {
        "model_list": [
            deployment(fake, "gpt"),
            deployment(second_fake, "spare", input_cost_per_token=0.00001),
            deployment(fake, "embed"),
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"gpt": ["spare"]}]},
        "litellm_settings": {"max_budget": 10},  # done by the edge
    }


@pytest.fixture
def edge(proxy: StartProxy, config: dict[str, Any]) -> Iterator[Behind]:
    playing = behind(proxy, config)
    yield playing
    playing.finish()


def test_a_plain_answer_is_in_the_journal_when_it_arrives(edge: Behind, fake: FakeProvider) -> None:
    fake.always(USAGE)
    answer = edge.post(grant={"reservation": "one", "headers": [["x-ratelimit-limit-requests", "7"]]})
    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit-requests"] == "7"
    assert answer.headers["x-litellm-response-cost"] == "0.000020000"
    report = edge.report()
    assert (report.id, report.instance, report.cost) == ("one", edge.instance, 20_000)
    assert (report.prompt_tokens, report.completion_tokens, report.status, report.estimated) == (10, 5, 200, 0)
    assert (report.answered_by, report.latency >= 0) == ("gpt", True)


def test_a_stream_is_in_the_journal_before_its_last_byte(edge: Behind, fake: FakeProvider) -> None:
    fake.always(USAGE)
    with edge.http.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=edge.granted()) as answer:
        assert b"[DONE]" in answer.read()
        assert "x-litellm-response-cost" not in answer.headers
    assert edge.poll()["entries"][0][1][2] == 20_000


def test_cached_and_reasoning_tokens(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=(10, 5), usage_details=(4, 3)))
    edge.post()
    report = edge.report()
    assert (report.cached_tokens, report.reasoning_tokens) == (4, 3)


def test_usage_missing_from_the_provider_is_estimated(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage_in="never", text="one two three"))
    with edge.http.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=edge.granted()) as answer:
        answer.read()
    report = edge.report()
    assert report.estimated == 1
    assert report.prompt_tokens > 8
    assert report.completion_tokens >= 3


def test_after_a_fallback_the_deployment_that_answered_is_charged(
    edge: Behind, fake: FakeProvider, second_fake
) -> None:
    fake.always(failing(500))
    second_fake.always(USAGE)
    assert edge.post().status_code == 200
    report = edge.report()
    assert (report.answered_by, report.cost) == ("spare", 110_000)


def test_a_request_that_fails_everywhere_costs_nothing(
    edge: Behind, fake: FakeProvider, second_fake: FakeProvider
) -> None:
    fake.always(failing(500))
    second_fake.always(failing(503))
    assert edge.post().status_code == 503
    report = edge.report()
    assert (report.cost, report.status) == (0, 503)


@pytest.mark.parametrize(
    ("body", "status"), [({"model": "gpt"}, 400), ({"model": "nobody", "messages": [{"role": "user"}]}, 404)]
)
def test_a_request_refused_by_the_container_costs_nothing(edge: Behind, body: dict[str, Any], status: int) -> None:
    assert edge.post(json=body, grant={"reservation": "bad"}).status_code == status
    report = edge.report()
    assert (report.id, report.cost, report.status, report.deployment) == ("bad", 0, status, "")


def test_a_client_disconnect_is_reported(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(pace=0.05, chunks=1000))
    with edge.http.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=edge.granted()) as answer:
        next(answer.iter_lines())
    report = edge.report()
    assert (report.status, report.estimated) == (499, 1)
    assert report.cost > 0


def test_a_stream_broken_by_the_provider_is_charged_for_what_arrived(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(fault=Fault.RESET_MID_STREAM, after=2))
    with edge.http.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=edge.granted()) as answer:
        assert b'"error"' in answer.read()
    report = edge.report()
    assert (report.status, report.estimated) == (502, 1)


def test_embeddings(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage=(7, 0)))
    assert edge.post("/v1/embeddings", json={"model": "embed", "input": "Hi"}).status_code == 200
    assert edge.report().cost == 7_000


def test_the_output_limit_of_the_grant_is_sent_upstream(edge: Behind, fake: FakeProvider) -> None:
    edge.post(grant={"output_limit": 99, "limited": True})
    assert fake.last.body["max_tokens"] == 99
    edge.post(json=chat(max_tokens=5), grant={"output_limit": None, "limited": True})
    assert fake.last.body["max_tokens"] == 5


def test_an_estimate_never_exceeds_the_reservation(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(usage_in="never", text="word " * 500))
    with edge.http.stream(
        "POST", "/v1/chat/completions", json=chat(stream=True), headers=edge.granted(amount=11, limited=True)
    ) as answer:
        answer.read()
    assert edge.report().cost == 11


def test_the_models_of_the_key_are_listed(edge: Behind) -> None:
    assert edge.post(grant={"models": ["spare"]}).status_code == 403
    assert edge.post(json=chat(fallbacks=["spare"]), grant={"models": ["gpt"]}).status_code == 403
    assert edge.post(grant={"models": ["gp*"]}).status_code == 200
    listed = edge.http.get("/v1/models", headers={"x-internal-grant": '{"models": ["spare"]}'}).json()["data"]
    assert [model["id"] for model in listed] == ["spare"]
    assert len(edge.http.get("/v1/models").json()["data"]) == 3


@pytest.mark.parametrize("header", [None, "", "{", "[]", '{"reservation": 7}', '{"models": null}', '{"headers": 1}'])
def test_a_request_without_a_reservation_is_refused(edge: Behind, fake: FakeProvider, header: str | None) -> None:
    headers = {} if header is None else {"x-internal-grant": header}
    answer = edge.http.post("/v1/chat/completions", json=chat(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "version_mismatch")
    assert not fake.requests
    assert edge.poll()["waiting"] == 0


def test_a_reservation_serves_once(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(delay=3600))
    with httpx.Client(base_url=edge.proxy.url, headers=edge.http.headers, timeout=60) as other:
        first = threading.Thread(target=lambda: _ignoring(other, edge.granted(reservation="twice")))
        first.start()
        wait_for(edge.poll, lambda page: page["open"] == 1)
        assert edge.post(grant={"reservation": "twice"}).status_code == 500
        assert edge.poll()["open"] == 1
    first.join(10)


def _ignoring(client: httpx.Client, headers: dict[str, str]) -> None:
    with pytest.raises(httpx.HTTPError):
        client.post("/v1/chat/completions", json=chat(), headers=headers, timeout=1)


def test_another_catalog_hash_is_a_503_that_costs_nothing(edge: Behind) -> None:
    answer = edge.post(headers={"x-internal-catalog": "0123456789abcdef"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "30"
    assert f"catalog 0123456789abcdef there, {edge.hash} here" in answer.json()["error"]["message"]
    assert edge.report().cost == 0
    assert edge.park(headers={"x-internal-catalog": "0123456789abcdef"}).status_code == 503


def test_journal_entries_stay_until_acknowledged(edge: Behind) -> None:
    for number in range(3):
        edge.post(grant={"reservation": f"n{number}"})
    page = edge.poll()
    assert [entry[0] for entry in page["entries"]] == [1, 2, 3]
    assert [entry[1][0] for entry in edge.poll()["entries"]] == ["n0", "n1", "n2"]
    page = edge.poll(ack=2)
    assert ([entry[0] for entry in page["entries"]], page["waiting"]) == ([3], 1)
    assert edge.poll(ack=2)["entries"] == page["entries"]
    assert edge.poll(ack=3)["entries"] == []


def test_a_poll_waits_for_an_entry(edge: Behind, fake: FakeProvider) -> None:
    assert edge.poll(wait=0.1) == {"entries": [], "open": 0, "renew": [], "waiting": 0}
    pages: list[dict[str, Any]] = []
    with Polling(edge, pages) as polling:
        edge.post(grant={"reservation": "awaited"})
        polling.join(10)
    assert [entry[1][0] for entry in pages[0]["entries"]] == ["awaited"]


def test_a_second_poll_ends_the_first(edge: Behind) -> None:
    pages: list[dict[str, Any]] = []
    with Polling(edge, pages) as polling:
        wait_for(lambda: edge.poll(wait=0.05) and not polling.is_alive(), bool)
    assert pages[0]["entries"] == []


class Polling(threading.Thread):
    """A 30-second poll by another client."""

    def __init__(self, edge: Behind, pages: list[dict[str, Any]]) -> None:
        super().__init__()
        self._client = httpx.Client(base_url=edge.proxy.url, headers=edge.http.headers, timeout=60)
        self._pages = pages

    def run(self) -> None:
        self._pages.append(self._client.post("/internal/journal", json={"ack": 0, "wait": 30}).json())

    def __enter__(self) -> "Polling":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join(40)
        self._client.close()


def test_a_request_cancelled_before_it_arrives_costs_nothing_and_is_refused(edge: Behind) -> None:
    page = edge.poll(doubtful=("lost",))
    ((number, fields),) = page["entries"]
    assert (fields[0], fields[2], fields[5]) == ("lost", 0, 499)
    edge.poll(ack=number)
    assert edge.post(grant={"reservation": "lost"}).status_code == 500
    assert edge.poll(doubtful=("lost",), ack=number)["entries"] == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"ack": "x", "wait": 1}', b"\xff"])
def test_an_invalid_poll_is_refused(edge: Behind, body: bytes) -> None:
    assert edge.http.post("/internal/journal", content=body).status_code == 400


def test_internal_endpoints_require_the_edge_token(edge: Behind, proxy: StartProxy, config: dict[str, Any]) -> None:
    for method, path in (
        ("POST", "/internal/journal"),
        ("POST", "/internal/park/v1/embeddings"),
        ("POST", "/internal/go/1"),
    ):
        assert httpx.request(method, edge.proxy.url + path).status_code == 401
        assert edge.http.request("PUT", path).status_code in (404, 405)
    assert edge.http.post("/internal/other").status_code == 404
    alone = proxy({**config, "litellm_settings": {}})
    headers = {"x-internal-token": TOKEN, "authorization": f"Bearer {alone.master_key}"}
    assert httpx.post(alone.url + "/internal/journal", headers=headers, json={"ack": 0, "wait": 0}).status_code == 404


def test_shutdown_waits_until_the_edge_has_fetched_all_reports(edge: Behind, fake: FakeProvider) -> None:
    fake.always(Behaviour(pace=0.02, chunks=50, usage=(10, 5)))
    with edge.http.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=edge.granted()) as answer:
        lines = answer.iter_lines()
        next(lines)
        edge.proxy.terminate()
        other = httpx.Client(base_url=edge.proxy.url, headers=edge.http.headers, timeout=60)
        refused = wait_for(lambda: other.post("/v1/embeddings", headers=edge.granted()), lambda a: a.status_code == 503)
        assert refused.headers["x-internal-no-instance"] == "ending"
        assert "data: [DONE]" in list(lines)
    page = other.post("/internal/journal", json={"ack": 0, "wait": 5}).json()
    # Requests refused after the signal are not in the journal. Those refused earlier for their body may be.
    assert [fields[2] for _, fields in page["entries"] if fields[5] == 200] == [20_000]
    last = page["entries"][-1][0]
    assert other.post("/internal/journal", json={"ack": last, "wait": 5}).status_code == 200
    assert edge.proxy.wait() == 0
    other.close()


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_reported_like_chat(edge: Behind, fake: FakeProvider, stream: bool) -> None:
    fake.always(Behaviour(usage=(10, 5), usage_details=(4, 3)))
    answer = edge.post("/v1/responses", json={"model": "gpt", "input": "Hi", "stream": stream})
    assert answer.status_code == 200
    if stream:
        assert response_events.ended(answer.content)["usage"]["output_tokens"] == 5
    report = edge.report()
    assert (report.prompt_tokens, report.completion_tokens, report.status, report.estimated) == (10, 5, 200, 0)
    assert (report.cached_tokens, report.reasoning_tokens, report.cost) == (4, 3, 20_000)


def test_a_dropped_upload_is_gone_and_its_connection_is_not_used_again(edge: Behind) -> None:
    """workerd may close the connection while it sends the next request on it."""
    id = edge.park().json()["id"]
    dropped = edge.http.delete(f"/internal/park/{id}")
    assert (dropped.status_code, dropped.headers["connection"]) == (204, "close")
    assert edge.go(id, reservation="one").status_code == 503


def test_large_responses_request_is_parked_and_served(edge: Behind, fake: FakeProvider) -> None:
    fake.always(USAGE)
    parked = edge.park("/v1/responses", json={"model": "gpt", "input": "x" * 100_000, "max_output_tokens": 100})
    quoted = parked.json()
    assert quoted["tokens"] > 100
    answer = edge.go(quoted["id"])
    assert answer.json()["output"][0]["content"][0]["text"]
    assert fake.last.body["max_output_tokens"] == 100
    assert edge.report().cost == 20_000
