"""HTTP errors of the gateway."""

import pytest

from tests.container.raw import Connection
from tests.container.serve.support import AUTHORIZED, CHAT, get, models, post, refused
from tests.processes import MASTER_KEY


@pytest.mark.parametrize("raw", [b"{", b"", b"[]", b'"x"', b"\xff", b"model=gpt", b'{"model": "gpt", "messages": NaN}'])
def test_invalid_json_is_400(gateway, raw):
    refused(post(gateway, raw=raw), 400, "invalid_request_error")


@pytest.mark.parametrize("path", [CHAT, "/v1/rerank", "/v1/responses", "/v1/images/generations"])
def test_missing_or_non_text_model_is_400(gateway, path):
    for raw in (b'{"messages": []}', b'{"model": 5}', b'{"model": null}'):
        refused(post(gateway, path, raw=raw), 400, "invalid_request_error", "missing_model")


@pytest.mark.parametrize("path", [CHAT, "/v1/rerank", "/v1/audio/transcriptions"])
def test_unknown_model_is_404_and_lists_the_models(gateway, path):
    answer = post(gateway, path, raw=None if path == CHAT else b'{"model": "nonesuch"}', model="nonesuch")
    said = refused(answer, 404, "invalid_request_error", "model_not_found")
    assert "'nonesuch'" in said
    assert all(name in said for name in ("gpt", "claude", "free/*", "mock"))
    assert answer.json["error"]["param"] == "model"


def test_disabled_model_error_names_the_missing_variable(gateway):
    answer = post(gateway, model="off")
    assert "set GROQ_API_KEY" in refused(answer, 503, "service_unavailable")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "path",
    ["/v2/models", "/nonesuch", "/v1", "/v1//models", "/v1/chat/completions/", "/v1/../health", "/v1/%6dodels",
     "/key/nonesuch", "/v1/files", "/config/update", "/health/", "/metrics/", "/v1/v1/models"],
)  # fmt: skip
def test_unknown_path_is_404(gateway, path):
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
        ("PATCH", "/v1/responses", "POST"),
    ],
)
def test_wrong_method_is_405_with_allow(gateway, method, path, allow):
    answer = get(gateway, path, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    if method != "HEAD":
        refused(answer, 405, "invalid_request_error", "method_not_allowed")


def test_body_of_40_mb_is_413_and_the_connection_stays_usable(proxy, provider):
    gateway = proxy(models(provider))
    with Connection(gateway.port, timeout=30) as connection:
        connection.request("POST", CHAT, AUTHORIZED, b"x" * (40 * 1024 * 1024))
        said = refused(connection.answer(), 413, "invalid_request_error", "body_too_large")
    assert "32 MB" in said
    assert post(gateway).status == 200


def test_chunked_body_over_the_limit_is_413(gateway):
    with Connection(gateway.port) as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MASTER_KEY}\r\n"
        connection.send(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        connection.send(b"0\r\n\r\n")
        refused(connection.answer(), 413, "invalid_request_error", "body_too_large")


def test_missing_key_is_reported_before_the_body_is_read(gateway):
    with Connection(gateway.port) as connection:
        connection.request("POST", CHAT, {"content-length": "1000000"})
        refused(connection.answer(), 401, "authentication_error")


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "", "application/json; charset=x"]
)
def test_json_is_read_with_any_content_type(gateway, content_type):
    assert post(gateway, headers={**AUTHORIZED, "content-type": content_type}).status == 200


def test_errors_contain_the_clients_request_id(gateway):
    answer = post(gateway, headers={"x-request-id": "my-request-1"})
    assert answer.headers["x-request-id"] == "my-request-1"
