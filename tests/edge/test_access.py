"""Access control at the Worker, and the headers that reach the container."""

from pathlib import Path

import httpx
import pytest

from dev.edge import OfflineEdge

from .conftest import MASTER_KEY, SHIPPED_CONFIG, V8_FLAGS, Edge, StartEdge, wait_for
from .stand_in import Events, image

CHAT = "/v1/chat/completions"
ECHO = {"model": "echo"}
BEARER = {"authorization": f"Bearer {MASTER_KEY}"}
APP = "https://app.example"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Events:
    return Events(tmp_path_factory.mktemp("stand-in") / "events")


@pytest.fixture(scope="module")
def deployed(start_module_edge: StartEdge, events: Events) -> Edge:
    """A production edge: no local development, one allowed CORS origin."""
    variables = {"CORS_ALLOW_ORIGINS": f"{APP}, https://chat.example", "OPENAI_API_KEY": "sk-of-the-provider"}
    return start_module_edge(image=image(events), vars=variables, local=False)


@pytest.fixture(scope="module")
def anonymous(deployed: Edge):
    with httpx.Client(base_url=deployed.url, timeout=30) as client:
        yield client


def error_of(response: httpx.Response) -> dict:
    """Checks that the response is a well-formed API error and returns the error."""
    body = response.json()
    assert set(body) - {"type"} == {"error"}, "Anthropic's have a type beside it"
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-request-id"]
    return body["error"]


def test_health_needs_no_key_and_wakes_no_container(start_edge: StartEdge, tmp_path: Path):
    asleep = Events(tmp_path / "events")
    url = start_edge(SHIPPED_CONFIG, image=image(asleep), vars={"OPENAI_API_KEY": "sk-x"}, local=False).url
    health = httpx.get(url + "/health")
    assert health.status_code == 200
    assert health.json()["status"] == "healthy"
    assert health.json()["container"] == "sleeping"
    assert {"mock", "gpt-4o"} <= set(health.json()["models"])
    assert "claude-sonnet" not in health.json()["models"]  # its key is not set
    for path in ("/", "/health/liveliness", "/health/readiness"):
        response = httpx.get(url + path)
        assert response.status_code == 200
        assert response.json()["status"] == "healthy"
        assert response.headers["x-request-id"]
    for path in ("/v1/models", CHAT, "/nothing"):
        httpx.get(url + path)
    assert asleep.of("start") == []


def test_head_requests(deployed: Edge, anonymous: httpx.Client):
    for response in (anonymous.head("/"), anonymous.head("/health"), deployed.client.head("/v1/models")):
        assert response.status_code == 200
        assert response.content == b""
    assert anonymous.head("/nothing").status_code == 404


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", "/v1/embeddings", "/v1/messages"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-wrong"}, {"x-api-key": "sk-1234"}])
def test_a_missing_or_wrong_key_is_refused(anonymous: httpx.Client, path: str, headers: dict[str, str]):
    response = anonymous.post(path, json=ECHO, headers=headers)
    assert response.status_code == 401
    error = error_of(response)
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert MASTER_KEY not in response.text


@pytest.mark.parametrize(
    "headers", [BEARER, {"authorization": f"bearer  {MASTER_KEY}"}, {"x-api-key": MASTER_KEY}, {"api-key": MASTER_KEY}]
)
def test_a_key_is_accepted_in_each_of_its_headers(deployed: Edge, anonymous: httpx.Client, headers: dict[str, str]):
    for path in (CHAT, "/chat/completions"):
        response = anonymous.post(path, json=ECHO, headers=headers)
        assert response.status_code == 200
        assert response.json()["path"] == path


def test_unknown_path_and_wrong_method(deployed: Edge):
    assert error_of(deployed.client.get("/v1/nothing"))["code"] == "unknown_url"
    # The normalized path is what is looked up: encoded paths do not get around the table.
    for path in ("/v1/models/../../internal/x", "/v1/models/%2e%2e/%2e%2e/model/new", "//v1/models", "/v1//models"):
        response = deployed.client.send(httpx.Request("GET", deployed.url + path, headers=BEARER))
        assert response.status_code == 404, path
    response = deployed.client.get(CHAT)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert error_of(response)["code"] == "method_not_allowed"
    assert deployed.client.delete("/health").status_code == 405


