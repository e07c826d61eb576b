"""Cost, charging and refusal of requests, tested through a proxy process."""

import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.accounting.conftest import Ledgered, Start
from tests.fakes.behaviour import OK, Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, chat, deployment, wait_for
from tests.processes import MASTER_KEY, RunningProxy

USED = Behaviour(usage=(100, 50))
MASTER = {"authorization": f"Bearer {MASTER_KEY}"}
COST = 100 * IN + 50 * OUT


def test_a_plain_answer_is_charged(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    fake.always(USED)
    answer = gateway.ask()
    assert answer.status_code == 200
    assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(COST)
    assert gateway.spend()["spend"] == pytest.approx(COST)
    [line] = gateway.logs()
    assert (line["prompt_tokens"], line["completion_tokens"], line["status"]) == (100, 50, 200)
    assert line["estimated"] is False


def test_a_streamed_answer_is_charged_before_it_ends(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    fake.always(USED)
    key = gateway.key(max_budget=1)
    answer = gateway.ask(key, stream=True)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "x-litellm-response-cost" not in answer.headers
    assert gateway.info(key)["spend"] == pytest.approx(COST)
    assert gateway.spend()["running_requests"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_usage_is_estimated_and_marked(start: Start, fake: FakeProvider, stream: bool) -> None:
    gateway = start()
    fake.always(Behaviour(usage_in="never", text="one two three four five " * 20))
    assert gateway.ask(stream=stream).status_code == 200
    [line] = gateway.logs()
    if stream:
        assert line["estimated"] is True
        assert 100 <= line["completion_tokens"] <= 300
    assert line["spend"] > 0


def test_a_client_that_disconnects_pays_for_what_it_received(start: Start, fake: FakeProvider) -> None:
    gateway = start(environment={"BUDGET_PATIENCE": "0"})
    fake.always(Behaviour(text="word " * 200, chunks=200, pace=0.05))
    key = gateway.key(max_budget=1, max_parallel_requests=1)
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        lines = answer.iter_lines()
        for _ in range(12):
            next(lines)
        assert gateway.ask(key).status_code == 429
    gateway.settled(2)
    [line] = gateway.logs()
    assert (line["status"], line["estimated"]) == (499, True)
    assert 0 < line["spend"] < line["reserved"]
    fake.always(OK)
    assert gateway.ask(key).status_code == 200


@pytest.mark.parametrize("fault", [Fault.RESET_MID_STREAM, Fault.ERROR_MID_STREAM])
def test_a_broken_stream_is_charged_for_the_chunks_that_arrived(start: Start, fake: FakeProvider, fault: Fault) -> None:
    gateway = start(max_budget=1)
    fake.always(Behaviour(fault, after=5))
    assert '"error"' in gateway.ask(stream=True).text
    gateway.settled()
    [line] = gateway.logs()
    assert (line["status"], line["estimated"]) == (502, True)
    assert 0 < line["spend"] < line["reserved"]


def test_a_failure_costs_nothing(start: Start, fake: FakeProvider) -> None:
    gateway = start(max_budget=1)
    fake.always(failing(500))
    assert gateway.ask().status_code == 500
    [line] = gateway.logs()
    assert (line["spend"], line["status"]) == (0, 500)
    assert gateway.spend()["reserved"] == 0


def test_after_a_fallback_the_deployment_that_answered_is_charged(
    start: Start, fake: FakeProvider, second_fake
) -> None:
    dear = deployment(second_fake, "dear", input_cost_per_token=5 * IN, output_cost_per_token=5 * OUT)
    gateway = start(models=[deployment(fake, "gpt"), dear], more={"fallbacks": [{"gpt": ["dear"]}]}, max_budget=1)
    fake.always(failing(503))
    second_fake.always(USED)
    answer = gateway.ask()
    assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(5 * COST)
    [line] = gateway.logs()
    assert (line["model"], line["answered_by"]) == ("gpt", "dear")
    assert line["spend"] == pytest.approx(5 * COST)
    assert line["spend"] <= line["reserved"]


def test_embeddings_reserve_and_cost_input_only(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "e", "text-embedding-3-small", output_cost_per_token=0)], max_budget=1)
    assert gateway.ask(path="/v1/embeddings", model="e", input="Hello there").status_code == 200
    [line] = gateway.logs()
    assert 0 < line["spend"] <= line["reserved"] < 100 * IN
    assert line["completion_tokens"] == 0


def test_a_budget_adds_an_output_limit_to_the_upstream_request(start: Start, fake: FakeProvider) -> None:
    gateway = start(environment={"DEFAULT_MAX_OUTPUT": "77"})
    assert gateway.ask().status_code == 200
    assert "max_tokens" not in fake.last.body
    key = gateway.key(max_budget=1)
    assert gateway.ask(key).status_code == 200
    assert fake.last.body["max_tokens"] == 77
    assert gateway.ask(key, max_completion_tokens=5).status_code == 200
    sent = [fake.last.body.get(name) for name in ("max_tokens", "max_completion_tokens")]
    assert sorted(sent, key=str) == [5, None]


def test_the_global_budget_applies_to_the_master_key(start: Start, fake: FakeProvider) -> None:
    gateway = start(max_budget=0.00055, budget_duration="30d")
    fake.always(USED)
    statuses = [gateway.ask(max_tokens=100).status_code for _ in range(5)]
    assert statuses == [200, 200, 429, 429, 429]
    refused = gateway.ask(max_tokens=100)
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) > 0


