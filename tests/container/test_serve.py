"""The proxy as a process: what a client on the wire gets, with a key and without."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from container.upstream.events import payload, split
from tests.container.raw import Answer, Connection, ask
from tests.fakes import Behaviour, FakeProvider, failing
from tests.processes import MASTER_KEY, ROOT, RunningProxy, StartProxy, free_tcp_port

PROVIDER_KEY = "sk-provider-0123456789abcdef"
MESSAGES = [{"role": "user", "content": "Hello there"}]
CHAT = "/v1/chat/completions"
ENDLESS = Behaviour(text="x" * 1000, pace=0.1, chunks=1000)  # 100 s
AUTHORIZED = {"authorization": f"Bearer {MASTER_KEY}"}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


def models(provider: FakeProvider, **more: Any) -> dict[str, Any]:
    def at_provider(name: str, model: str) -> dict[str, Any]:
        params = {"model": model, "api_base": provider.openai_base, "api_key": PROVIDER_KEY}
        return {"model_name": name, "litellm_params": params}

    return {
        "model_list": [
            at_provider("gpt", "openai/gpt-4o"),
            at_provider("claude", "openai/stands-for-claude"),
            at_provider("free/*", "openai/*"),
            {"model_name": "off", "litellm_params": {"model": "groq/x"}},
            {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}},
        ],
        "router_settings": {"fallbacks": [{"claude": ["gpt", "mock"]}], "num_retries": 0, "disable_cooldowns": True},
        **more,
    }


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, provider: FakeProvider) -> RunningProxy:
    """One proxy for the tests that only ask; it takes bodies up to 1 MB and pages of one origin."""
    environment = {"MAX_BODY_MB": "1", "CORS_ALLOW_ORIGINS": "https://app.example"}
    return module_proxy(models(provider), environment=environment)


@pytest.fixture(autouse=True)
def a_provider_that_behaves(provider: FakeProvider) -> None:
    provider.reset()


def post(
    gateway: RunningProxy, path: str = CHAT, headers=AUTHORIZED, raw: bytes | None = None, **fields: Any
) -> Answer:
    body = raw if raw is not None else orjson.dumps({"model": "gpt", "messages": MESSAGES, **fields})
    return ask(gateway.port, "POST", path, headers, body)


def get(gateway: RunningProxy, path: str, headers=AUTHORIZED, method: str = "GET") -> Answer:
    return ask(gateway.port, method, path, headers)


def refused(answer: Answer, status: int, type: str, code: str | None = None) -> str:
    """The message of a refusal in the one shape there is."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error"}
    error = answer.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == type
    assert code is None or error["code"] == code
    assert answer.headers["x-request-id"]
    return error["message"]


# Keys


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_a_key_may_be_in_any_of_three_headers(gateway, header):
    prefix = "Bearer " if header == "authorization" else ""
    assert post(gateway, headers={header: prefix + MASTER_KEY}).status == 200
    refused(post(gateway, headers={header: prefix + "sk-wrong"}), 401, "authentication_error", "invalid_api_key")


def test_no_key_is_401_and_wakes_no_provider(gateway, provider):
    said = refused(post(gateway, headers={}), 401, "authentication_error", "invalid_api_key")
    assert "Authorization: Bearer" in said
    assert get(gateway, "/v1/models", {}).headers["www-authenticate"] == "Bearer"
    assert provider.requests == []


