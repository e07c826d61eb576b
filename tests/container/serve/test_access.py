"""Access with and without keys, and from web pages."""

import orjson
import pytest

from container.config.load import load
from container.proxy import catalog
from tests.container.serve.support import AUTHORIZED, CHAT, PROVIDER_KEY, get, models, post, refused
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy, StartProxy


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_key_may_be_in_any_of_three_headers(gateway, header):
    prefix = "Bearer " if header == "authorization" else ""
    assert post(gateway, headers={header: prefix + MASTER_KEY}).status == 200
    refused(post(gateway, headers={header: prefix + "sk-wrong"}), 401, "authentication_error", "invalid_api_key")


def test_missing_key_is_401_and_reaches_no_provider(gateway, provider):
    said = refused(post(gateway, headers={}), 401, "authentication_error", "invalid_api_key")
    assert "Authorization: Bearer" in said
    assert get(gateway, "/v1/models", {}).headers["www-authenticate"] == "Bearer"
    assert provider.requests == []


def test_clients_credentials_do_not_reach_the_provider(gateway, provider):
    headers = {**AUTHORIZED, "x-api-key": "mine", "cookie": "a=b", "x-internal-token": "x", "x-litellm-tags": "a"}
    assert post(gateway, headers=headers).status == 200
    seen = provider.last.headers
    assert seen["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert not {"x-api-key", "cookie", "x-internal-token", "x-litellm-tags"} & {name.lower() for name in seen}


@pytest.mark.parametrize("path", ["/", "/v1/", "/health", "/health/liveliness", "/health/readiness", "/v1/health"])
def test_health_requires_no_key(gateway, path):
    assert get(gateway, path, {}).json["status"] == "healthy"


@pytest.fixture(scope="module")
def keyless(module_proxy: StartProxy, provider: FakeProvider) -> RunningProxy:
    return module_proxy(models(provider), master_key=None)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer anything"}, {"api-key": "x"}, {"host": "[::1]:4000"}]
)
def test_on_loopback_without_a_master_key_local_clients_are_served(keyless, headers):
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
def test_on_loopback_without_a_master_key_web_pages_are_rejected(keyless, provider, headers):
    refused(post(keyless, headers=headers), 403, "permission_error")
    refused(get(keyless, "/v1/models", headers), 403, "permission_error")
    assert provider.requests == []


def test_on_loopback_without_a_master_key_pages_of_an_allowed_origin_are_served(proxy, provider):
    gateway = proxy(models(provider), master_key=None, environment={"CORS_ALLOW_ORIGINS": "https://app.example"})
    assert post(gateway, headers={"origin": "https://app.example"}).status == 200
    refused(post(gateway, headers={"origin": "https://evil.example"}), 403, "permission_error")


def test_model_list_may_be_public(proxy, provider):
    gateway = proxy(models(provider), environment={"PUBLIC_MODELS": "true"})
    assert get(gateway, "/v1/models", {}).status == 200
    assert get(gateway, "/v1/models/gpt", {}).status == 200
    refused(post(gateway, headers={}), 401, "authentication_error")


def test_config_may_contain_key_and_origins(proxy, provider):
    settings = {"master_key": "os.environ/MY_KEY", "allowed_origins": ["https://app.example"]}
    content = models(provider, general_settings=settings)
    gateway = proxy(content, master_key=None, environment={"MY_KEY": "sk-from-there"})
    page = {"x-api-key": "sk-from-there", "origin": "https://app.example"}
    assert post(gateway, headers=page).headers["access-control-allow-origin"] == "https://app.example"
    refused(post(gateway, headers={}), 401, "authentication_error")


def test_behind_the_edge_only_the_edge_is_served(proxy, provider):
    environment = {"INTERNAL_TOKEN": "t0ken", "CORS_ALLOW_ORIGINS": "*"}
    gateway = proxy(models(provider), environment=environment)
    edge = {
        "x-internal-token": "t0ken",
        "x-internal-catalog": catalog.catalog(load(gateway.config_path, {}))["hash"],
        "x-internal-grant": '{"reservation": "one"}',
        "origin": "https://app.example",
    }
    answer = post(gateway, headers=edge)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")], "the edge answers browsers"
    for headers in ({}, AUTHORIZED, {"x-internal-token": "wrong"}):
        refused(post(gateway, headers=headers), 401, "authentication_error")
        refused(get(gateway, "/health", headers), 401, "authentication_error")
    assert get(gateway, "/health/readiness", {}).status == 200
    fetched = post(gateway, "/internal/journal", edge, orjson.dumps({"ack": 1, "wait": 0}))
    assert fetched.json["waiting"] == 0


def test_page_of_an_allowed_origin_may_read_responses_and_errors(gateway):
    page = {**AUTHORIZED, "origin": "https://app.example"}
    for answer in (
        post(gateway, headers=page),
        post(gateway, headers=page, model="nonesuch"),
        get(gateway, "/x", page),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


def test_page_of_another_origin_may_not_read_responses(gateway):
    answer = post(gateway, headers={**AUTHORIZED, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_preflight_requires_no_key(gateway):
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}
    answer = get(gateway, CHAT, {"origin": "https://app.example", **asks}, "OPTIONS")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert "POST" in answer.headers["access-control-allow-methods"]
    stranger = get(gateway, CHAT, {"origin": "https://evil.example", **asks}, "OPTIONS")
    assert "access-control-allow-origin" not in stranger.headers