def test_a_revoked_key_is_refused_on_the_next_request(start: Start) -> None:
    gateway = start()
    key = gateway.key()
    assert gateway.ask(key).status_code == 200
    gateway.admin("/key/block", {"key": key})
    assert gateway.ask(key).status_code == 401
    gateway.admin("/key/unblock", {"key": key})
    assert gateway.ask(key).status_code == 200
    gateway.admin("/key/delete", {"keys": [key]})
    refused = gateway.ask(key)
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"


def test_a_cached_key_is_checked_again(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "gpt"), deployment(fake, "other"), deployment(fake, "third")])
    key = gateway.key()
    assert gateway.ask(key, fallbacks=["other"]).status_code == 200
    gateway.admin("/key/update", {"key": key, "models": ["gpt", "third"]})
    refused = gateway.ask(key, fallbacks=["other"])
    assert refused.status_code == 403
    assert "'other'" in refused.json()["error"]["message"]
    assert gateway.settled()["reserved"] == 0
    assert gateway.ask(key, fallbacks=["third"]).status_code == 200
    gateway.admin("/key/block", {"key": key})
    assert gateway.ask(key, model="nonesuch").status_code == 401


@pytest.mark.parametrize("models", [["other"], ["gpt", "other"], ["o*"], []])
def test_a_model_added_to_a_key_is_served_at_once(start: Start, fake: FakeProvider, models: list[str]) -> None:
    gateway = start(models=[deployment(fake, "gpt"), deployment(fake, "other")])
    key = gateway.key(models=["gpt"])
    assert gateway.ask(key).status_code == 200
    assert gateway.ask(key, model="other").status_code == 403
    gateway.admin("/key/update", {"key": key, "models": models})
    answer = gateway.ask(key, model="other", content="once more")
    assert answer.status_code == 200, answer.text
    assert fake.last.body["messages"][0]["content"] == "once more"
    assert gateway.ask(key, model="nonesuch").status_code == (404 if models == [] else 403)


def test_a_limit_added_to_a_key_applies_to_its_next_request(start: Start, fake: FakeProvider) -> None:
    gateway = start(environment={"DEFAULT_MAX_OUTPUT": "77"})
    fake.always(USED)
    key = gateway.key()
    assert gateway.ask(key).status_code == 200
    assert "max_tokens" not in fake.last.body
    assert gateway.logs()[0]["reserved"] == 0
    gateway.admin("/key/update", {"key": key, "max_budget": 1})
    assert gateway.ask(key).status_code == 200
    assert fake.last.body["max_tokens"] == 77
    assert gateway.logs()[0]["reserved"] >= 77 * OUT
    gateway.admin("/key/update", {"key": key, "max_budget": 0.0001})
    assert gateway.ask(key).status_code == 429