def test_the_clients_credentials_do_not_reach_the_provider(gateway, provider):
    headers = {**AUTHORIZED, "x-api-key": "mine", "cookie": "a=b", "x-internal-token": "x", "x-litellm-tags": "a"}
    assert post(gateway, headers=headers).status == 200
    seen = provider.last.headers
    assert seen["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert not {"x-api-key", "cookie", "x-internal-token", "x-litellm-tags"} & {name.lower() for name in seen}


@pytest.mark.parametrize("path", ["/", "/v1/", "/health", "/health/liveliness", "/health/readiness", "/v1/health"])
def test_health_needs_no_key(gateway, path):
    assert get(gateway, path, {}).json["status"] == "healthy"


# The table of errors


@pytest.mark.parametrize("raw", [b"{", b"", b"[]", b'"x"', b"\xff", b"model=gpt", b'{"model": "gpt", "messages": NaN}'])
def test_what_is_no_json_object_is_400(gateway, raw):
    refused(post(gateway, raw=raw), 400, "invalid_request_error")


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses", "/v1/images/generations"])
def test_a_model_that_is_missing_or_no_text_is_400(gateway, path):
    for raw in (b'{"messages": []}', b'{"model": 5}', b'{"model": null}'):
        refused(post(gateway, path, raw=raw), 400, "invalid_request_error", "missing_model")


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/audio/transcriptions"])
def test_an_unknown_model_is_404_naming_those_there_are(gateway, path):
    answer = post(gateway, path, model="nonesuch")
    said = refused(answer, 404, "invalid_request_error", "model_not_found")
    assert "'nonesuch'" in said
    assert all(name in said for name in ("gpt", "claude", "free/*", "mock"))
    assert answer.json["error"]["param"] == "model"


def test_a_model_that_is_off_says_which_variable_to_set(gateway):
    answer = post(gateway, model="off")
    assert "set GROQ_API_KEY" in refused(answer, 503, "service_unavailable")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "path",
    ["/v2/models", "/nonesuch", "/v1", "/v1//models", "/v1/chat/completions/", "/v1/../health", "/v1/%6dodels",
     "/key/nonesuch", "/v1/files", "/config/update", "/health/", "/metrics", "/v1/v1/models"],
)  # fmt: skip
def test_an_unknown_path_is_404(gateway, path):
    refused(get(gateway, path), 404, "invalid_request_error")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("HEAD", "/chat/completions", "POST"),
        ("PUT", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/v1/models/gpt", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
        ("OPTIONS", CHAT, "POST"),
        ("PATCH", "/v1/messages", "POST"),
    ],
)
def test_a_wrong_method_is_405_with_allow(gateway, method, path, allow):
    answer = get(gateway, path, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    if method != "HEAD":
        refused(answer, 405, "invalid_request_error", "method_not_allowed")


def test_a_body_of_40_mb_is_413_and_the_connection_still_serves(proxy, provider):
    gateway = proxy(models(provider))
    with Connection(gateway.port, timeout=30) as connection:
        connection.request("POST", CHAT, AUTHORIZED, b"x" * (40 * 1024 * 1024))
        said = refused(connection.answer(), 413, "invalid_request_error", "body_too_large")
    assert "32 MB" in said
    assert post(gateway).status == 200


def test_a_body_over_the_limit_that_names_no_length_is_413(gateway):
    with Connection(gateway.port) as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MASTER_KEY}\r\n"
        connection.send(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        connection.send(b"0\r\n\r\n")
        refused(connection.answer(), 413, "invalid_request_error", "body_too_large")


def test_who_has_no_key_learns_that_before_a_body_is_read(gateway):
    with Connection(gateway.port) as connection:
        connection.request("POST", CHAT, {"content-length": "1000000"})
        refused(connection.answer(), 401, "authentication_error")


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "", "application/json; charset=x"]
)
def test_json_is_read_whatever_its_content_type(gateway, content_type):
    assert post(gateway, headers={**AUTHORIZED, "content-type": content_type}).status == 200


def test_errors_hold_the_clients_request_id(gateway):
    answer = post(gateway, headers={"x-request-id": "my-request-1"})
    assert answer.headers["x-request-id"] == "my-request-1"


# Paths and methods


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", "/v1/chat/completions?api-version=1&x=%2F"])
def test_the_prefix_and_a_query_do_not_matter(gateway, path):
    assert post(gateway, path).json["choices"][0]["message"]["content"] == "Hello there"


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/models/gpt", "/health", "/"])
def test_head_is_get_without_the_body(gateway, path):
    whole, head = get(gateway, path), get(gateway, path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body))