def test_the_key_admin_api_needs_the_master_key(deployed: Edge, anonymous: httpx.Client):
    made = deployed.client.post("/key/generate", json={"key_alias": "mine"})
    assert made.status_code == 200
    assert made.headers["cache-control"] == "no-store"
    assert deployed.client.get("/v1/global/spend").status_code == 200
    assert anonymous.get("/key/list").status_code == 401
    assert anonymous.get("/key/list", headers={"x-api-key": "sk-nobodys"}).status_code == 401
    for path in ("/key/list", "/spend/logs", "/global/spend"):
        refused = anonymous.get(path, headers={"x-api-key": made.json()["key"]})
        assert refused.status_code == 403
        assert error_of(refused)["type"] == "permission_error"


def test_a_model_id_keeps_its_slashes(deployed: Edge, events: Events):
    for path in ("/v1/models/azure/gpt-4o", "/v1/models/azure%2Fgpt-4o?x=1&y=%20"):
        assert deployed.client.get(path).status_code == 200
        assert events.of("request")[-1]["path"] == path


def test_a_body_of_forty_megabytes_is_refused(deployed: Edge):
    body = b"x" * (40 * 1024 * 1024)
    response = deployed.client.post(CHAT, content=body)
    assert response.status_code == 413
    assert "32 MB" in error_of(response)["message"]
    assert httpx.post(deployed.url + CHAT, content=body).status_code == 401
    assert deployed.client.post(CHAT, json=ECHO).status_code == 200


def test_models_are_public_only_if_configured(start_edge: StartEdge, anonymous: httpx.Client, tmp_path: Path):
    assert anonymous.get("/v1/models").status_code == 401
    public = start_edge(image=image(Events(tmp_path / "events")), vars={"PUBLIC_MODELS": "true"}, local=False)
    assert httpx.get(public.url + "/v1/models").status_code == 200
    assert httpx.get(public.url + "/models/mock").status_code == 200
    assert httpx.post(public.url + CHAT, json=ECHO).status_code == 401


@pytest.mark.parametrize("master_key", [None, "", "sk-1234"])
def test_without_a_usable_master_key_only_health_is_served(start_edge: StartEdge, tmp_path: Path, master_key):
    events = Events(tmp_path / "events")
    url = start_edge(image=image(events), vars={"LITELLM_MASTER_KEY": master_key}, local=False).url
    assert httpx.get(url + "/health").status_code == 200
    assert httpx.get(url + "/").status_code == 200
    assert httpx.get(url + "/health/readiness").status_code == 503
    for headers in ({}, {"authorization": f"Bearer {master_key or 'none'}"}, {"authorization": "Bearer undefined"}):
        for response in (httpx.get(url + "/v1/models", headers=headers), httpx.post(url + CHAT, json=ECHO)):
            assert response.status_code == 503
            assert response.headers["retry-after"] == "60"
            assert "LITELLM_MASTER_KEY" in error_of(response)["message"]
    assert events.of("start") == []


def test_the_default_development_key_works_only_locally(start_edge: StartEdge, tmp_path: Path):
    events = Events(tmp_path / "events")
    url = start_edge(image=image(events), vars={"LITELLM_MASTER_KEY": "sk-1234"}, local=True).url
    assert httpx.get(url + "/v1/models").status_code == 200
    assert httpx.post(url + CHAT, json=ECHO).status_code == 401
    assert httpx.post(url + CHAT, json=ECHO, headers={"authorization": "Bearer sk-1234"}).status_code == 200


def test_client_credentials_are_not_forwarded(deployed: Edge, events: Events):
    stays = {
        "x-api-key": "sk-other",
        "api-key": "sk-third",
        "cookie": "session=secret",
        "x-internal-token": "guessed",
        "x-internal-no-instance": "1",
        "x-litellm-api-key": "sk-fourth",
        "x-litellm-tags": "a",
        "origin": APP,
        "connection": "keep-alive",
        "expect": "100-continue",
    }
    goes = {"openai-organization": "org-1", "content-type": "application/json", "x-custom": "kept"}
    response = deployed.client.post(CHAT, content=b'{"model":"echo"}', headers={**stays, **goes})
    assert response.status_code == 200
    seen = response.json()["headers"]
    assert goes.items() <= seen.items()
    start = events.of("start")[-1]
    assert seen["x-internal-token"] == start["environment"]["INTERNAL_TOKEN"]
    assert len(seen["x-internal-token"]) >= 32
    assert not (set(stays) - {"x-internal-token", "connection"} | {"authorization"}) & set(seen)
    assert MASTER_KEY not in str(seen)