def test_without_an_output_limit_an_abandoned_request_costs_its_maximum(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    fake.always(Behaviour(delay=30))
    with pytest.raises(httpx.ReadTimeout):
        gateway.http.post("/v1/chat/completions", json=chat(max_tokens=100), headers=MASTER, timeout=0.5)
    gateway.settled()
    [line] = gateway.logs()
    assert (line["reserved"], line["estimated"]) == (0, True)
    assert line["spend"] >= 100 * OUT


def test_an_unknown_key_gets_no_details(start: Start) -> None:
    gateway = start()
    assert gateway.ask("sk-unknown", model="nonesuch").status_code == 401
    assert gateway.http.get("/v1/models", headers={"x-api-key": "sk-unknown"}).status_code == 401


def test_rate_limits_are_in_the_headers(start: Start) -> None:
    gateway = start()
    key = gateway.key(rpm_limit=2)
    first, second, third = (gateway.ask(key) for _ in range(3))
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert third.status_code == 429
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert 0 < int(third.headers["retry-after"]) <= 60


def test_a_key_lists_and_uses_only_its_models(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "gpt"), deployment(fake, "other")])
    key = gateway.key(models=["gpt"])
    listed = gateway.http.get("/v1/models", headers={"x-api-key": key}).json()
    assert [m["id"] for m in listed["data"]] == ["gpt"]
    assert gateway.http.get("/v1/models/other", headers={"x-api-key": key}).status_code == 404
    assert gateway.ask(key).status_code == 200
    assert gateway.ask(key, model="other").status_code == 403
    assert gateway.ask(key, model="nonesuch").status_code == 403
    assert gateway.ask(key, fallbacks=["other"]).status_code == 403


def test_an_unpriced_model_is_refused_only_under_a_budget(start: Start, fake: FakeProvider) -> None:
    unpriced = {**deployment(fake, "mystery", "no-such-model"), "model_info": {}}
    gateway = start(models=[unpriced])
    assert gateway.ask(model="mystery").status_code == 200
    refused = gateway.ask(gateway.key(max_budget=1), model="mystery")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "price_unknown")
    assert "input_cost_per_token" in refused.json()["error"]["message"]


def test_startup_warns_of_unpriced_models_under_a_budget(start: Start, fake: FakeProvider) -> None:
    unpriced = {**deployment(fake, "mystery", "no-such-model"), "model_info": {}}
    gateway = start(models=[unpriced], max_budget=1)
    assert gateway.ask(model="mystery").status_code == 400
    assert re.search(r'"event":"models_unpriced","models":\["mystery"\]', gateway.proxy.log())


def test_the_ledger_balances_after_kill_minus_nine(start: Start, fake: FakeProvider, tmp_path) -> None:
    place = {"LEDGER_PATH": str(tmp_path / "own" / "ledger.db")}
    killed = RunningProxy({"model_list": [deployment(fake, "gpt")]}, tmp_path, environment=place)
    killed.__enter__()  # exits on its own before the context is left
    gateway = Ledgered(killed)
    key = gateway.key(max_budget=1)
    fake.always(USED)
    assert gateway.ask(key).status_code == 200
    fake.always(Behaviour(text="word " * 200, chunks=200, pace=0.05))
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        lines_so_far = answer.iter_lines()  # keep a reference: the connection is closed when the response is collected
        next(lines_so_far)
        killed.kill()
    again = start(environment=place)
    # The cost of the running request is unknown, so its whole reservation is spent.
    found = again.settled()
    lines = again.logs()
    assert len(lines) == 2
    assert found["reserved"] == 0
    assert found["spend"] == pytest.approx(sum(line["spend"] for line in lines))
    assert again.info(key)["spend"] == pytest.approx(found["spend"])
    abandoned = next(line for line in lines if line["spend"] != pytest.approx(COST))
    assert abandoned["spend"] == pytest.approx(abandoned["reserved"])


def test_an_unavailable_ledger_refuses_requests_and_recovers(start: Start, fake: FakeProvider, tmp_path) -> None:
    database = tmp_path / "ledger.db"
    gateway = start(max_budget=1, environment={"LEDGER_PATH": str(database)})
    assert gateway.ask().status_code == 200
    # Another process locks the file: writes fail, as on a read-only disk.
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = len(fake.requests)
    refused = gateway.ask()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"]["code"] == "service_unavailable"
    assert len(fake.requests) == before
    other.execute("ROLLBACK")
    other.close()
    assert gateway.ask().status_code == 200
    assert wait_for(gateway.spend, lambda found: found["reserved"] == 0)


def test_reports_that_the_ledger_cannot_store_are_stored_later(start: Start, fake: FakeProvider, tmp_path) -> None:
    database = tmp_path / "ledger.db"
    gateway = start(environment={"LEDGER_PATH": str(database)})
    fake.always(Behaviour(delay=0.5, usage=(100, 50)))
    other = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(gateway.ask)
        fake.wait_for(lambda: fake.requests)
        other.execute("BEGIN IMMEDIATE")
        # The response does not wait for the ledger.
        assert running.result(5).status_code == 200
    other.execute("ROLLBACK")
    other.close()
    assert gateway.settled()["spend"] == pytest.approx(COST)