def test_the_models_are_those_that_can_be_asked(gateway):
    listed = get(gateway, "/v1/models").json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["gpt", "claude", "mock"]
    assert get(gateway, "/v1/models/gpt").json["id"] == "gpt"
    assert get(gateway, "/v1/models/free/a%2Fb").json["id"] == "free/a/b"
    refused(get(gateway, "/v1/models/off"), 404, "invalid_request_error", "model_not_found")
    refused(get(gateway, "/v1/models/nonesuch"), 404, "invalid_request_error", "model_not_found")


def test_a_connection_serves_one_request_after_another(gateway):
    with Connection(gateway.port) as connection:
        for fields, status in (
            ({}, 200),
            ({"model": "nonesuch"}, 404),
            ({"stream": True}, 200),
            ({"n": 0}, 400),
            ({}, 200),
        ):
            connection.request("POST", CHAT, AUTHORIZED, orjson.dumps({"model": "gpt", "messages": MESSAGES, **fields}))
            assert connection.answer().status == status


def test_requests_sent_ahead_are_answered_in_order(gateway):
    with Connection(gateway.port) as connection:
        for name in ("gpt", "mock", "nonesuch"):
            connection.request("POST", CHAT, AUTHORIZED, orjson.dumps({"model": name, "messages": MESSAGES}))
        answers = [connection.answer() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 404]
    assert [answer.json["choices"][0]["message"]["content"] for answer in answers[:2]] == ["Hello there", "Hello!"]


