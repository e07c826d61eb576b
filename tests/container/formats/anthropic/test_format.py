"""Anthropic's wire format: addresses, headers, errors and unsupported fields."""

from typing import Any

import orjson
import pytest

from container.formats.anthropic import Anthropic, refusal, url
from container.formats.shared.wire import Unsupported
from container.request.completion import parse

HELLO = [{"role": "user", "content": "Hello"}]


def sent(deployment, *, drop_params: bool = False, limit: int | None = None, params: dict | None = None, **fields: Any):
    d = deployment(model="anthropic/claude-sonnet-4-6", api_key="k", **(params or {}))
    request = parse("chat_completions", orjson.dumps({"model": "m", "messages": HELLO, **fields}))
    request.output_limit = limit
    return Anthropic(drop_params=drop_params).request(d, d.model, request)


def body(deployment, **fields: Any) -> dict[str, Any]:
    return orjson.loads(sent(deployment, **fields).body)


@pytest.mark.parametrize("base", ["https://a.example", "https://a.example/v1", "https://a.example/v1/messages"])
def test_the_path_follows_the_base(base):
    assert url(base) == "https://a.example/v1/messages"


async def test_key_and_version_are_headers(deployment):
    d = deployment(model="anthropic/claude-x", api_key="sk-ant", extra_headers={"X-Team": "a"})
    where = await Anthropic(drop_params=False).address(d, 1)
    assert where.base == "https://api.anthropic.com"
    assert where.headers["x-api-key"] == "sk-ant"
    assert where.headers["anthropic-version"] == "2023-06-01"
    assert where.headers["x-team"] == "a"
    assert "authorization" not in where.headers


def test_the_old_field_of_schemas_adds_its_beta_to_the_configs_betas(deployment):
    assert sent(deployment).headers is None
    old = {"type": "json_schema", "schema": {"type": "object", "properties": {}}}
    assert sent(deployment, output_format=old, params={"extra_headers": {"anthropic-beta": "mine"}}).headers == {
        "anthropic-beta": "mine,structured-outputs-2025-11-13"
    }


def test_schema_and_effort_are_both_in_output_config(deployment):
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}}}}
    body = orjson.loads(sent(deployment, response_format=wanted, reasoning_effort="low").body)
    assert body["output_config"]["effort"] == "low"
    assert body["output_config"]["format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("seed", 1),
        ("logprobs", True),
        ("presence_penalty", 0.5),
        ("functions", [{"name": "f"}]),
        ("service_tier", "flex"),
    ],
)
def test_unsupported_field_is_rejected_by_name_or_dropped(deployment, field, value):
    with pytest.raises(Unsupported) as raised:
        sent(deployment, **{field: value})
    assert raised.value.param == field
    assert field not in body(deployment, drop_params=True, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("n", 1), ("logprobs", False), ("presence_penalty", 0), ("logit_bias", {}), ("store", False)]
)
def test_field_that_requests_nothing_is_omitted(deployment, field, value):
    assert field not in body(deployment, **{field: value})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "http://inside.example/a.png"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "image_url"},
        {"type": "file", "file": {"file_id": "file-123"}},
        {"type": "file"},
        {"type": "text"},
        {},
    ],
)
def test_unreadable_part_is_rejected(deployment, part):
    with pytest.raises(Unsupported) as raised:
        sent(deployment, messages=[{"role": "user", "content": [part]}])
    assert raised.value.param == "messages"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "x"},
        {"role": "tool", "tool_call_id": 1, "content": "x"},
        {"role": "assistant", "tool_calls": ["x"]},
        {"role": "assistant", "tool_calls": {"a": 1}},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "no json"}}]},
        {"role": "assistant", "thinking_blocks": 1},
        {"role": "function", "name": "f", "content": "x"},
        {"role": "king", "content": "x"},
    ],
)
def test_invalid_messages_are_the_clients_error(deployment, message):
    with pytest.raises(Unsupported) as raised:
        sent(deployment, messages=[*HELLO, message])
    assert (raised.value.outcome().kind, raised.value.param) == ("caller", "messages")


def test_truncated_tool_call_is_completed(deployment):
    function = {"name": "f", "arguments": '{"city": "Par'}
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "a b", "type": "function", "function": function}]}
    result = {"role": "tool", "tool_call_id": "a b", "content": "x"}
    turns = body(deployment, messages=[*HELLO, call, result])["messages"]
    assert turns[1]["content"] == [{"type": "tool_use", "id": "a_b", "name": "f", "input": {"city": "Par"}}]
    assert turns[2]["content"][0]["tool_use_id"] == "a_b"


def test_a_text_file_is_sent_as_text(deployment):
    part = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,SGVsbG8="}}
    (block,) = body(deployment, messages=[{"role": "user", "content": [part]}])["messages"][0]["content"]
    assert block == {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hello"}}


def test_output_limit_comes_from_the_client_then_the_reservation_then_the_config_then_the_model(deployment):
    info = {"info": {"max_output_tokens": 32000}}
    assert body(deployment, max_tokens=5, limit=None)["max_tokens"] == 5
    assert body(deployment, limit=4096)["max_tokens"] == 4096
    assert body(deployment, params=info)["max_tokens"] == 32000
    assert body(deployment)["max_tokens"] == 128000


def test_thinking_budget_fits_into_a_reserved_limit(deployment):
    thinking = {"type": "enabled", "budget_tokens": 8000}
    assert body(deployment, limit=4096, thinking=thinking)["thinking"]["budget_tokens"] == 4095
    assert "thinking" not in body(deployment, limit=1000, thinking=thinking)
    assert body(deployment, max_tokens=9000, thinking=thinking)["thinking"] == thinking


@pytest.mark.parametrize(
    ("status", "kind", "said", "outcome"),
    [
        (529, "overloaded_error", "Overloaded", "server"),
        (429, "rate_limit_error", "Too many", "rate_limit"),
        (401, "authentication_error", "invalid x-api-key", "authentication"),
        (403, "permission_error", "no", "authentication"),
        (404, "not_found_error", "model: claude-x", "not_found"),
        (413, "request_too_large", "Too large", "context_window"),
        (400, "invalid_request_error", "max_tokens: Field required", "caller"),
        (400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum", "context_window"),
        (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", "authentication"),
    ],
)
def test_errors_are_classified_for_routing(status, kind, said, outcome):
    raw = orjson.dumps({"type": "error", "error": {"type": kind, "message": said}})
    assert refusal(status, {}, raw).kind == outcome


def test_rate_limit_headers_use_openais_names():
    headers = {
        "Anthropic-RateLimit-Requests-Remaining": "0",
        "anthropic-ratelimit-tokens-limit": "80000",
        "retry-after": "7",
        "request-id": "req_1",
    }
    found = refusal(429, headers, b"{}")
    assert found.retry_after == 7
    assert set(found.headers) == {
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-limit-tokens", "80000"),
        ("retry-after", "7"),
    }
