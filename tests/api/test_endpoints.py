"""The endpoint table: paths and methods."""

import pytest

from worker.core.api.endpoints import TABLE, dashboard_file, dialect_of, find, model_id, path_of, response_id
from worker.core.api.errors import ApiError

POSTED = {
    "/chat/completions": "chat_completions",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/messages": "messages",
    "/messages/count_tokens": "count_tokens",
    "/responses": "responses",
    "/responses/compact": "compact",
    "/responses/input_tokens": "input_tokens",
    "/dashboard/sign-out": "sign_out",
    "/images/generations": "image_generation",
    "/images/edits": "image_edit",
    "/images/variations": "image_variation",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcription",
    "/audio/translations": "translation",
    "/rerank": "rerank",
    "/moderations": "moderations",
}
READ = {
    "/": "root",
    "/health": "health",
    "/health/liveliness": "liveliness",
    "/health/liveness": "liveness",
    "/health/readiness": "readiness",
    "/openapi.json": "openapi",
    "/dashboard": "dashboard",
    "/models": "models",
    "/metrics": "metrics",
    "/dashboard/session": "session",
    "/dashboard/sign-in": "sign_in",
    "/dashboard/sign-in/callback": "sign_in_callback",
}
SIGN_IN = {"session", "sign_in", "sign_in_callback", "sign_out"}


def refusal(method: str, path: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        find(method, path)
    return caught.value


def test_the_table_matches_the_documented_paths():
    assert {e.path for e in TABLE.values() if not e.admin} == POSTED.keys() | READ.keys()


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(("path", "name"), POSTED.items())
def test_endpoints_that_take_post(prefix, path, name):
    assert find("POST", prefix + path).name == name
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        error = refusal(method, prefix + path)
        assert (error.status, error.headers) == (405, [("allow", "POST")])


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(("path", "name"), READ.items())
def test_endpoints_that_take_get(prefix, path, name):
    for method in ("GET", "HEAD"):
        assert find(method, prefix + path).name == name
    assert refusal("POST", prefix + path).headers == [("allow", "GET, HEAD")]


@pytest.mark.parametrize("path", ["/responses", "/v1/responses"])
def test_a_websocket_for_responses_is_refused_with_advice_to_use_http(path):
    with pytest.raises(ApiError) as caught:
        find("GET", path, "WebSocket")
    assert (caught.value.status, caught.value.code) == (426, "websocket_not_supported")
    assert dict(caught.value.headers)["upgrade"] == "HTTP/1.1"


@pytest.mark.parametrize(
    ("method", "path", "upgrade", "status"),
    [
        ("GET", "/responses", None, 405),
        ("GET", "/responses", "h2c", 405),
        ("GET", "/chat/completions", "websocket", 405),
    ],
)
def test_other_upgrades_are_ignored(method, path, upgrade, status):
    with pytest.raises(ApiError) as caught:
        find(method, path, upgrade)
    assert caught.value.status == status


def test_only_health_openapi_and_the_dashboard_are_public():
    public = {"root", "health", "liveliness", "liveness", "readiness", "openapi", "dashboard", *SIGN_IN}
    assert {e.name for e in TABLE.values() if e.public} == public


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_the_dashboards_files_have_their_own_paths(prefix):
    endpoint = find("GET", prefix + "/dashboard/main.js")
    assert (endpoint.name, endpoint.public, endpoint.admin) == ("dashboard_file", True, False)
    assert dashboard_file(prefix + "/dashboard/main.js") == "main.js"
    assert dashboard_file(prefix + "/dashboard") is None
    assert refusal("POST", prefix + "/dashboard/main.js").status == 405


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://g.example/v1/messages", "anthropic"),
        ("https://g.example/messages/count_tokens?beta=true", "anthropic"),
        ("https://g.example/v1/chat/completions", "openai"),
        ("https://g.example/v1/messages/x", "openai"),
        ("https://g.example", "openai"),
        ("https://g.example/v1beta/models/gpt-4o:generateContent?alt=sse", "google"),
        ("https://g.example/models/azure/gpt-4o:countTokens", "google"),
        ("https://g.example/v1beta/nothing", "google"),
        ("https://g.example/v1alpha", "google"),
        ("https://g.example/v1betamax/models", "openai"),
        ("https://g.example/v1/models/gpt-4o", "openai"),
    ],
)
def test_a_path_decides_the_format_of_errors(url, expected):
    assert dialect_of(path_of(url)) == expected


def test_the_engine_serves_unconverted_endpoints():
    text = {"chat_completions", "completions", "embeddings", "messages", "count_tokens"}
    ours = {*text, "responses", "compact", "input_tokens", "sign_out", *READ.values()}
    assert {e.name for e in TABLE.values() if not (e.engine or e.admin)} == ours


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(
    ("tail", "name", "methods"),
    [
        ("", "response", {"GET", "HEAD", "DELETE"}),
        ("/cancel", "cancel_response", {"POST"}),
        ("/input_items", "input_items", {"GET", "HEAD"}),
    ],
)
def test_a_response_has_its_own_paths(prefix, tail, name, methods):
    path = f"{prefix}/responses/resp_1{tail}"
    for method in ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH"):
        if method in methods:
            endpoint = find(method, path)
            assert (endpoint.name, endpoint.public, endpoint.billable) == (name, False, False)
        else:
            assert refusal(method, path).status == 405
    assert response_id(path) == "resp_1"


@pytest.mark.parametrize("path", ["/responses/", "/responses/a/b", "/responses/a/cancel/", "/responses//cancel"])
def test_other_paths_below_responses_do_not_exist(path):
    assert refusal("GET", path).status == 404


def test_what_costs_money_needs_admission():
    billable = {e.name for e in TABLE.values() if e.billable}
    assert billable == set(POSTED.values()) - {"sign_out"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/gpt-4o", "gpt-4o"),
        ("/models/azure/gpt-4o", "azure/gpt-4o"),
        ("/v1/models/azure%2Fgpt%204o", "azure/gpt 4o"),
        ("/v1/models/models/x", "models/x"),
        ("/v1/models/%C3%BC", "ü"),
        ("/v1/models/%ff", "\ufffd"),
    ],
)
def test_a_model_has_its_own_path(path, name):
    endpoint = find("GET", path)
    assert (endpoint.name, endpoint.public, endpoint.engine) == ("model", False, False)
    assert model_id(path) == name
    assert refusal("DELETE", path).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/v1",
        "/v2/models",
        "/V1/models",
        "/Models",
        "/models/",
        "/v1/models/",
        "//models",
        "/v1//models",
        "/v1/v1/models",
        "/v1/./models",
        "/v1/x/../models",
        "/v1%2Fmodels",
        "/%6dodels",
        "/models?x=1",
        "/health/",
        "/chat/completions/",
        "/key/delete/all",
        "/dashboard/",
        "/dashboard/a/b.js",
        "/dashboard/../main.js",
        "/dashboard/%2e%2e",
        "/v1/files",
        "/internal/park",
        "*",
        "http://host/v1/models",
    ],
)
def test_any_other_path_is_404(path):
    error = refusal("GET", path)
    assert (error.status, error.code) == (404, "unknown_url")