def test_a_websocket_is_not_served(gateway):
    headers = {**AUTHORIZED, "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "x" * 24}
    refused(get(gateway, "/v1/realtime", headers), 404, "invalid_request_error")


def test_a_name_that_no_header_can_carry_is_answered_all_the_same(gateway):
    answer = post(gateway, model="free/a\nb: ü")
    assert answer.status == 200
    assert answer.json["model"] == "free/a\nb: ü"
    assert answer.headers["x-litellm-model-group"] == "free/a?b: ?"


def test_what_cannot_be_written_again_is_refused(gateway):
    deep = b"[" * 500 + b"]" * 500
    raw = b'{"model": "gpt", "messages": [{"role": "user", "content": "x"}], "deep": ' + deep + b"}"
    assert "nested" in refused(post(gateway, raw=raw), 400, "invalid_request_error")


# Browsers


def test_an_allowed_page_may_read_answers_and_errors(gateway):
    page = {**AUTHORIZED, "origin": "https://app.example"}
    for answer in (
        post(gateway, headers=page),
        post(gateway, headers=page, model="nonesuch"),
        get(gateway, "/x", page),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


def test_another_page_may_not(gateway):
    answer = post(gateway, headers={**AUTHORIZED, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_a_preflight_needs_no_key(gateway):
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}
    answer = get(gateway, CHAT, {"origin": "https://app.example", **asks}, "OPTIONS")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert "POST" in answer.headers["access-control-allow-methods"]
    stranger = get(gateway, CHAT, {"origin": "https://evil.example", **asks}, "OPTIONS")
    assert "access-control-allow-origin" not in stranger.headers


# Without keys


@pytest.fixture(scope="module")
def keyless(module_proxy: StartProxy, provider: FakeProvider) -> RunningProxy:
    return module_proxy(models(provider), master_key=None)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer anything"}, {"api-key": "x"}, {"host": "[::1]:4000"}]
)
def test_on_loopback_without_a_master_key_everybody_at_this_machine_is_served(keyless, headers):
    assert post(keyless, headers=headers).status == 200
    assert get(keyless, "/v1/models", headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
        {"host": "evil.example:4000", "origin": "http://evil.example:4000"},
        {"host": "localhost.evil.example"},
        {"host": "["},
    ],
)
def test_but_no_web_page_is(keyless, provider, headers):
    refused(post(keyless, headers=headers), 403, "permission_error")
    refused(get(keyless, "/v1/models", headers), 403, "permission_error")
    assert provider.requests == []


def test_a_page_whose_origin_is_allowed_is(proxy, provider):
    gateway = proxy(models(provider), master_key=None, environment={"CORS_ALLOW_ORIGINS": "https://app.example"})
    assert post(gateway, headers={"origin": "https://app.example"}).status == 200
    refused(post(gateway, headers={"origin": "https://evil.example"}), 403, "permission_error")


def test_models_may_be_public(proxy, provider):
    gateway = proxy(models(provider), environment={"PUBLIC_MODELS": "true"})
    assert get(gateway, "/v1/models", {}).status == 200
    assert get(gateway, "/v1/models/gpt", {}).status == 200
    refused(post(gateway, headers={}), 401, "authentication_error")


def test_the_config_may_hold_key_and_origins(proxy, provider):
    settings = {"master_key": "os.environ/MY_KEY", "allowed_origins": ["https://app.example"]}
    content = models(provider, general_settings=settings)
    gateway = proxy(content, master_key=None, environment={"MY_KEY": "sk-from-there"})
    page = {"x-api-key": "sk-from-there", "origin": "https://app.example"}
    assert post(gateway, headers=page).headers["access-control-allow-origin"] == "https://app.example"
    refused(post(gateway, headers={}), 401, "authentication_error")


def test_behind_the_edge_only_the_edge_is_answered(proxy, provider):
    environment = {"INTERNAL_TOKEN": "t0ken", "CORS_ALLOW_ORIGINS": "*"}
    gateway = proxy(models(provider), environment=environment)
    edge = {"x-internal-token": "t0ken", "origin": "https://app.example"}
    answer = post(gateway, headers=edge)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")], "the edge answers browsers"
    for headers in ({}, AUTHORIZED, {"x-internal-token": "wrong"}):
        refused(post(gateway, headers=headers), 401, "authentication_error")
        refused(get(gateway, "/health", headers), 401, "authentication_error")
    assert get(gateway, "/health/readiness", {}).status == 200


# Answers


def test_answers_keep_the_providers_bytes_but_for_the_model(gateway, provider):
    provider.always(Behaviour(text='the "model":"x" \\ ü 🙂\n'))
    assert same_but_for_ids(directly(provider), b"gpt-4o-2026-01-01") == same_but_for_ids(post(gateway).body, b"gpt")


@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(crlf=True), Behaviour(text='"model":"x" 🙂\n\n[DONE]')])
def test_streams_keep_the_providers_bytes_but_for_the_model(gateway, provider, behaviour):
    provider.always(behaviour)
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    theirs, ours = directly(provider, **fields), post(gateway, **fields).body
    assert same_but_for_ids(theirs, b"gpt-4o-2026-01-01") == same_but_for_ids(ours, b"gpt")


def directly(provider: FakeProvider, **fields: Any) -> bytes:
    """The provider's own answer to what the proxy sends it."""
    body = orjson.dumps({"model": "gpt-4o", "messages": MESSAGES, **fields})
    return ask(provider.port, "POST", CHAT, {"authorization": f"Bearer {PROVIDER_KEY}"}, body).body


def same_but_for_ids(raw: bytes, model: bytes) -> bytes:
    """The bytes without what differs from request to request, and with the model's name checked and taken out."""
    raw, times = re.subn(rb'"model":"%s"' % re.escape(model), b'"model":""', raw)
    assert times
    return re.sub(rb'fake-\d+|"created":\d+', b"", raw)


