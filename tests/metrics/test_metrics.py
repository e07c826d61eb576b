"""`/metrics` of a proxy after successes, failovers and refusals."""

import os
import signal
import time

import httpx
import pytest

from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.metrics.conftest import MASTER, Scraped, Watched
from tests.money import IN, OUT
from tests.processes import MASTER_KEY, StartProxy

REQUESTS = "litellm_router_requests_total"
DURATIONS = "litellm_router_request_duration_seconds"


def test_names_units_and_types_follow_prometheus_conventions(watched: Watched):
    """The rules of `promtool check metrics`."""
    watched.chat()
    for family in watched.scrape().families.values():
        name = family.name + ("_total" if family.type == "counter" else "")
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert not any(unit in name for unit in ("milliseconds", "_ms", "megabytes", "minutes"))
        assert not (family.type != "counter" and name.endswith("_total"))
        assert not name.endswith(("_count", "_sum", "_bucket"))
        for sample in family.samples:
            assert "le" not in sample.labels or sample.name.endswith("_bucket")
            assert sample.value >= 0


def test_an_answer_is_counted_with_its_duration_tokens_and_cost(watched: Watched):
    used = watched.chat().json()["usage"]
    assert watched.chat().status_code == 200
    found = watched.scrape()
    labels = ("endpoint=chat_completions", "model=gpt", "status=2xx")
    assert found[REQUESTS, *labels] == found[f"{DURATIONS}_count", *labels] == 2
    assert 0 < found[f"{DURATIONS}_sum", *labels] < 60
    assert found["litellm_router_prompt_tokens_total", "model=gpt"] == 2 * used["prompt_tokens"]
    assert found["litellm_router_completion_tokens_total", "model=gpt"] == 2 * used["completion_tokens"]
    cost = 2 * (used["prompt_tokens"] * IN + used["completion_tokens"] * OUT)
    assert found["litellm_router_spend_usd_total", "model=gpt"] == pytest.approx(cost)
    assert found["litellm_router_attempts_total", "model=gpt", "outcome=ok"] == 2
    assert found["litellm_router_ledger_batch_duration_seconds_count"] > 0
    assert found["litellm_router_ledger_unavailable_total"] == 0


def test_a_stream_has_a_time_to_first_token(watched: Watched, fake: FakeProvider):
    fake.always(Behaviour(pace=0.1))
    assert "[DONE]" in watched.chat(stream=True).text
    found = watched.scrape()
    assert found["litellm_router_time_to_first_token_seconds_count", "model=gpt"] == 1
    first = found["litellm_router_time_to_first_token_seconds_sum"]
    assert 0 < first < found[f"{DURATIONS}_sum", "model=gpt"]
    assert found["litellm_router_completion_tokens_total", "model=gpt"] > 0


def test_cached_and_reasoning_tokens_are_counted(watched: Watched, fake: FakeProvider):
    fake.always(Behaviour(usage=(100, 50), usage_details=(60, 20)))
    watched.chat()
    found = watched.scrape()
    assert found["litellm_router_cached_prompt_tokens_total", "model=gpt"] == 60
    assert found["litellm_router_reasoning_tokens_total", "model=gpt"] == 20


def test_retries_fallbacks_and_cooldowns_are_counted(watched: Watched, fake: FakeProvider):
    fake.always(failing(500))
    assert watched.chat().status_code == 200
    found = watched.scrape()
    assert found["litellm_router_attempts_total", "model=gpt", "outcome=server"] == 2
    assert found["litellm_router_retries_total", "model=gpt"] == 1
    assert found["litellm_router_fallbacks_total", "model=gpt", "fallback=spare"] == 1
    assert found["litellm_router_cooldowns_total", "model=gpt"] == 1
    assert found["litellm_router_deployment_cooldown_seconds", "model=gpt"] > 0
    assert found["litellm_router_deployment_cooldown_seconds", "model=spare"] == 0
    # An answer by a fallback counts as a success of the requested model and as usage of the fallback.
    assert found[REQUESTS, "model=gpt", "status=2xx"] == 1
    assert found["litellm_router_completion_tokens_total", "model=spare"] > 0


def test_failures_and_refusals_have_a_class(watched: Watched, fake: FakeProvider, second_fake: FakeProvider):
    for one in (fake, second_fake):
        one.always(failing(500))
    watched.chat()
    watched.chat("no-such-model")
    watched.chat(key="sk-wrong")
    found = watched.scrape()
    assert found[REQUESTS, "model=gpt", "status=5xx"] == 1
    assert found[REQUESTS, "model=other", "status=4xx"] == 1
    assert found[REQUESTS, "endpoint=chat_completions", "model=", "status=4xx"] == 1


