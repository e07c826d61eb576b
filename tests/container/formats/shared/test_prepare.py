"""The request sent to a deployment."""

import orjson
import pytest

from container.engine import engine_address
from container.formats.shared import prepare
from container.formats.shared.failure import from_response
from container.formats.shared.prepare import excused
from container.routing.health import UNHEALTHY, Outcome

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


# A request to the wrong endpoint of a model causes no cooldown.


@pytest.fixture
def rests(deployment):
    """Whether an error with this status and message counts against the deployment."""

    def judged(status: int, message: str, endpoint: str, model: str = "openai/gpt-4o") -> bool:
        d = deployment(model=model, api_key="k", api_base="http://127.0.0.1:9/v1")
        said = from_response(status, {}, orjson.dumps({"error": {"message": message}}))
        outcome = excused(said, d, d.model, endpoint)
        return outcome.kind in UNHEALTHY and not outcome.blameless

    return judged


@pytest.mark.parametrize(
    ("status", "message", "endpoint"),
    [
        (403, "You are not allowed to generate embeddings from this model", "embeddings"),
        (403, "You are not allowed to sample from this model", "chat_completions"),
        (404, "This is a chat model and not supported in the v1/completions endpoint. Did you mean …?", "completions"),
        (
            404,
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint.",
            "chat_completions",
        ),
        (404, "This model is only supported in v1/responses and not in v1/chat/completions.", "chat_completions"),
        (404, "The model `whisper-large-v3` does not support chat completions", "chat_completions"),
        (404, "invalid model for endpoint", "embeddings"),
        (404, "models/gpt-4o is not found for API version v1beta, or is not supported for embedContent.", "embeddings"),
        (501, "This server does not support embeddings. Start it with `--embeddings`", "embeddings"),
        (404, "404 page not found", "responses"),
        (404, "Not Found", "rerank"),
        (404, "Invalid URL (POST /v1/rerank)", "rerank"),
        (405, "Method Not Allowed", "responses"),
        (
            500,
            "litellm.APIConnectionError: APIConnectionError: OpenAIException - Unsupported provider: openai",
            "rerank",
        ),
        (500, "litellm.APIConnectionError: 'int' object is not iterable", "responses"),
        (500, "'str' object has no attribute 'get'", "image_generation"),
        (500, "litellm.APIConnectionError: 'type'", "responses"),
        (500, "litellm.APIConnectionError: Invalid content type: <class 'int'>", "responses"),
        (401, "Something", "speech"),
    ],
)
def test_wrong_endpoint_causes_no_cooldown(rests, status, message, endpoint):
    assert not rests(status, message, endpoint)


@pytest.mark.parametrize(
    ("status", "message", "endpoint"),
    [
        (401, "Incorrect API key provided", "chat_completions"),
        (403, "Project `proj_x` does not have access to model `gpt-4o`", "chat_completions"),
        (404, "The model `gpt-4o` does not exist or you do not have access to it.", "chat_completions"),
        (404, "404 page not found", "chat_completions"),
        (500, "The server had an error while processing your request.", "chat_completions"),
        (500, "litellm.InternalServerError: OpenAIException - Internal Server Error", "responses"),
        (503, "Overloaded", "completions"),
        (
            404,
            "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.",
            "messages",
        ),
    ],
)
def test_deployment_that_cannot_serve_its_own_endpoint_cools_down(rests, status, message, endpoint):
    assert rests(status, message, endpoint)


def test_embedding_model_with_an_invalid_key_cools_down(rests):
    assert rests(401, "Incorrect API key provided", "embeddings", "openai/text-embedding-3-small")
    assert rests(404, "The model `mine` does not exist.", "embeddings", "hosted_vllm/mine")


def test_missing_response_counts_against_the_deployment(deployment):
    d = deployment(model="openai/gpt-4o", api_key="k")
    lost = Outcome("connection", 0, "The connection broke off.")
    assert excused(lost, d, d.model, "embeddings") is lost


def test_engine_traceback_is_not_exposed():
    message = (
        "litellm.APIConnectionError: 'str' object has no attribute 'get'\nTraceback (most recent call last):\n  File …"
    )
    outcome = from_response(500, {}, orjson.dumps({"error": {"message": message}}))
    assert "Traceback" not in outcome.message
    assert "File" not in outcome.message
