"""Authentication of requests."""

from collections.abc import Mapping

import pytest
from aiohttp.test_utils import make_mocked_request

from container.accounting.accounting import NoAccounting
from container.server.auth import Authenticator, is_loopback
from container.server.context import RequestContext
from container.server.settings import read
from worker.core.api.endpoints import find
from worker.core.api.errors import ApiError
from worker.core.ledger.keys import hash_secret

KEY = "sk-master"
NO_HEADERS: Mapping[str, str] = {}
HERE = {"host": "127.0.0.1:4000"}


def authenticator(config_key: str | None = None, origins: tuple[str, ...] = (), **environment: str) -> Authenticator:
    settings = read(environment)
    return Authenticator(settings, settings.master_key or config_key, origins)


def refusal(
    a: Authenticator,
    headers: Mapping[str, str] = NO_HEADERS,
    path: str = "/v1/chat/completions",
    method: str | None = None,
) -> int | None:
    """The status of the rejection, or None."""
    method = method or ("POST" if path.endswith("completions") else "GET")
    context = RequestContext(make_mocked_request(method, path, headers))
    try:
        a.check(context, find(method, path))
    except ApiError as error:
        return error.status
    return None


# With a master key


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"x-api-key": KEY},
        {"api-key": KEY},
        {"authorization": "Basic abc", "x-api-key": KEY},
    ],
)
def test_master_key_is_accepted_in_every_header(headers):
    assert refusal(authenticator(LITELLM_MASTER_KEY=KEY), headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": KEY},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer wrong", "x-api-key": KEY},
        {"x-api-key": "wrong"},
        {"authorization": "Bearer \xfc\xff"},
        {"cookie": f"key={KEY}"},
    ],
)
def test_other_key_is_401(headers):
    assert refusal(authenticator(LITELLM_MASTER_KEY=KEY), headers) == 401


@pytest.mark.parametrize("presented", [f"{KEY}x", KEY[:-1], "sk-other"])
def test_virtual_key_format_is_left_to_the_ledger(presented):
    context = RequestContext(make_mocked_request("POST", "/v1/embeddings", {"x-api-key": presented}))
    guard = Authenticator(read({"LITELLM_MASTER_KEY": KEY}), KEY, (), virtual_keys=True)
    guard.check(context, find("POST", "/v1/embeddings"))
    assert (context.key_hash, context.administrator) == (hash_secret(presented), False)


@pytest.mark.parametrize("presented", [f"{KEY}x", KEY[:-1], "sk-other"])
def test_without_a_ledger_only_the_master_key_is_valid(presented):
    assert refusal(authenticator(LITELLM_MASTER_KEY=KEY), {"x-api-key": presented}) == 401


async def test_without_a_ledger_a_virtual_key_is_rejected_at_admission():
    context = RequestContext(make_mocked_request("POST", "/v1/embeddings", {}))
    context.key_hash = hash_secret("sk-other")
    with pytest.raises(ApiError) as caught:
        await NoAccounting().admit(context)
    assert caught.value.status == 401


def test_master_key_is_the_administrators():
    context = RequestContext(make_mocked_request("POST", "/v1/embeddings", {"x-api-key": KEY}))
    authenticator(LITELLM_MASTER_KEY=KEY).check(context, find("POST", "/v1/embeddings"))
    assert (context.key_hash, context.administrator) == (None, True)


def test_anonymous_clients_may_spend_the_global_budget_but_not_administer():
    context = RequestContext(make_mocked_request("POST", "/v1/embeddings", {"host": "gateway.example"}))
    authenticator(LITELLM_HOST="0.0.0.0", ALLOW_ANONYMOUS="true").check(context, find("POST", "/v1/embeddings"))
    assert (context.key_hash, context.administrator) == (None, False)


def test_configs_master_key_counts_like_the_environments():
    assert refusal(authenticator(config_key=KEY), {"x-api-key": KEY}) is None
    assert refusal(authenticator(config_key=KEY), HERE) == 401


@pytest.mark.parametrize("path", ["/", "/health", "/health/liveliness", "/health/readiness"])
def test_health_requires_no_key(path):
    assert refusal(authenticator(LITELLM_MASTER_KEY=KEY), path=path) is None


