"""Access control at the Worker, before a request is read."""

import pytest

from worker.core.api import auth
from worker.core.api.auth import BYTES_PER_MB, Rules, admit
from worker.core.api.errors import ApiError

KEY = "sk-secret-of-this-test"
RULES = Rules(master_key=KEY, local=False, public_models=False, max_body_mb=32)
BEARER = {"authorization": f"Bearer {KEY}"}


def refused(method: str, path: str, headers: dict[str, str], rules: Rules = RULES) -> ApiError:
    with pytest.raises(ApiError) as caught:
        admit(method, path, headers.get, rules)
    return caught.value


@pytest.mark.parametrize("path", ["/", "/health", "/health/liveliness", "/health/readiness"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_needs_no_key(method, path):
    assert admit(method, path, {}.get, RULES).endpoint.public


@pytest.mark.parametrize("headers", [BEARER, {"x-api-key": KEY}, {"api-key": KEY}])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
def test_a_key_is_accepted_in_each_of_its_headers(headers, path):
    asked = admit("POST", path, headers.get, RULES)
    assert (asked.endpoint.name, asked.key) == ("chat_completions", None)


@pytest.mark.parametrize("name", ["x-api-key", "api-key"])
def test_a_possible_virtual_key_is_left_to_the_ledger(name):
    assert admit("POST", "/v1/embeddings", {name: "sk-other"}.get, RULES).key == "sk-other"
    assert admit("POST", "/key/generate", {"authorization": "Bearer sk-other"}.get, RULES).key == "sk-other"
    public = RULES._replace(public_models=True)
    assert admit("GET", "/v1/models", {name: "sk-other"}.get, public).key == "sk-other"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer other"}, {"authorization": f"Basic {KEY}"}])
def test_a_missing_or_wrong_key_is_refused(headers):
    error = refused("POST", "/v1/chat/completions", headers)
    assert (error.status, error.code) == (401, "invalid_api_key")


def test_an_unknown_path_is_404_before_authentication():
    assert refused("GET", "/admin", {}).status == 404
    error = refused("GET", "/v1/chat/completions", {})
    assert (error.status, dict(error.headers)["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/key/generate"), ("POST", "/v1/key/x/regenerate"), ("GET", "/global/spend")]
)
def test_the_key_admin_api_needs_the_master_key(method, path):
    asked = admit(method, path, BEARER.get, RULES)
    assert asked.endpoint.admin
    assert asked.key is None
    assert refused(method, path, {}).status == 401


def test_public_models_opens_only_the_models():
    rules = RULES._replace(public_models=True)
    assert admit("GET", "/v1/models", {}.get, rules).endpoint.name == "models"
    assert admit("GET", "/models/azure/gpt-4o", {}.get, rules).endpoint.name == "model"
    assert refused("POST", "/v1/embeddings", {}, rules).status == 401
    assert refused("GET", "/v1/models", {}).status == 401


def test_without_a_usable_master_key_only_health_is_served():
    for master_key in ("", auth.WELL_KNOWN_KEY):
        rules = Rules(master_key=master_key, local=False, public_models=True, max_body_mb=32)
        assert admit("GET", "/health", {}.get, rules).endpoint.name == "health"
        for headers in ({}, {"authorization": f"Bearer {master_key}"}):
            assert refused("GET", "/v1/models", headers, rules).status == 503
            assert refused("POST", "/v1/chat/completions", headers, rules).status == 503


def test_the_default_development_key_works_only_locally():
    rules = Rules(master_key=auth.WELL_KNOWN_KEY, local=True, public_models=True, max_body_mb=32)
    assert admit("POST", "/v1/embeddings", {"authorization": "Bearer sk-1234"}.get, rules)
    assert refused("POST", "/v1/embeddings", {}, rules).status == 401


def test_content_length_is_checked():
    def with_length(length: object) -> dict[str, str]:
        return {**BEARER, "content-length": str(length)}

    limit = 32 * BYTES_PER_MB
    assert admit("POST", "/v1/embeddings", with_length(limit).get, RULES)
    assert refused("POST", "/v1/embeddings", with_length(limit + 1)).status == 413
    assert refused("POST", "/v1/embeddings", with_length("-1")).status == 400
    assert refused("POST", "/v1/embeddings", with_length("1e3")).status == 400
    # Without a valid key the limit is not revealed.
    assert refused("POST", "/v1/embeddings", {"content-length": str(limit + 1)}).status == 401
