"""The line at the end of each request: who asked, who answered, tokens, cost, status and time."""

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.accounting.conftest import Ledgered
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, chat, deployment, wait_for
from tests.processes import StartProxy

USAGE = Behaviour(usage=(11, 7))
COST = pytest.approx(11 * IN + 7 * OUT)


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, providers: FakeProvider) -> Ledgered:
    config = {
        "model_list": [deployment(providers, "gpt"), deployment(providers, "spare")],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"gpt": ["spare"]}]},
    }
    return Ledgered(module_proxy(config))


def finished(gateway: Ledgered, id: str) -> dict[str, Any]:
    """The line of a request. Fails if there is more than one."""

    def find() -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in gateway.proxy.log().splitlines() if id in line)
        return [line for line in lines if line["event"] == "request_finished"]

    (line,) = wait_for(find, bool)
    return line


def ask(gateway: Ledgered, key: str | None = None, **fields: Any) -> dict[str, Any]:
    answer = gateway.ask(key, **fields)
    return finished(gateway, answer.headers["x-request-id"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_line_says_what_the_request_cost(gateway: Ledgered, provider: FakeProvider, stream: bool):
    provider.queue(USAGE)
    key = gateway.key(key_alias=f"alice-{stream}")
    line = ask(gateway, key, stream=stream)
    (row,) = wait_for(lambda: gateway.admin("/spend/logs", request_id=line["request_id"])["data"], bool)
    assert row["attempts"] == []
    assert line["cost"] == COST
    assert (line["prompt_tokens"], line["completion_tokens"]) == (11, 7)
    assert (line["key_alias"], line["model"], line["endpoint"]) == (f"alice-{stream}", "gpt", "chat_completions")
    assert (line["status"], line["error"], line["stream"]) == (200, None, stream)
    assert 0 < line["attempt_seconds"] <= line["seconds"] < 10
    assert (line["provider"], line["provider_model"], line["retries"]) == ("openai", "gpt", 0)


CONTENT = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("endpoint", "path", "body"),
    [
        ("messages", "/v1/messages", {"model": "gpt", "max_tokens": 50, "messages": CONTENT}),
        ("responses", "/v1/responses", {"model": "gpt", "input": "Hi"}),
        ("responses", "/v1/responses", {"model": "gpt", "input": "Hi", "stream": True}),
        ("generate_content", "/v1beta/models/gpt:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}]}),
        ("embeddings", "/v1/embeddings", {"model": "gpt", "input": "Hi"}),
    ],
    ids=["messages", "responses", "a stream of responses", "gemini", "embeddings"],
)
def test_every_clients_api_has_the_line(
    gateway: Ledgered, provider: FakeProvider, endpoint: str, path: str, body: dict[str, Any]
):
    headers = {"authorization": f"Bearer {gateway.key()}"}
    answer = gateway.http.post(path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    line = finished(gateway, answer.headers["x-request-id"])
    assert endpoint in line["endpoint"]
    assert (line["model"], line["status"]) == ("gpt", 200)
    assert line["cost"] > 0
    (row,) = gateway.admin("/spend/logs", request_id=line["request_id"])["data"]
    assert line["cost"] == pytest.approx(row["spend"])


def test_a_successful_request_has_one_line(gateway: Ledgered, provider: FakeProvider):
    id = ask(gateway)["request_id"]
    assert [json.loads(x)["event"] for x in gateway.proxy.log().splitlines() if id in x] == ["request_finished"]


def test_the_master_key_is_named_as_such(gateway: Ledgered, provider: FakeProvider):
    line = ask(gateway)
    assert (line["key"], line["key_alias"]) == ("master", None)


def test_a_fallback_is_named_by_its_own_deployment(gateway: Ledgered, provider: FakeProvider):
    provider.queue(failing(500), USAGE)
    line = ask(gateway)
    assert (line["model"], line["provider_model"], line["fallbacks"]) == ("gpt", "spare", 1)
    assert line["cost"] == COST


@pytest.mark.parametrize("stream", [False, True])
def test_the_ledger_has_the_attempts_that_failed(gateway: Ledgered, provider: FakeProvider, stream: bool):
    provider.queue(failing(500), USAGE)
    line = ask(gateway, stream=stream)
    (row,) = wait_for(lambda: gateway.admin("/spend/logs", request_id=line["request_id"])["data"], bool)
    (attempt,) = row["attempts"]
    assert 0 <= attempt.pop("seconds") < 10
    assert attempt.pop("deployment") != row["deployment"] == line["deployment"]
    assert attempt == {"model": "gpt", "error": "server", "status": 500}
    provider.queue(failing(503, message="of the prompt"), failing(401))
    failed = ask(gateway, stream=stream)
    (row,) = wait_for(lambda: gateway.admin("/spend/logs", request_id=failed["request_id"])["data"], bool)
    assert [(one["model"], one["error"], one["status"]) for one in row["attempts"]] == [
        ("gpt", "server", 503),
        ("spare", "authentication", 401),
    ]
    assert "of the prompt" not in str(row)
    assert_described(gateway, row)


def assert_described(gateway: Ledgered, row: dict[str, Any]) -> None:
    """The OpenAPI description knows each field of a row of the ledger, and no other."""
    described = gateway.http.get("/openapi.json").json()["components"]["schemas"]["SpendLine"]["properties"]
    assert list(described) == list(row)
    assert {*described["attempts"]["items"]["properties"]} == {*row["attempts"][0]}


def test_at_most_eight_attempts_are_kept(start: Callable[..., Ledgered], fake: FakeProvider):
    gateway = start(models=[deployment(fake, "gpt", f"gpt-{number}") for number in range(10)], more={"num_retries": 9})
    fake.always(failing(500))
    id = gateway.ask(None).headers["x-request-id"]
    (row,) = wait_for(lambda: gateway.admin("/spend/logs", request_id=id)["data"], bool)
    assert len(fake.requests) == 10
    assert len({attempt["deployment"] for attempt in row["attempts"]}) == 8


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_for_the_budget_says_budget(gateway: Ledgered, provider: FakeProvider, stream: bool):
    key = gateway.key(key_alias=f"poor-{stream}", max_budget=0.0000001)
    line = ask(gateway, key, stream=stream)
    assert (line["status"], line["key_alias"], line["model"]) == (429, f"poor-{stream}", "gpt")
    assert "budget" in line["error"]
    assert not line["cost"]


def test_a_blocked_key_is_named(gateway: Ledgered, provider: FakeProvider):
    key = gateway.key(key_alias="blocked")
    gateway.ask(key)
    gateway.admin("/key/block", {"key": key})
    line = ask(gateway, key)
    assert (line["status"], line["error"], line["key_alias"]) == (401, "invalid_api_key", "blocked")


def test_a_failed_request_costs_nothing_and_names_the_error(gateway: Ledgered, provider: FakeProvider):
    provider.queue(failing(500), failing(500))
    line = ask(gateway)
    assert (line["status"], line["error"], line["cost"]) == (500, "upstream_error", 0)


def test_a_stream_that_breaks_off_is_charged_and_not_a_success(gateway: Ledgered, provider: FakeProvider):
    provider.queue(Behaviour(fault=Fault.RESET_MID_STREAM))
    line = ask(gateway, stream=True)
    assert line["status"] == 502
    assert line["cost"] > 0


def test_a_client_that_leaves_has_a_line(gateway: Ledgered, provider: FakeProvider):
    provider.queue(Behaviour(fault=Fault.HANG_MID_STREAM))
    headers = {"authorization": f"Bearer {gateway.proxy.master_key}", "x-request-id": "leaves-early"}
    with gateway.http.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=headers) as answer:
        next(answer.iter_bytes())
    line = finished(gateway, "leaves-early")
    assert (line["status"], line["error"]) == (499, "client_left")
    assert line["cost"] > 0


def test_an_invalid_body_and_a_wrong_key_have_lines(gateway: Ledgered, provider: FakeProvider):
    line = ask(gateway, model="nonesuch")
    assert (line["status"], line["error"], line["cost"]) == (404, "model_not_found", None)
    wrong = gateway.http.post("/v1/chat/completions", json=chat(), headers={"authorization": "Bearer sk-nobodys"})
    line = finished(gateway, wrong.headers["x-request-id"])
    assert (line["status"], line["error"], line["key_alias"]) == (401, "invalid_api_key", None)


def test_requests_that_cannot_cost_anything_have_no_line(gateway: Ledgered, provider: FakeProvider):
    before = gateway.proxy.log().count("request_finished")
    for path in ("/health", "/v1/models", "/global/spend", "/nonesuch"):
        gateway.http.get(path, headers={"authorization": f"Bearer {gateway.proxy.master_key}"})
    ask(gateway)
    assert gateway.proxy.log().count("request_finished") == before + 1


def test_concurrent_requests_have_a_line_each_with_their_own_cost(gateway: Ledgered, provider: FakeProvider):
    provider.always(USAGE)
    key = gateway.key(key_alias="many", max_budget=1)
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.ask(key))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [finished(gateway, answer.headers["x-request-id"]) for answer in answers]
    assert [line["cost"] for line in lines] == [COST] * 8
    assert gateway.info(key)["spend"] == pytest.approx(sum(line["cost"] for line in lines))


@pytest.mark.parametrize(
    ("general", "litellm", "environment", "text"),
    [
        ({"log_format": "text"}, {}, {}, True),
        ({}, {"json_logs": True}, {}, False),
        ({}, {"json_logs": False}, {}, True),
        ({"log_format": "text"}, {}, {"LITELLM_LOG_FORMAT": "json"}, False),
        ({}, {}, {"LITELLM_LOG_FORMAT": "text"}, True),
    ],
)
def test_the_format_is_the_variables_or_the_configs(
    proxy: StartProxy,
    fake: FakeProvider,
    general: dict[str, str],
    litellm: dict[str, bool],
    environment: dict[str, str],
    text: bool,
):
    config = {"model_list": [deployment(fake, "gpt")], "general_settings": general, "litellm_settings": litellm}
    gateway = Ledgered(proxy(config, environment=environment, log_format="text" if text else "json"))
    key = gateway.key(key_alias="alice smith")
    fake.queue(USAGE)
    id = gateway.ask(key).headers["x-request-id"]
    (line,) = wait_for(lambda: [x for x in gateway.proxy.log().splitlines() if "request_finished" in x], bool)
    if text:
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z INFO proxy request_finished request_id=" + id, line)
        assert ' key_alias="alice smith" ' in line
        assert " cost=0.000025 " in line
    else:
        assert json.loads(line)["cost"] == COST
