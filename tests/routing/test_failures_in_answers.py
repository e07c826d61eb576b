"""Failures reported with status 200, and errors caused by the request itself, over real sockets."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy, StartProxy

ROLE = b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
TEXT = b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"so far"},"finish_reason":null}]}\n\n'
END = (
    b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}\n\n'
)
DONE = b"data: [DONE]\n\n"

ERRORS: dict[str, Any] = {
    "an error beside choices": {"error": {"message": "boom", "code": 502}, "choices": [
        {"index": 0, "delta": {"content": ""}, "message": {"content": ""}, "finish_reason": "error"}]},
    "an error and no choices": {"choices": [], "error": {"message": "boom"}},
    "choices that are null, and a code": {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "boom"}},
    "an error as text": {"error": "boom"},
    "an error as a list": {"error": ["boom"]},
    "vLLM's": {"object": "error", "message": "boom", "type": "InternalServerError", "param": None, "code": 500},
    "FastAPI's": {"detail": "boom"},
    "a code and a message": {"code": 500, "msg": "boom"},
    "a finish that failed": {"choices": [
        {"index": 0, "delta": {"content": ""}, "message": {"content": ""}, "finish_reason": "error"}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="module")
def running(provider: FakeProvider, module_proxy: StartProxy) -> RunningProxy:
    def model(name: str, upstream: str | None = None, **params: Any) -> dict[str, Any]:
        params = {"model": f"openai/{upstream or name}", "api_key": "sk", "api_base": provider.openai_base, **params}
        return {"model_name": name, "litellm_params": params}

    names = ("broken", "good", "alone", "flagged", "long", "cached", "odd")
    fallbacks = [{"broken": ["good"]}, {"long": ["good"]}]
    config = {
        "model_list": [*map(model, names), model("any/*", "*")],
        "router_settings": {"num_retries": 0, "allowed_fails": 1000, "cooldown_time": 60, "fallbacks": fallbacks},
    }
    config["model_list"][names.index("cached")]["model_info"] = {
        "input_cost_per_token": 0.001, "cache_read_input_token_cost": 0.0001, "output_cost_per_token": 0.002,
    }  # fmt: skip
    return module_proxy(config)


@pytest.fixture
def http(running: RunningProxy, provider: FakeProvider) -> Iterator[httpx.Client]:
    provider.reset()
    headers = {"authorization": f"Bearer {running.master_key}"}
    with httpx.Client(base_url=running.url, headers=headers, timeout=20) as client:
        yield client
    provider.orders.clear()


def ask(http: httpx.Client, model: str, door: str, *, stream: bool, **headers: str) -> httpx.Response:
    path = "/v1/messages" if door == "messages" else "/v1/chat/completions"
    messages = [{"role": "user", "content": "hello out there"}]
    body = {"model": model, "stream": stream, "max_tokens": 100, "messages": messages}
    return http.post(path, json=body, headers=headers)


def payloads(text: str) -> list[Any]:
    data = [line[5:].strip() for line in text.split("\n") if line.startswith("data:")]
    return [json.loads(d) for d in data if d != "[DONE]"]


def said(answered: httpx.Response, door: str) -> str:
    if answered.headers["content-type"].startswith("application/json"):
        body = answered.json()
        return body["content"][0]["text"] if door == "messages" else body["choices"][0]["message"]["content"]
    found = payloads(answered.text)
    if door == "messages":
        return "".join(e["delta"].get("text", "") for e in found if e["type"] == "content_block_delta")
    return "".join(c["delta"].get("content") or "" for e in found for c in e.get("choices", ()))


def lines_of(running: RunningProxy, id: str, count: int) -> list[dict[str, Any]]:
    """What the log says about a request: its failed attempts, then its end."""
    deadline = time.monotonic() + 5
    lines: list[dict[str, Any]] = []
    while len(lines) < count and time.monotonic() < deadline:
        time.sleep(0.02)
        lines = [json.loads(line) for line in running.log().splitlines() if id in line]
    return lines


@pytest.mark.parametrize("door", ["chat", "messages"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_in_a_200_response_fails_over_to_another_deployment(http, provider, running, name, stream, door):
    raw = orjson.dumps({"id": "1", "model": "m", **ERRORS[name]})
    body = (b": ping\n\n", ROLE, b"data: " + raw + b"\n\n", DONE) if stream else (raw,)
    provider.always(Behaviour(raw=body), model="broken")
    id = f"answers-{time.monotonic_ns()}"
    answered = ask(http, "broken", door, stream=stream, **{"x-request-id": id})
    assert answered.status_code == 200
    assert said(answered, door) == "hello out there"
    failed, end = lines_of(running, id, 2)
    assert (failed["event"], failed["outcome"] != "ok") == ("attempt", True)
    assert (end["event"], end["status"], end["error"]) == ("request_finished", 200, None)


@pytest.mark.parametrize("door", ["chat", "messages"])
@pytest.mark.parametrize("name", ERRORS)
def test_a_mid_stream_error_is_an_error_for_the_client(http, provider, running, name, door):
    raw = b"data: " + orjson.dumps({"id": "1", "model": "m", **ERRORS[name]}) + b"\n\n"
    provider.always(Behaviour(raw=(ROLE, TEXT, raw, DONE)), model="alone")
    id = f"broken-{time.monotonic_ns()}"
    answered = ask(http, "alone", door, stream=True, **{"x-request-id": id})
    assert said(answered, door) == "so far"
    last = payloads(answered.text)[-1]
    assert last["error"]["message"]
    assert "[DONE]" not in answered.text
    if door == "messages":
        assert last["type"] == "error"
        assert "message_stop" not in answered.text
    failed, end = lines_of(running, id, 2)
    assert failed["outcome"] != "ok"
    assert (end["event"], end["status"]) == ("request_finished", 502)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_errors_in_200_responses_cool_a_deployment_down(proxy: StartProxy, provider: FakeProvider, stream: bool):
    provider.reset()
    params = {"api_key": "sk", "api_base": provider.openai_base}
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", **params}} for name in ("frail", "good")
        ],
        "router_settings": {"num_retries": 0, "allowed_fails": 1, "fallbacks": [{"frail": ["good"]}]},
    }
    running = proxy(config)
    raw = orjson.dumps({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}})
    provider.always(Behaviour(raw=(b"data: " + raw + b"\n\n",) if stream else (raw,)), model="frail")
    with httpx.Client(base_url=running.url, headers={"authorization": f"Bearer {running.master_key}"}) as http:
        for _ in range(3):
            assert said(ask(http, "frail", "chat", stream=stream), "chat") == "hello out there"
        metrics = http.get("/metrics").text
    assert [r.model for r in provider.requests] == ["frail", "good", "frail", "good", "good"]
    counted = [line for line in metrics.splitlines() if line.startswith("litellm_router_attempts_total")]
    assert not [line for line in counted if 'model="frail"' in line and 'outcome="ok"' in line]
    assert [line for line in counted if 'model="frail"' in line and 'outcome="server"' in line and line.endswith(" 2")]


REFUSALS: dict[str, tuple[int, Any, int, str | None]] = {
    "OpenRouter's moderation": (
        403,
        {"error": {"message": 'x requires moderation. Your input was flagged for "violence".', "code": 403,
                   "metadata": {"reasons": ["violence"], "flagged_input": "hello"}}},
        400, "content_policy",
    ),
    "xAI's moderation": (
        403,
        {"code": "The caller does not have permission", "error": "Content violates usage guidelines."},
        400, "content_policy",
    ),
    "an item that is not stored": (
        404, {"error": {"message": "Item with id 'rs_12345678' not found.", "param": "input"}}, 404, None,
    ),
    "a file that is not stored": (404, {"error": {"message": "No such File object: file-12345678"}}, 404, None),
    "an id that is too long": (
        400,
        {"error": {"message": "Invalid 'input[1].id': string too long. Expected a string with maximum length 64.",
                   "code": "string_above_max_length", "param": "input[1].id"}},
        400, "string_above_max_length",
    ),
    "FastAPI's": (422, {"detail": [{"loc": ["body", "n"], "msg": "Input should be less than 2"}]}, 422, None),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_an_error_caused_by_the_request_cools_nothing_down(http, provider, name):
    status, body, told, code = REFUSALS[name]
    provider.queue(Behaviour(status=status, raw=(orjson.dumps(body),)), model="flagged")
    refused = ask(http, "flagged", "chat", stream=False)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (told, code)
    assert "credentials" not in error["message"]
    assert said(ask(http, "flagged", "chat", stream=False), "chat") == "hello out there"
    assert len(provider.requests) == 2


ONE_REQUESTS: dict[str, tuple[int, bytes]] = {
    "more than the credit left": (
        402,
        b'{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 '
        b'tokens, but can only afford 3919.","code":402}}',
    ),
    "a prompt over the credit left": (402, b'{"error":{"message":"Prompt tokens limit exceeded: 9 > 5","code":402}}'),
    "a firewall's page": (403, b"<html><head><title>Attention Required! | Cloudflare</title></head></html>"),
    "a 403 that says nothing": (403, b""),
    "providers that the request excludes": (
        404, b'{"error":{"message":"No allowed providers are available for the selected model.","code":404}}',
    ),
}  # fmt: skip


def test_an_error_that_may_be_the_requests_own_falls_back_without_a_cooldown(proxy: StartProxy, provider: FakeProvider):
    params = {"api_key": "sk", "api_base": provider.openai_base}
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", **params}} for name in ("frail", "good")
        ],
        "router_settings": {"num_retries": 2, "allowed_fails": 0, "fallbacks": [{"frail": ["good"]}]},
    }
    running = proxy(config)
    with httpx.Client(base_url=running.url, headers={"authorization": f"Bearer {running.master_key}"}) as http:
        for name, (status, raw) in ONE_REQUESTS.items():
            provider.reset()
            provider.queue(Behaviour(status=status, raw=(raw,)), model="frail")
            for _ in range(2):
                assert said(ask(http, "frail", "chat", stream=False), "chat") == "hello out there"
            assert [r.model for r in provider.requests] == ["frail", "good", "frail"], name


def test_an_unknown_model_named_by_a_client_cools_nothing_down(http, provider):
    error = {"error": {"message": "The model `made-up` does not exist.", "code": "model_not_found"}}
    provider.always(Behaviour(status=404, raw=(orjson.dumps(error),)), model="made-up")
    refused = ask(http, "any/made-up", "chat", stream=False)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert said(ask(http, "any/real", "chat", stream=False), "chat") == "hello out there"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (413, {"message": "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000",
               "type": "tokens", "code": "rate_limit_exceeded"}),
        (429, {"message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000.",
               "type": "tokens", "code": "rate_limit_exceeded"}),
        (400, {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}),
        (500, {"message": "Context size has been exceeded.", "type": "server_error"}),
    ],
)  # fmt: skip
def test_a_request_too_large_for_one_deployment_falls_back_without_a_cooldown(http, provider, status, error):
    provider.queue(Behaviour(status=status, raw=(orjson.dumps({"error": error}),)), model="long")
    assert said(ask(http, "long", "chat", stream=False), "chat") == "hello out there"
    assert said(ask(http, "long", "chat", stream=False), "chat") == "hello out there"
    assert [r.model for r in provider.requests] == ["long", "good", "long"]


@pytest.mark.parametrize("door", ["chat", "messages"])
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json", "application/octet-stream", "text/html", "", "text/event-stream"]
)
def test_an_answer_is_a_stream_if_its_content_is_one(http, provider, kind, door):
    order = Behaviour(raw=(b"\n", ROLE, TEXT, END, DONE), headers=(("content-type", kind),))
    provider.always(order, model="odd")
    answered = ask(http, "odd", door, stream=True)
    assert answered.headers["content-type"].startswith("text/event-stream")
    assert said(answered, door) == "so far"


@pytest.mark.parametrize("door", ["chat", "messages"])
def test_a_plain_answer_to_a_stream_request_becomes_a_stream(http, provider, door):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "so far", "reasoning_content": "hm", "tool_calls": [call]}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = orjson.dumps({"id": "1", "model": "m", "choices": [choice], "usage": usage})
    provider.always(Behaviour(raw=(body,), headers=(("content-type", "application/json"),)), model="odd")
    answered = ask(http, "odd", door, stream=True)
    assert said(answered, door) == "so far"
    found = payloads(answered.text)
    if door == "messages":
        blocks = [e["content_block"]["type"] for e in found if e["type"] == "content_block_start"]
        assert blocks == ["thinking", "text", "tool_use"]
        assert found[-2]["delta"]["stop_reason"] == "tool_use"
        assert found[-2]["usage"]["output_tokens"] == 2
    else:
        choices = [c for e in found for c in e["choices"]]
        assert choices[0]["delta"]["tool_calls"] == [{"index": 0, **call}]
        assert choices[-1]["finish_reason"] == "tool_calls"
        assert answered.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("door", ["chat", "messages"])
def test_a_stream_answer_to_a_plain_request_becomes_a_plain_answer(http, provider, door):
    provider.always(Behaviour(raw=(ROLE + TEXT + END + DONE,)), model="odd")
    answered = ask(http, "odd", door, stream=False)
    assert said(answered, door) == "so far"
    used = answered.json()["usage"]
    assert used["output_tokens" if door == "messages" else "completion_tokens"] == 2


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_truncated_answer_is_a_failure(http, provider, stream):
    whole = b'{"id":"1","choices":[{"message":{"content":"x"}'
    provider.always(Behaviour(raw=(whole if stream else ROLE + TEXT,)), model="broken")
    assert said(ask(http, "broken", "chat", stream=stream), "chat") == "hello out there"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_cached_tokens_are_charged_at_their_price(http, provider, running, stream):
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "prompt_cache_hit_tokens": 60}
    choice = {"index": 0, "message": {"content": "x"}, "delta": {"content": "x"}, "finish_reason": "stop"}
    raw = orjson.dumps({"id": "1", "model": "m", "choices": [choice], "usage": usage})
    provider.always(Behaviour(raw=(b"data: " + raw + b"\n\n", DONE) if stream else (raw,)), model="cached")
    before = spent(http)
    answered = ask(http, "cached", "chat", stream=stream)
    found = payloads(answered.text)[-1] if stream else answered.json()
    assert found["usage"]["prompt_tokens_details"]["cached_tokens"] == 60
    assert spent(http) - before == pytest.approx(40 * 0.001 + 60 * 0.0001 + 10 * 0.002)


def spent(http: httpx.Client) -> float:
    lines = http.get("/metrics").text.splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith("litellm_router_spend") and 'model="cached"' in line
    )
