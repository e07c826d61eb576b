"""The request sent to a deployment."""

import orjson
import pytest

from container.engine.supervisor import engine_address
from container.formats.shared import prepare

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def body(d, fields=CHAT, *, model="x", ask_usage=False, leave_out=frozenset()) -> dict:
    return orjson.loads(prepare.body(d, model, fields, ask_usage=ask_usage, leave_out=leave_out))


# Addresses and headers


def test_key_is_in_the_authorization_header(deployment):
    base, headers = prepare.address(deployment(model="openai/x", api_key="sk-1"))
    assert base == "https://api.openai.com/v1"
    assert headers == {
        "authorization": "Bearer sk-1",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": "litellm-router",
    }


def test_azure_key_has_its_own_header(deployment):
    headers = prepare.address(deployment(model="azure/x", api_key="k", api_base="https://me.example")).headers
    assert headers["api-key"] == "k"
    assert "authorization" not in headers


def test_without_a_key_there_is_no_auth_header(deployment):
    assert "authorization" not in prepare.address(deployment(model="ollama/x")).headers


def test_extra_headers_take_precedence(deployment):
    d = deployment(model="openai/x", api_key="k", extra_headers={"User-Agent": "mine", "X-Team": "a"})
    headers = prepare.address(d).headers
    assert (headers["user-agent"], headers["x-team"]) == ("mine", "a")


def test_engine_is_on_loopback_with_its_own_key():
    base, headers = engine_address(4711, "sk-engine")
    assert base == "http://127.0.0.1:4711/v1"
    assert headers["authorization"] == "Bearer sk-engine"


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("chat_completions", "/chat/completions"), ("completions", "/completions"), ("embeddings", "/embeddings")],
)
def test_the_path_follows_the_base(deployment, endpoint, path):
    d = deployment(model="openai/x", api_key="k", api_base="http://h/v1")
    assert prepare.url(d, d.base, "x", endpoint) == "http://h/v1" + path


@pytest.mark.parametrize(
    ("base", "model", "url"),
    [
        (
            "https://me.example",
            "gpt-4o",
            "https://me.example/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://me.example/",
            "a b/c?d#e",
            "https://me.example/openai/deployments/a%20b%2Fc%3Fd%23e/chat/completions?api-version=2024-10-21",
        ),
        ("https://me.example/openai/v1", "gpt-4o", "https://me.example/openai/v1/chat/completions"),
    ],
)
def test_azure_deployment_is_in_the_path_unless_the_base_is_its_v1_api(deployment, base, model, url):
    d = deployment(model="azure/x", api_key="k", api_base=base)
    assert prepare.url(d, d.base, model, "chat_completions") == url


@pytest.mark.parametrize("base", ["https://h/openai/deployments/real", "https://h/openai/deployments/real/"])
@pytest.mark.parametrize(
    ("version", "endpoint", "url"),
    [
        ("2024-10-21", "chat_completions", "https://h/openai/deployments/real/chat/completions?api-version=2024-10-21"),
        ("2025-04-01-preview", "responses", "https://h/openai/responses?api-version=2025-04-01-preview"),
        ("v1", "chat_completions", "https://h/openai/v1/chat/completions"),
    ],
)
def test_azure_deployment_in_the_address_is_not_repeated(deployment, base, version, endpoint, url):
    d = deployment(model="azure/alias", api_key="k", api_base=base, api_version=version)
    assert prepare.url(d, d.base, "alias", endpoint) == url


def test_azure_version_is_url_encoded(deployment):
    d = deployment(model="azure/x", api_key="k", api_base="https://h", api_version="2025&x=1")
    assert prepare.url(d, d.base, "x", "embeddings").endswith("?api-version=2025%26x%3D1")


@pytest.mark.parametrize("version", ["v1", "preview", "latest"])
@pytest.mark.parametrize("base", ["https://h", "https://h/openai", "https://h/openai/v1"])
@pytest.mark.parametrize(
    ("endpoint", "path"), [("chat_completions", "chat/completions"), ("embeddings", "embeddings"), ("responses",) * 2]
)
def test_azure_v1_api_has_openais_paths(deployment, version, base, endpoint, path):
    d = deployment(model="azure/x", api_key="k", api_base=base, api_version=version)
    assert prepare.url(d, d.base, "x", endpoint) == f"https://h/openai/v1/{path}"


