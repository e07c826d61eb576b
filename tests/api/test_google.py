"""Gemini's API: paths, the key in the query, and errors."""

import json

import pytest

from worker.core.api.auth import presented_key
from worker.core.api.endpoints import GOOGLE, find
from worker.core.api.errors import ApiError, invalid_request, service_unavailable
from worker.core.api.google import model_of, take_key, wants_events


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1beta", "/v1alpha"])
@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("generateContent", "generate_content"),
        ("streamGenerateContent", "stream_generate_content"),
        ("countTokens", "google_count_tokens"),
        ("embedContent", "embed_content"),
        ("batchEmbedContents", "batch_embed_contents"),
    ],
)
def test_a_method_follows_the_models_name(prefix, method, name):
    endpoint = find("POST", f"{prefix}/models/gemini-2.5-pro:{method}")
    assert (endpoint.name, endpoint.public, endpoint.engine, endpoint.admin) == (name, False, False, False)


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1beta/models", "google_models"), ("/v1beta/models/azure/gpt-4o", "google_model"), ("/v1/models", "models")],
)
def test_models_can_be_read(path, name):
    assert find("GET", path).name == name
    with pytest.raises(ApiError) as caught:
        find("POST", path)
    assert caught.value.status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta",
        "/v1beta/models/",
        "/v1/v1beta/models",
        "/v1beta/chat/completions",
        "/v1beta/models/:generateContent",
        "/models/x:predict",
        "/v1beta/models/x:generateContent/",
        "//models/x:generateContent",
        "/v1beta/cachedContents",
        "/v1beta/files",
    ],
)
def test_other_paths_do_not_exist(path):
    with pytest.raises(ApiError) as caught:
        find("POST", path)
    assert caught.value.status in (404, 405)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro"),
        ("/models/azure/gpt-4o:countTokens", "azure/gpt-4o"),
        ("/v1beta/models/azure%2Fgpt-4o:generateContent", "azure/gpt-4o"),
        ("/v1/models/ollama/llama3:8b:generateContent", "ollama/llama3:8b"),
        ("/v1beta/models/models/x:embedContent", "models/x"),
        ("/internal/park/v1beta/models/a%3Ab:generateContent", "a:b"),
    ],
)
def test_the_model_is_in_the_path(path, model):
    assert model_of(path) == model


@pytest.mark.parametrize(
    ("query", "rest", "key"),
    [
        ("", "", None),
        ("alt=sse", "alt=sse", None),
        ("key=sk-1", "", "sk-1"),
        ("alt=sse&key=sk-1", "alt=sse", "sk-1"),
        ("%6bey=sk%2D1&alt=sse", "alt=sse", "sk-1"),
        ("key=a&key=b", "", "b"),
        ("key=", "", None),
        ("monkey=1", "monkey=1", None),
    ],
)
def test_the_key_is_taken_out_of_the_query(query, rest, key):
    assert take_key(query) == (rest, key)


@pytest.mark.parametrize(
    ("query", "events"), [("alt=sse", True), ("a=1&alt=sse", True), ("alt=json", False), ("", False)]
)
def test_events_are_asked_for_in_the_query(query, events):
    assert wants_events(query) is events


def test_google_clients_send_their_key_in_a_header_of_their_own():
    assert presented_key({"x-goog-api-key": "sk-1"}.get) == "sk-1"
    assert presented_key({"x-goog-api-key": "sk-1", "authorization": "Bearer sk-2"}.get) == "sk-2"


def error(raised: ApiError) -> dict:
    return json.loads(raised.body("google"))["error"]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (405, "INVALID_ARGUMENT"),
        (413, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_errors_have_googles_status(status, name):
    assert error(ApiError(status, "t", "m")) == {"code": status, "message": "m", "status": name, "details": []}


def test_the_delay_before_a_retry_is_in_the_details():
    (info, retry) = error(service_unavailable("Later.", retry_after=7))["details"]
    assert info["reason"] == "SERVICE_UNAVAILABLE"
    assert retry == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}


def test_the_field_at_fault_is_in_the_details():
    (violations,) = error(invalid_request("No.", param="contents"))["details"]
    assert violations["fieldViolations"] == [{"field": "contents", "description": "No."}]


def test_every_endpoint_has_its_own_name():
    assert {"google_models", "google_model", "generate_content"} <= GOOGLE.keys()
