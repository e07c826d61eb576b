"""A request that does not fit is sent with a lower output limit, or waits for running ones."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.accounting import agent_loops
from tests.accounting.conftest import Ledgered
from tests.accounting.edge import Behind, behind
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import OUT, deployment, wait_for
from tests.processes import StartProxy

LIMIT = 32_000
HEADER = "x-litellm-output-limit"
USED = Behaviour(usage=(10, 5))
COSTS = {"output_cost_per_token": OUT, "output_cost_per_reasoning_token": OUT}


def of_claude(fake: FakeProvider) -> dict[str, Any]:
    params = {"model": "anthropic/claude-sonnet-4-5", "api_base": fake.url, "api_key": "k"}
    return {"model_name": "claude", "litellm_params": params, "model_info": COSTS}


def of_gemini(fake: FakeProvider) -> dict[str, Any]:
    params = {"model": "gemini/gemini-2.5-flash", "api_base": fake.gemini_base, "api_key": "k"}
    return {"model_name": "gemini", "litellm_params": params, "model_info": COSTS}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, provider: FakeProvider) -> Ledgered:
    """`gpt` is sent as chat or as a Responses request."""
    models = [
        deployment(provider, "gpt", "gpt-5", max_output_tokens=128_000),
        deployment(provider, "preset", "x", max_output_tokens=100_000),
        of_claude(provider),
        of_gemini(provider),
    ]
    models[1]["litellm_params"]["max_tokens"] = 50_000
    config = {"model_list": models, "router_settings": {"num_retries": 0, "disable_cooldowns": True}}
    return Ledgered(module_proxy(config, environment={"BUDGET_PATIENCE": "0"}))


@pytest.fixture(autouse=True)
def _usage(provider: FakeProvider) -> None:
    provider.reset()
    provider.always(USED)


def limit_sent(body: dict[str, Any]) -> int:
    fields = {**body, **body.get("generationConfig", {})}
    names = {"max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens"} & fields.keys()
    assert len(names) == 1, names
    return fields[names.pop()]


MESSAGES = [{"role": "user", "content": "Hi"}]
CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "gpt", "messages": MESSAGES, "max_tokens": LIMIT}),
    "chat's new name": ("/v1/chat/completions", {"model": "gpt", "messages": MESSAGES, "max_completion_tokens": LIMIT}),
    "chat to Claude": ("/v1/chat/completions", {"model": "claude", "messages": MESSAGES, "max_tokens": LIMIT}),
    "chat to Gemini": ("/v1/chat/completions", {"model": "gemini", "messages": MESSAGES, "max_tokens": LIMIT}),
    "another name": ("/v1/chat/completions", {"model": "gpt", "messages": MESSAGES, "max_output_tokens": LIMIT}),
    "without a limit": ("/v1/chat/completions", {"model": "gpt", "messages": MESSAGES}),
    "a preset limit": ("/v1/chat/completions", {"model": "preset", "messages": MESSAGES}),
    "messages": ("/v1/messages", {"model": "claude", "messages": MESSAGES, "max_tokens": LIMIT}),
    "messages to gpt": ("/v1/messages", {"model": "gpt", "messages": MESSAGES, "max_tokens": LIMIT}),
    "responses": ("/v1/responses", {"model": "gpt", "input": "Hi", "max_output_tokens": LIMIT}),
    "responses without a limit": ("/v1/responses", {"model": "gpt", "input": "Hi"}),
    "responses to Claude": ("/v1/responses", {"model": "claude", "input": "Hi", "max_output_tokens": LIMIT}),
    "gemini": (
        "/v1beta/models/gemini:generateContent",
        {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": LIMIT}},
    ),
    "gemini's other spelling": (
        "/v1beta/models/gemini:generateContent",
        {"contents": CONTENTS, "generation_config": {"max_output_tokens": LIMIT}},
    ),
    "gemini to gpt": (
        "/v1beta/models/gpt:generateContent",
        {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": LIMIT}},
    ),
    "several answers": ("/v1/chat/completions", {"model": "gpt", "messages": MESSAGES, "max_tokens": LIMIT, "n": 2}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_lower_limit_is_sent_and_named_in_a_header(gateway: Ledgered, provider: FakeProvider, name: str) -> None:
    path, body = REQUESTS[name]
    key = gateway.key(max_budget=0.02)
    answer = gateway.http.post(path, json=body, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    sent = limit_sent(provider.last.body)
    assert answer.headers[HEADER] == str(sent)
    assert 0.9 * 0.02 < sent * OUT * body.get("n", 1) < 0.02
    [line] = gateway.logs(key)
    assert sent * OUT * body.get("n", 1) <= line["reserved"] <= 0.02


def test_a_limit_that_fits_is_not_touched(gateway: Ledgered, provider: FakeProvider) -> None:
    answer = gateway.ask(gateway.key(max_budget=10), max_tokens=LIMIT)
    assert (limit_sent(provider.last.body), HEADER in answer.headers) == (LIMIT, False)


def test_without_a_limit_the_models_maximum_is_sent(gateway: Ledgered, provider: FakeProvider) -> None:
    answer = gateway.ask(gateway.key(max_budget=10))
    assert (limit_sent(provider.last.body), HEADER in answer.headers) == (128_000, False)


def test_a_key_that_keeps_its_limits_is_refused(gateway: Ledgered) -> None:
    key = gateway.key(max_budget=0.02, keep_output_limit=True)
    refused = gateway.ask(key, max_tokens=LIMIT)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")


def test_below_the_lowest_limit_a_request_is_refused(gateway: Ledgered) -> None:
    refused = gateway.ask(gateway.key(max_budget=1000 * OUT), max_tokens=LIMIT)
    assert refused.status_code == 429
    assert "1024" in refused.json()["error"]["message"]


def test_an_edge_lowers_a_limit(proxy: StartProxy, provider: FakeProvider) -> None:
    edge = behind(proxy, {"model_list": [deployment(provider, "gpt")]})
    body = {"model": "gpt", "messages": MESSAGES, "max_tokens": LIMIT}
    lowered = {"x-internal-catalog": f"{edge.hash}+lowered"}
    answer = edge.post(grant={"most_output": 2000, "limited": True}, json=body, headers=lowered)
    assert (answer.status_code, limit_sent(provider.last.body)) == (200, 2000)
    assert edge.report().status == 200
    edge.finish()


@pytest.mark.parametrize("grant", [{"most_output": 2000}, {}])
def test_a_grant_and_its_catalog_have_to_agree(
    proxy: StartProxy, provider: FakeProvider, grant: dict[str, Any]
) -> None:
    """So that a container that does not know lowered limits refuses the request, and nothing is charged."""
    edge: Behind = behind(proxy, {"model_list": [deployment(provider, "gpt")]})
    headers = {} if grant else {"x-internal-catalog": f"{edge.hash}+lowered"}
    answer = edge.post(grant=grant, json={"model": "gpt", "messages": MESSAGES, "max_tokens": LIMIT}, headers=headers)
    assert answer.status_code == 503
    assert (edge.report().cost, provider.requests) == (0, [])
    edge.finish()


@pytest.fixture
def patient(proxy: StartProxy, provider: FakeProvider) -> Ledgered:
    config = {
        "model_list": [deployment(provider, "gpt")],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    return Ledgered(proxy(config, environment={"BUDGET_PATIENCE": "10"}))


def test_a_request_waits_until_running_ones_leave_it_a_budget(patient: Ledgered, provider: FakeProvider) -> None:
    key = patient.key(max_budget=150 * OUT)
    with ThreadPoolExecutor(3) as pool:
        with provider.holding():
            asking = [pool.submit(patient.ask, key, max_tokens=100) for _ in range(3)]
            provider.wait_for(lambda: provider.in_flight == 1)
            assert patient.info(key)["running_requests"] == 1
            assert not any(one.done() for one in asking)
        assert [one.result().status_code for one in asking] == [200] * 3
    assert provider.peak_in_flight == 1


def test_a_request_waits_for_a_parallel_slot(patient: Ledgered, provider: FakeProvider) -> None:
    key = patient.key(max_parallel_requests=1)
    provider.always(Behaviour(usage=(10, 5), delay=0.1))
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(patient.ask, key) for _ in range(4)]
        assert [one.result().status_code for one in asking] == [200] * 4
    assert provider.peak_in_flight == 1


def test_a_raised_budget_lets_waiting_requests_in(patient: Ledgered, provider: FakeProvider) -> None:
    key = patient.key(max_budget=150 * OUT)
    with ThreadPoolExecutor(2) as pool:
        with provider.holding():
            asking = [pool.submit(patient.ask, key, max_tokens=100) for _ in range(2)]
            provider.wait_for(lambda: provider.in_flight == 1)
            patient.admin("/key/update", {"key": key, "max_budget": 1})
            provider.wait_for(lambda: provider.in_flight == 2)
        assert [one.result().status_code for one in asking] == [200] * 2


def test_who_leaves_while_waiting_costs_nothing(patient: Ledgered, provider: FakeProvider) -> None:
    key = patient.key(max_budget=150 * OUT)
    with ThreadPoolExecutor(1) as pool:
        with provider.holding():
            first = pool.submit(patient.ask, key, max_tokens=100)
            provider.wait_for(lambda: provider.in_flight == 1)
            headers = {"authorization": f"Bearer {key}"}
            body = {"model": "gpt", "messages": MESSAGES, "max_tokens": 100}
            with pytest.raises(httpx.ReadTimeout):
                patient.http.post("/v1/chat/completions", json=body, headers=headers, timeout=0.5)
        assert first.result().status_code == 200
    patient.settled()
    assert len(patient.logs(key)) == len(provider.requests) == 1
    assert patient.info(key)["running_requests"] == 0


def test_at_a_shutdown_waiting_requests_are_told_to_come_back(patient: Ledgered, provider: FakeProvider) -> None:
    key = patient.key(max_budget=150 * OUT)
    provider.always(Behaviour(usage=(10, 5), delay=2.0))
    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(patient.ask, key, max_tokens=100) for _ in range(2)]
        provider.wait_for(lambda: provider.in_flight == 1)
        wait_for(lambda: len([one for one in asking if not one.done()]), lambda count: count == 2)
        threading.Event().wait(0.3)  # the second has been refused once
        patient.proxy.terminate()
        answers = sorted((one.result() for one in asking), key=lambda one: one.status_code)
    assert [one.status_code for one in answers] == [200, 503]
    assert answers[1].headers["retry-after"] == "1"


@pytest.mark.timeout(120)
def test_eight_agents_spend_a_budget_together(proxy: StartProxy, provider: FakeProvider) -> None:
    """None fails before nine tenths are spent, and the budget holds at every moment."""
    gateway = proxy(agent_loops.config(provider))
    found = asyncio.run(agent_loops.run(gateway.url, provider, 8, 100_000, delay=0.02))
    assert found.first >= 0.9 * agent_loops.BUDGET, json.dumps(found)
    assert found.most <= agent_loops.BUDGET + 1e-9
    assert found.lowered