def test_many_streams_at_once_do_not_mix(gateway, provider):
    provider.always(Behaviour(pace=0.01, chunks=20))

    def one(number: int) -> tuple[str, str]:
        text = f"This is the text of request {number}, and of no other one. " * 5
        answer = post(gateway, stream=True, messages=[{"role": "user", "content": text}], model=f"free/m{number}")
        chunks = [chunk for event in split(answer.body) if (chunk := payload(event))]
        assert {chunk["model"] for chunk in chunks} == {f"free/m{number}"}
        return text, "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    with ThreadPoolExecutor(30) as pool:
        for asked, answered in pool.map(one, range(60)):
            assert asked == answered


def test_the_chain_is_followed_and_named(gateway, provider):
    provider.always(failing(500), model="stands-for-claude")
    provider.always(failing(429), model="gpt-4o")
    answer = post(gateway, model="claude")
    assert (answer.status, answer.json["model"]) == (200, "mock")
    assert answer.headers["x-litellm-model-group"] == "mock"
    assert answer.headers["x-litellm-attempted-fallbacks"] == "2"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("stream", [False, True])
def test_no_error_of_a_provider_shows_our_key(gateway, provider, status, stream):
    provider.always(failing(status, message=f"The API key {PROVIDER_KEY} is not good enough."))
    answer = post(gateway, stream=stream)
    assert answer.status == {400: 400, 429: 429, 500: 500}.get(status, 502)
    assert PROVIDER_KEY.encode() not in answer.body
    assert PROVIDER_KEY not in gateway.log()


def test_neither_keys_nor_texts_are_logged(gateway, provider):
    secret = "a prompt that nobody else may read"
    provider.queue(Behaviour(text="an answer that nobody else may read"), failing(500, message="Oh."), Behaviour())
    for fields in ({}, {}, {"stream": True}, {"n": "x"}, {"model": "nonesuch"}):
        post(gateway, **{"messages": [{"role": "user", "content": secret}], **fields})
    post(gateway, headers={"authorization": "Bearer sk-wrong-key"})
    time.sleep(0.3)
    logged = gateway.log()
    assert '"event":"attempt"' in logged
    for text in (secret, "nobody else may read", MASTER_KEY, PROVIDER_KEY, "sk-wrong-key"):
        assert text not in logged
    assert all(json.loads(line)["event"] for line in logged.splitlines())


# The beginning


def test_it_is_ready_within_a_second_and_a_half_and_small_though_it_needs_the_engine(proxy, provider):
    content = models(provider)
    params = {"model": "anthropic/claude-sonnet-4-6", "api_key": "k", "api_base": provider.url}
    content["model_list"].append({"model_name": "engine", "litellm_params": params})
    gateway = proxy(content, wait=False)
    began = time.monotonic()
    while True:
        try:
            if get(gateway, "/health/readiness", {}).status == 200:
                break
        except OSError:
            assert time.monotonic() - began < 10, gateway.log()
        time.sleep(0.01)
    ready = time.monotonic() - began
    assert get(gateway, "/health", {}).json["engine"] == "starting"
    for _ in range(20):
        assert post(gateway, stream=True).status == 200
    assert resident_megabytes(gateway.pid) < 90
    assert ready < 1.5


