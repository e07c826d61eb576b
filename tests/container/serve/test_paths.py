"""Paths, methods and connections."""

import orjson
import pytest

from tests.container.raw import Connection
from tests.container.serve.support import AUTHORIZED, CHAT, MESSAGES, get, post, refused


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", "/v1/chat/completions?api-version=1&x=%2F"])
def test_prefix_and_query_do_not_matter(gateway, path):
    assert post(gateway, path).json["choices"][0]["message"]["content"] == "Hello there"


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/models/gpt", "/health", "/"])
def test_head_is_get_without_the_body(gateway, path):
    whole, head = get(gateway, path), get(gateway, path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body))


def test_models_are_those_that_can_be_called(gateway):
    listed = get(gateway, "/v1/models").json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]][:3] == ["gpt", "claude", "mock"]
    assert get(gateway, "/v1/models/gpt").json["id"] == "gpt"
    assert get(gateway, "/v1/models/free/a%2Fb").json["id"] == "free/a/b"
    said = refused(get(gateway, "/v1/models/off"), 503, "service_unavailable", "service_unavailable")
    assert said == refused(post(gateway, model="off"), 503, "service_unavailable")
    assert "GROQ_API_KEY" in said
    refused(get(gateway, "/v1/models/nonesuch"), 404, "invalid_request_error", "model_not_found")


def test_connection_serves_consecutive_requests(gateway):
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


def test_pipelined_requests_are_answered_in_order(gateway):
    with Connection(gateway.port) as connection:
        for name in ("gpt", "mock", "nonesuch"):
            connection.request("POST", CHAT, AUTHORIZED, orjson.dumps({"model": name, "messages": MESSAGES}))
        answers = [connection.answer() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 404]
    assert [answer.json["choices"][0]["message"]["content"] for answer in answers[:2]] == ["Hello there", "Hello!"]


def test_websocket_is_not_served(gateway):
    headers = {**AUTHORIZED, "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "x" * 24}
    refused(get(gateway, "/v1/realtime", headers), 404, "invalid_request_error")


def test_model_name_that_no_header_can_carry_is_still_served(gateway):
    answer = post(gateway, model="free/a\nb: ü")
    assert answer.status == 200
    assert answer.json["model"] == "free/a\nb: ü"
    assert answer.headers["x-litellm-model-group"] == "free/a?b: ?"


def test_body_that_cannot_be_serialized_again_is_rejected(gateway):
    deep = b"[" * 500 + b"]" * 500
    raw = b'{"model": "gpt", "messages": [{"role": "user", "content": "x"}], "stop": ["a"], "logit_bias": {"a": '
    raw += deep + b"}}"
    assert "nested" in refused(post(gateway, raw=raw), 400, "invalid_request_error")