def test_headers_that_the_container_receives(deployed: Edge, events: Events):
    deployed.client.post(CHAT, json=ECHO)
    environment = events.of("start")[-1]["environment"]
    assert environment["OPENAI_API_KEY"] == "sk-of-the-provider"
    assert "INTERNAL_TOKEN" in environment
    assert not {"LITELLM_MASTER_KEY", "ANTHROPIC_API_KEY"} & set(environment)
    assert MASTER_KEY not in str(environment)


def test_request_ids_are_validated_generated_and_returned(deployed: Edge, anonymous: httpx.Client, events: Events):
    mine = "my-request-0001"
    response = deployed.client.post(CHAT, json=ECHO, headers={"x-request-id": mine})
    assert response.headers["x-request-id"] == response.json()["headers"]["x-request-id"] == mine
    # An id that could forge a log line is replaced, and a missing one is generated, in errors too.
    made = deployed.client.post(CHAT, json=ECHO, headers={"x-request-id": 'x" forged'})
    assert made.headers["x-request-id"] == made.json()["headers"]["x-request-id"] != 'x" forged'
    assert anonymous.post(CHAT, headers={"x-request-id": mine}).headers["x-request-id"] == mine
    # The edge adds it; the container did not send it.
    response = deployed.client.post(CHAT, json={"model": "length"}, headers={"x-request-id": mine})
    assert response.headers["x-request-id"] == mine


def test_the_containers_response_is_passed_through_unchanged(deployed: Edge):
    response = deployed.client.post(CHAT, json={"model": "teapot"})
    assert response.status_code == 418
    assert response.json() == {"short": "stout"}
    assert response.headers["retry-after"] == "7"
    assert response.headers["x-own"] == "kept"


def test_preflight_requests(anonymous: httpx.Client):
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    allowed = anonymous.options(CHAT, headers={"origin": APP, **asks})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == APP
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["access-control-allow-headers"] == asks["access-control-request-headers"]
    stranger = anonymous.options(CHAT, headers={"origin": "https://evil.example", **asks})
    assert "access-control-allow-origin" not in stranger.headers
    assert "access-control-allow-methods" not in stranger.headers


def test_responses_and_errors_have_cors_headers(deployed: Edge, anonymous: httpx.Client):
    answered = deployed.client.post(CHAT, json=ECHO, headers={"origin": APP})
    refused = anonymous.post(CHAT, json=ECHO, headers={"origin": APP})
    health = anonymous.get("/health", headers={"origin": APP})
    assert (answered.status_code, refused.status_code, health.status_code) == (200, 401, 200)
    for response in (answered, refused, health):
        assert response.headers["access-control-allow-origin"] == APP
        assert "x-request-id" in response.headers["access-control-expose-headers"]
        assert response.headers["vary"].lower() == "origin"


def test_an_unknown_origin_gets_no_cors_headers(deployed: Edge):
    response = deployed.client.post(CHAT, json=ECHO, headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["vary"].lower() == "origin"


def test_origins_from_the_config(start_edge: StartEdge, tmp_path: Path):
    config = {
        "model_list": [{"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "hi"}}],
        "general_settings": {"allowed_origins": [APP]},
    }
    url = start_edge(config, image=image(Events(tmp_path / "events"))).url
    assert httpx.get(url + "/health", headers={"origin": APP}).headers["access-control-allow-origin"] == APP
    other = httpx.get(url + "/health", headers={"origin": "https://chat.example"})
    assert "access-control-allow-origin" not in other.headers


def test_an_internal_error_shows_no_stack_trace(tmp_path: Path):
    lines: list[str] = []
    broken = {"catalog.py": 'CATALOG = {"secret": "sk-hidden"}'}
    edge = OfflineEdge(
        tmp_path, {"LITELLM_MASTER_KEY": MASTER_KEY}, None, replaced=broken, log=lines.append, v8_flags=V8_FLAGS
    )
    assert edge.start() == 500
    try:
        response = httpx.post(edge.url + CHAT, json=ECHO, headers=BEARER)
        assert response.status_code == 500
        error = error_of(response)
        assert error["type"] == "server_error"
        assert response.headers["x-request-id"] in error["message"]
        assert "Traceback" not in response.text
        assert "KeyError" not in response.text
        name = response.headers["x-request-id"]
        wait_for(lambda: any("edge_failed" in line and name in line for line in lines), "its line in the log")
    finally:
        edge.stop()


def test_no_secret_is_logged(deployed: Edge, events: Events):
    deployed.client.post(CHAT, json=ECHO)
    token = events.of("start")[-1]["environment"]["INTERNAL_TOKEN"]
    log = deployed.log()
    assert "container_ready" in log
    for secret in (MASTER_KEY, "sk-of-the-provider", token):
        assert secret not in log
