"""A request to the wrong endpoint of a model causes no cooldown."""

import orjson
import pytest

from container.formats.shared.failure import from_response
from container.formats.shared.prepare import excused
from container.routing.outcome import UNHEALTHY, Outcome


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
