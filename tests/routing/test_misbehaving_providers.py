"""Misbehaving providers, over real sockets: another deployment answers, or the client gets a clear error."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider, refusing_port
from tests.processes import RunningProxy, StartProxy

LIMIT = 1.0  # seconds, excluding the connect


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="module")
def running(provider: FakeProvider, module_proxy: StartProxy) -> Iterator[RunningProxy]:
    def model(name: str, base: str = provider.openai_base, **params) -> dict:
        params = {"model": f"openai/{name}", "api_key": f"sk-{name}", "api_base": base, "timeout": LIMIT, **params}
        return {"model_name": name, "litellm_params": params}

    with refusing_port() as nobody:
        config = {
            "model_list": [
                *map(model, ("broken", "good", "lonely")),
                model("gone", f"http://127.0.0.1:{nobody}/v1"),
            ],
            "router_settings": {
                "num_retries": 1,
                "disable_cooldowns": True,
                "fallbacks": [{"broken": ["good"]}, {"gone": ["good"]}],
            },
        }
        yield module_proxy(config, environment={"STREAM_KEEPALIVE": "0.3"})


@pytest.fixture
def http(running: RunningProxy, provider: FakeProvider) -> Iterator[httpx.Client]:
    provider.reset()
    headers = {"authorization": f"Bearer {running.master_key}"}
    with httpx.Client(base_url=running.url, headers=headers, timeout=20) as client:
        yield client
    provider.orders.clear()


def ask(http: httpx.Client, model: str, *, stream: bool = False, text: str = "hello out there", **fields):
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], **fields}
    return http.post("/v1/chat/completions", json=body)


def events(text: str) -> list:
    data = [line[5:].strip() for line in text.split("\n") if line.startswith("data:")]
    return [d if d == "[DONE]" else json.loads(d) for d in data]


def said(answered: httpx.Response) -> str:
    if answered.headers["content-type"].startswith("application/json"):
        return answered.json()["choices"][0]["message"]["content"]
    chunks = [e for e in events(answered.text) if e != "[DONE]"]
    return "".join(c["delta"].get("content") or "" for e in chunks for c in e.get("choices", ()))


BEFORE_THE_FIRST_BYTE = {
    "429": failing(429),
    "429 with retry-after": failing(429, retry_after=7),
    "500": failing(500),
    "503": failing(503),
    "401": failing(401),
    "403": failing(403),
    "404": failing(404),
    "reset before headers": Behaviour(fault=Fault.RESET_BEFORE_HEADERS),
    "reset after headers": Behaviour(fault=Fault.RESET_AFTER_HEADERS),
    "hang before headers": Behaviour(fault=Fault.HANG_BEFORE_HEADERS),
    "hang after headers": Behaviour(fault=Fault.HANG_AFTER_HEADERS),
    "html page": Behaviour(fault=Fault.HTML_PAGE),
    "garbage json": Behaviour(fault=Fault.GARBAGE_JSON),
}


@pytest.mark.parametrize("stream", ["plain", "stream"])
@pytest.mark.parametrize("name", BEFORE_THE_FIRST_BYTE)
def test_another_provider_answers_when_one(http, provider, name, stream):
    stream = stream == "stream"
    provider.orders.always(BEFORE_THE_FIRST_BYTE[name], model="broken")
    answered = ask(http, "broken", stream=stream)
    assert answered.status_code == 200
    assert said(answered) == "hello out there"
    models = {answered.json()["model"]} if not stream else {e["model"] for e in events(answered.text)[:-1]}
    assert models == {"good"}
    if "hang after" not in name or not stream:  # its headers went out with the first comment line
        assert answered.headers["x-litellm-attempted-fallbacks"] == "1"
        assert answered.headers["x-litellm-model-group"] == "good"


def test_an_error_as_the_first_stream_event_is_a_failure(http, provider):
    provider.orders.always(Behaviour(fault=Fault.ERROR_FIRST_EVENT), model="broken")
    assert said(ask(http, "broken", stream=True)) == "hello out there"


def test_a_refused_connection_goes_to_the_fallback(http):
    assert said(ask(http, "gone")) == "hello out there"


def test_a_client_may_disable_fallbacks(http, provider):
    provider.orders.always(failing(500), model="broken")
    answered = ask(http, "broken", disable_fallbacks=True)
    assert answered.status_code == 500
    assert answered.json()["error"]["type"] == "upstream_error"


def test_a_client_may_name_its_own_fallbacks(http, provider):
    provider.orders.always(failing(500), model="lonely")
    assert said(ask(http, "lonely", fallbacks=["good"])) == "hello out there"
    unknown = ask(http, "lonely", fallbacks=["nobody"])
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_routing_fields_are_not_sent_to_the_provider(http, provider):
    ask(http, "good", fallbacks=["lonely"], num_retries=1, timeout=5, disable_fallbacks=False)
    assert {"fallbacks", "num_retries", "timeout", "disable_fallbacks"}.isdisjoint(provider.last.body)


def test_a_single_deployment_is_retried_and_the_headers_say_so(http, provider):
    provider.orders.queue(failing(500), model="lonely")
    answered = ask(http, "lonely")
    assert answered.status_code == 200
    assert answered.headers["x-litellm-attempted-retries"] == "1"


@pytest.mark.parametrize(
    ("behaviour", "status", "type"),
    [
        (failing(429, retry_after=7), 429, "upstream_error"),
        (failing(500), 500, "upstream_error"),
        (failing(503), 503, "upstream_error"),
        (failing(401), 502, "upstream_error"),
        (failing(404), 502, "upstream_error"),
        (Behaviour(fault=Fault.RESET_BEFORE_HEADERS), 502, "upstream_error"),
        (Behaviour(fault=Fault.HANG_BEFORE_HEADERS), 504, "timeout_error"),
        (Behaviour(fault=Fault.GARBAGE_JSON), 502, "upstream_error"),
        (Behaviour(fault=Fault.HTML_PAGE), 502, "upstream_error"),
        (Behaviour(fault=Fault.CONTENT_LENGTH_TOO_LONG), 502, "upstream_error"),
        (failing(400), 400, "invalid_request_error"),
        (failing(422), 422, "invalid_request_error"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_the_error_when_every_deployment_fails(http, provider, behaviour, status, type):
    provider.orders.always(behaviour, model="lonely")
    answered = ask(http, "lonely", num_retries=0)
    error = answered.json()["error"]
    assert (answered.status_code, error["type"]) == (status, type)
    assert type == "invalid_request_error" or "lonely" in error["message"]


def test_the_providers_retry_after_reaches_the_client(http, provider):
    provider.orders.always(failing(429, retry_after=70, x_ratelimit_remaining_requests="0"), model="lonely")
    answered = ask(http, "lonely")
    assert answered.headers["retry-after"] == "70"
    assert answered.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize(
    ("fault", "type"),
    [
        (Fault.RESET_MID_STREAM, "upstream_error"),
        (Fault.HALF_CHUNK, "upstream_error"),
        (Fault.END_EARLY, "upstream_error"),
        (Fault.HANG_MID_STREAM, "timeout_error"),
    ],
)
def test_a_broken_stream_ends_with_an_error_event_and_without_done(http, provider, fault, type):
    provider.orders.always(Behaviour(fault=fault, after=2, chunks=6), model="broken")
    answered = ask(http, "broken", stream=True, text="one two three four five six")
    got = events(answered.text)
    assert got[-1]["error"]["type"] == type
    assert "[DONE]" not in got
    assert said(answered).startswith("one")
    assert {r.model for r in provider.requests} == {"broken"}


def test_a_providers_own_mid_stream_error_event_is_passed_on_once(http, provider):
    provider.orders.always(Behaviour(fault=Fault.ERROR_MID_STREAM), model="broken")
    got = events(ask(http, "broken", stream=True).text)
    assert sum("error" in e for e in got if e != "[DONE]") == 1


@pytest.mark.parametrize("fault", [Fault.ERROR_MID_STREAM, Fault.RESET_MID_STREAM])
def test_a_mid_stream_failure_cools_the_deployment_down(proxy: StartProxy, provider: FakeProvider, fault: Fault):
    provider.reset()
    params = {"api_key": "sk", "api_base": provider.openai_base}
    running = proxy(
        {
            "model_list": [
                {"model_name": name, "litellm_params": {"model": f"openai/{name}", **params}}
                for name in ("frail", "good")
            ],
            "router_settings": {"num_retries": 0, "allowed_fails": 1, "fallbacks": [{"frail": ["good"]}]},
        }
    )
    provider.orders.always(Behaviour(fault=fault), model="frail")
    with httpx.Client(base_url=running.url, headers={"authorization": f"Bearer {running.master_key}"}) as http:
        for _ in range(2):
            assert "[DONE]" not in ask(http, "frail", stream=True).text
        assert said(ask(http, "frail", stream=True)) == "hello out there"
    assert [r.model for r in provider.requests] == ["frail", "frail", "good"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_compressed_answer_is_decoded(http, provider, stream):
    provider.orders.always(Behaviour(gzip=True), model="good")
    assert said(ask(http, "good", stream=stream)) == "hello out there"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_an_answer_sent_byte_by_byte_is_assembled(http, provider, stream):
    provider.orders.always(Behaviour(trickle=0.0, chunks=2), model="good")
    answered = ask(http, "good", stream=stream)
    assert said(answered) == "hello out there"
    assert '"model":"good"' in answered.text


def test_bytes_beyond_the_content_length_do_not_corrupt_the_next_answer(http, provider):
    provider.orders.queue(Behaviour(fault=Fault.CONTENT_LENGTH_TOO_SHORT), model="lonely")
    ask(http, "lonely", num_retries=0)
    assert said(ask(http, "lonely", text="the next one")) == "the next one"


def test_refused_stream_options_are_dropped_on_retry_and_remembered(http, provider):
    provider.orders.always(Behaviour(fault=Fault.REJECT_STREAM_OPTIONS), model="lonely")
    before = len(provider.requests)
    assert said(ask(http, "lonely", stream=True)) == "hello out there"
    assert said(ask(http, "lonely", stream=True)) == "hello out there"
    assert len(provider.requests) - before == 3


def test_the_timeout_of_the_request_overrides_the_deployments(http, provider):
    provider.orders.always(Behaviour(delay=1.5), model="lonely")
    assert ask(http, "lonely", timeout=5).status_code == 200
    assert ask(http, "lonely", timeout=0.2, num_retries=0).status_code == 504


def test_every_failed_attempt_is_one_log_line(http, provider, running):
    provider.orders.always(failing(500), model="broken")
    request_id = "log-test-" + str(time.monotonic_ns())
    http.post(
        "/v1/chat/completions",
        headers={"x-request-id": request_id},
        json={"model": "broken", "messages": [{"role": "user", "content": "a secret prompt"}]},
    )
    deadline = time.monotonic() + 5
    lines: list[dict] = []
    while len(lines) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
        lines = [json.loads(line) for line in running.log().splitlines() if request_id in line]
    assert [line.get("outcome", line["event"]) for line in lines] == ["server", "server", "request_finished"]
    assert "a secret prompt" not in running.log()