def test_model_list_requires_a_key_unless_public():
    for path in ("/v1/models", "/v1/models/a"):
        assert refusal(authenticator(LITELLM_MASTER_KEY=KEY), path=path) == 401
        assert refusal(authenticator(LITELLM_MASTER_KEY=KEY, PUBLIC_MODELS="true"), path=path) is None
    assert refusal(authenticator(LITELLM_MASTER_KEY=KEY, PUBLIC_MODELS="true")) == 401


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({"LITELLM_HOST": "0.0.0.0"}, 503),
        ({"LITELLM_HOST": "::"}, 503),
        ({"LITELLM_HOST": "0.0.0.0", "LOCAL_DEVELOPMENT": "true"}, None),
        ({}, None),
    ],
)
def test_well_known_key_works_only_on_a_development_machine(environment, status):
    a = authenticator(LITELLM_MASTER_KEY="sk-1234", **environment)
    assert refusal(a, {"authorization": "Bearer sk-1234"}) == status
    assert refusal(a, path="/health") is None


# Without a master key, on loopback


@pytest.mark.parametrize("headers", [HERE, {**HERE, "authorization": "Bearer anything"}, {**HERE, "x-api-key": "x"}])
def test_on_loopback_without_a_master_key_any_key_or_none_is_accepted(headers):
    assert refusal(authenticator(), headers) is None
    assert refusal(authenticator(), headers, "/v1/models") is None


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:4000", "127.0.0.1", "[::1]:4000", "LOCALHOST", "10.0.0.5:4000"]
)
def test_ip_addresses_and_localhost_are_not_dns_rebinding(host):
    assert refusal(authenticator(), {"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[",
        "[::1",
        "a@b",
        "::1",
    ],
)
def test_dns_rebinding_host_is_rejected(host):
    assert refusal(authenticator(), {"host": host}) == 403


def test_missing_host_is_rejected():
    assert refusal(authenticator(), {}) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:3000", ""])
def test_web_page_is_rejected_without_keys(origin):
    assert refusal(authenticator(), {**HERE, "origin": origin}) == 403


def test_own_page_is_accepted():
    assert refusal(authenticator(), {**HERE, "origin": f"http://{HERE['host']}"}) is None
    elsewhere = {"host": "evil.example:4000", "origin": "http://evil.example:4000"}
    assert refusal(authenticator(), elsewhere) == 403


def test_web_page_of_an_allowed_origin_is_accepted():
    page = {**HERE, "origin": "https://app.example"}
    assert refusal(authenticator(origins=("https://app.example",)), page) is None
    assert refusal(authenticator(origins=("*",)), page) is None
    assert refusal(authenticator(origins=("https://other.example",)), page) == 403


def test_origin_does_not_matter_with_a_key():
    headers = {"authorization": f"Bearer {KEY}", "origin": "https://evil.example", "host": "evil.example"}
    assert refusal(authenticator(LITELLM_MASTER_KEY=KEY), headers) is None


def test_nothing_is_served_beyond_loopback_without_a_master_key():
    a = authenticator(LITELLM_HOST="0.0.0.0")
    assert refusal(a, HERE) == 503
    assert refusal(a, HERE, "/v1/models") == 503
    assert refusal(a, HERE, "/health") is None


# Behind the edge


def test_with_an_internal_token_only_the_edge_is_served():
    a = authenticator(INTERNAL_TOKEN="t0ken", LITELLM_MASTER_KEY=KEY)
    assert refusal(a, {"x-internal-token": "t0ken"}) is None
    for headers in ({}, {"x-internal-token": ""}, {"x-internal-token": "t0ke"}, {"authorization": f"Bearer {KEY}"}):
        assert refusal(a, headers) == 401
        assert refusal(a, headers, "/v1/models") == 401
        assert refusal(a, headers, "/health") == 401


@pytest.mark.parametrize("path", ["/health/liveliness", "/health/readiness"])
def test_probes_require_no_token(path):
    assert refusal(authenticator(INTERNAL_TOKEN="t"), path=path) is None


def test_behind_the_edge_host_and_origin_are_ignored():
    a = authenticator(INTERNAL_TOKEN="t", LITELLM_HOST="::")
    assert refusal(a, {"x-internal-token": "t", "host": "edge", "origin": "https://app.example"}) is None


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_loopback_addresses(host, loopback):
    assert is_loopback(host) is loopback