def resident_megabytes(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def start(path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`serve` where it is expected to end by itself."""
    command = [sys.executable, "-m", "container", "serve", "--config", str(path), *arguments]
    own = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def config_file(tmp_path: Path, provider: FakeProvider) -> Path:
    path = tmp_path / "my_config.yaml"
    path.write_text(yaml.safe_dump(models(provider), sort_keys=False))
    return path


def test_a_port_that_is_taken_ends_it_with_a_sentence(config_file):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = start(config_file, "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"litellm-router: Cannot listen on 127.0.0.1 port {port}: Address already in use. Choose another with --port.\n"
    )


def test_a_broken_config_ends_it_naming_file_line_and_key(config_file):
    config_file.write_text(
        "model_list:\n  - model_name: a\n    litellm_params:\n      model: openai/x\n      rpm: many\n"
    )
    done = start(config_file)
    assert done.returncode == 1
    assert done.stderr.startswith("my_config.yaml:5: model_list[0].litellm_params.rpm: error: has to be a number")
    assert "Traceback" not in done.stderr


def test_without_a_master_key_it_does_not_serve_strangers(config_file):
    done = start(config_file, "--host", "0.0.0.0", "--port", str(free_tcp_port()))
    assert done.returncode == 1
    assert "Without a LITELLM_MASTER_KEY anyone who reaches 0.0.0.0 could spend your money" in done.stderr


def test_what_is_off_is_said_once(gateway):
    lines = [json.loads(line) for line in gateway.log().splitlines() if "models_off" in line]
    assert [(line["level"], line["set"], line["models"]) for line in lines] == [("warning", "GROQ_API_KEY", ["off"])]


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_stream_comes_to_its_end_before_the_proxy_does(proxy, provider, number):
    provider.always(Behaviour(pace=0.1, chunks=15))
    gateway = proxy(models(provider))
    body = orjson.dumps({"model": "gpt", "messages": [{"role": "user", "content": "one " * 30}], "stream": True})
    with Connection(gateway.port) as connection, Connection(gateway.port) as idle:
        idle.request("GET", "/health")
        assert idle.answer("GET").status == 200
        connection.request("POST", CHAT, AUTHORIZED, body)
        assert connection.head().status == 200
        assert connection.chunk()
        os.kill(gateway.pid, number)
        assert idle.closed(), "idle connections are closed at once"
        deadline = time.monotonic() + 5
        while accepts(gateway.port):
            assert time.monotonic() < deadline, "new connections are still taken"
            time.sleep(0.02)
        rest = b""
        while data := connection.chunk():
            rest += data
    assert rest.endswith(b"data: [DONE]\n\n")
    assert gateway.wait() == 0


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_what_does_not_end_in_time_is_ended(proxy, provider):
    provider.always(ENDLESS)
    gateway = proxy(models(provider), environment={"SHUTDOWN_GRACE": "1"})
    with Connection(gateway.port) as connection:
        connection.request(
            "POST", CHAT, AUTHORIZED, orjson.dumps({"model": "gpt", "messages": MESSAGES, "stream": True})
        )
        assert connection.head().status == 200
        began = time.monotonic()
        gateway.terminate()
        assert connection.closed(10)
    assert gateway.wait() == 0
    assert 0.9 < time.monotonic() - began < 6
    provider.wait_for(lambda: provider.last.disconnected_at)


def test_a_second_signal_does_not_wait(proxy, provider):
    provider.always(ENDLESS)
    gateway = proxy(models(provider), environment={"SHUTDOWN_GRACE": "60"})
    with Connection(gateway.port) as connection:
        connection.request(
            "POST", CHAT, AUTHORIZED, orjson.dumps({"model": "gpt", "messages": MESSAGES, "stream": True})
        )
        assert connection.head().status == 200
        gateway.terminate()
        time.sleep(0.3)
        gateway.terminate()
        assert gateway.wait(10) == 0


def test_a_stream_whose_reader_is_slow_holds_the_provider_back(gateway, provider):
    provider.always(Behaviour(text="x" * 40_000_000, chunks=4000))
    with Connection(gateway.port) as connection:
        connection.request(
            "POST", CHAT, AUTHORIZED, orjson.dumps({"model": "gpt", "messages": MESSAGES, "stream": True})
        )
        assert connection.head().status == 200
        before, sent = -1, 0
        while sent != before:
            time.sleep(0.5)
            before, sent = sent, provider.last.events_sent
        assert sent < 3500
        assert resident_megabytes(gateway.pid) < 150
    provider.wait_for(lambda: provider.last.disconnected_at)


def test_bodies_that_break_off_harm_nobody(gateway):
    def half() -> None:
        with Connection(gateway.port) as connection:
            connection.request("POST", CHAT, {**AUTHORIZED, "content-length": "1000"}, b'{"model": "gpt"')

    threads = [threading.Thread(target=half) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert post(gateway).status == 200
    assert "internal_error" not in gateway.log()