@pytest.mark.parametrize("fault", [Fault.RESET_MID_STREAM, Fault.ERROR_MID_STREAM])
def test_a_broken_stream_is_not_a_success(watched: Watched, fake: FakeProvider, fault: Fault):
    fake.always(Behaviour(fault))
    watched.chat(stream=True)
    found = watched.scrape()
    assert found[REQUESTS, "model=gpt", "status=5xx"] == 1
    assert found[REQUESTS, "model=gpt", "status=2xx"] == 0


def test_a_client_disconnect_is_counted(watched: Watched, fake: FakeProvider):
    fake.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    with pytest.raises(httpx.ReadTimeout):
        watched.http.post(
            "/v1/chat/completions",
            json={"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]},
            headers=MASTER,
            timeout=0.5,
        )
    seen = fake.last
    fake.wait_for(lambda: seen.disconnected_at)
    assert watched.scrape()[REQUESTS, "model=gpt", "status=client_left"] == 1


def test_requests_in_flight(watched: Watched, fake: FakeProvider):
    fake.always(Behaviour(pace=0.2, chunks=50))
    body = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with httpx.stream("POST", f"{watched.proxy.url}/v1/chat/completions", json=body, headers=MASTER) as answer:
        lines = answer.iter_lines()  # keeps a reference: the stream would be closed with it
        next(lines)
        found = watched.scrape()
    assert found["litellm_router_requests_in_flight"] == 2  # including the scrape itself
    assert found["litellm_router_deployment_requests_in_flight", "model=gpt"] == 1
    assert found["litellm_router_ledger_open_reservations"] == 1


def labels(found: Scraped) -> set[tuple[str, str]]:
    return {pair for s in found.samples if s.name.startswith("litellm_router_") for pair in s.labels.items()}


def test_clients_cannot_invent_labels(watched: Watched):
    watched.scrape()
    watched.chat("wild/warmed-up")
    watched.chat("nobody")
    watched.http.get("/nowhere", headers=MASTER)
    before = labels(watched.scrape())
    assert ("model", "wild/*") in before
    for number in range(20):
        watched.chat(f"wild/made-up-{number}")
        watched.chat(f"made-up-{number}")
        watched.http.get(f"/nowhere/{number}", headers=MASTER)
        watched.http.request(f"M{number}", "/v1/chat/completions", headers=MASTER)
    assert labels(watched.scrape()) - before <= {("status", "2xx"), ("status", "4xx")}


def test_process_and_engine_metrics(watched: Watched):
    found = watched.scrape()
    assert found["process_resident_memory_bytes"] > 10_000_000
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_open_fds"] > 3
    assert found["litellm_router_engine_state", "state=idle"] == 1
    assert found["litellm_router_engine_state"] == 1
    assert found["litellm_router_engine_restarts_total"] == 0
    assert found["litellm_router_info"] == 1


def test_metrics_need_the_master_key(watched: Watched):
    key = watched.http.post("/key/generate", json={}, headers=MASTER).json()["key"]
    for headers, status in (({}, 401), ({"authorization": "Bearer sk-no"}, 401), ({"x-api-key": key}, 403)):
        for path in ("/metrics", "/v1/metrics"):
            answer = watched.http.get(path, headers=headers)
            assert answer.status_code == status
            assert "litellm_router_" not in answer.text
    assert watched.http.post("/metrics", headers=MASTER).status_code == 405
    assert watched.http.head("/metrics", headers=MASTER).text == ""


def test_metrics_may_be_public(proxy: StartProxy):
    mock = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}}
    open_one = Watched(proxy({"model_list": [mock]}, environment={"METRICS_PUBLIC": "true"}))
    assert open_one.scrape(headers={})["litellm_router_info"] == 1
    assert open_one.http.get("/v1/models").status_code == 401


def test_counters_survive_a_reload(watched: Watched):
    watched.chat()
    before = watched.scrape()
    path = watched.proxy.config_path
    path.write_text(path.read_text().replace("num_retries: 1", "num_retries: 0"))
    os.kill(watched.proxy.pid, signal.SIGHUP)
    end = time.monotonic() + 20
    while '"config_reloaded"' not in watched.proxy.log() and time.monotonic() < end:
        time.sleep(0.05)
    watched.chat()
    after = watched.scrape()
    assert after[REQUESTS, "model=gpt"] == before[REQUESTS, "model=gpt"] + 1 == 2


def test_labels_contain_no_secrets(watched: Watched):
    watched.chat(key="sk-wrong")
    text = watched.http.get("/metrics", headers=MASTER).text
    assert MASTER_KEY not in text
    assert "sk-provider" not in text