@pytest.mark.parametrize(
    ("version", "url"),
    [
        ("2025-04-01-preview", "https://h/openai/responses?api-version=2025-04-01-preview"),
        ("2025-03-01-preview", "https://h/openai/responses?api-version=2025-03-01-preview"),
        ("2024-10-21", "https://h/openai/v1/responses"),
    ],
)
def test_azure_responses_use_the_new_api_without_a_deployment(deployment, version, url):
    d = deployment(model="azure/x", api_key="k", api_base="https://h", api_version=version)
    assert prepare.url(d, d.base, "x", "responses") == url


@pytest.mark.parametrize("prefix", ["", "responses/", "o_series/", "gpt5_series/"])
def test_litellm_prefix_is_not_part_of_the_azure_deployment(deployment, prefix):
    d = deployment(group="azure/*", model="azure/*", api_key="k", api_base="https://h")
    assert "/deployments/ours/" in prepare.url(d, d.base, f"{prefix}ours", "chat_completions")


# The engine's names


def test_engine_knows_a_deployment_by_its_id(deployment):
    d = deployment(model="anthropic/claude", api_key="k", info={"id": "dep"})
    assert prepare.engine_model(d, "claude") == "dep"


def test_engine_knows_models_of_a_wildcard_below_its_id(deployment):
    d = deployment(group="v/*", model="vertex_ai/*", vertex_credentials="x", info={"id": "dep"})
    assert prepare.engine_model(d, "gemini-3") == "dep/gemini-3"
    inner = deployment(group="c-*", model="anthropic/claude-*-v1", api_key="k", info={"id": "dep"})
    assert prepare.engine_model(inner, "claude-opus-v1") == "dep/opus"
    fixed = deployment(group="c-*", model="anthropic/claude", api_key="k", info={"id": "dep"})
    assert prepare.engine_model(fixed, "claude") == "dep"


# The body


def test_model_is_the_deployments(deployment):
    assert body(deployment(model="openai/x", api_key="k")) == {**CHAT, "model": "x"}


def test_unknown_fields_are_sent_and_the_clients_body_is_not_modified(deployment):
    fields = {**CHAT, "guided_json": {"a": None}, "metadata": {"b": "c"}, "tags": ["d"]}
    before = orjson.dumps(fields)
    assert body(deployment(model="openai/x", api_key="k"), fields) == {**fields, "model": "x"}
    assert orjson.dumps(fields) == before


def test_client_overrides_presets(deployment):
    d = deployment(
        model="openai/x", api_key="k", temperature=0.1, max_tokens=5, extra_body={"top_k": 3, "model": "evil"}
    )
    assert body(d, {**CHAT, "temperature": 1}) == {**CHAT, "model": "x", "temperature": 1, "max_tokens": 5, "top_k": 3}


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": None}])
def test_usage_is_requested(deployment, options):
    fields = {**CHAT, "stream": True, "stream_options": options}
    assert body(deployment(model="openai/x", api_key="k"), fields, ask_usage=True)["stream_options"] == {
        "include_usage": True
    }


def test_clients_other_stream_options_are_kept(deployment):
    fields = {**CHAT, "stream": True, "stream_options": {"include_obfuscation": False}}
    sent = body(deployment(model="openai/x", api_key="k"), fields, ask_usage=True)
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert fields["stream_options"] == {"include_obfuscation": False}


def test_rejected_field_is_omitted(deployment):
    d = deployment(model="openai/x", api_key="k", temperature=0.1)
    sent = body(
        d,
        {**CHAT, "seed": 1, "stream": True},
        ask_usage=True,
        leave_out=frozenset({"stream_options", "temperature", "seed"}),
    )
    assert sent == {**CHAT, "model": "x", "stream": True}
