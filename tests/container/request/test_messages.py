"""Incoming requests of Anthropic's Messages API."""

from typing import Any

import orjson
import pytest

from container.request.client_apis import parse_messages
from container.request.completion import Completion
from worker.core.api.errors import ApiError

HELLO = [{"role": "user", "content": "Hello"}]


def parsed(endpoint: str = "messages", betas: str = "", **fields: Any) -> Completion:
    body = {"model": "m", "max_tokens": 9, "messages": HELLO, **fields}
    return parse_messages(endpoint, orjson.dumps({k: v for k, v in body.items() if v is not ...}), betas)


def test_gateway_fields_are_removed_and_applied():
    request = parsed(fallbacks=["a"], num_retries=1, timeout=5, tags=["t"], stream=True)
    assert request.body == {"model": "m", "max_tokens": 9, "messages": HELLO, "stream": True}
    assert (request.route.fallbacks, request.route.num_retries, request.timeout) == (("a",), 1, 5)
    assert request.stream
    assert request.route.stream
    assert parsed(fallbacks=["a"], disable_fallbacks=True).route.fallbacks == ()


def test_only_the_user_id_of_metadata_is_kept():
    assert parsed(metadata={"user_id": "u", "guardrails": ["x"]}).body["metadata"] == {"user_id": "u"}
    assert "metadata" not in parsed(metadata={"user_id": {"a": 1}}).body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ...),
        ("model", 1),
        ("messages", ...),
        ("messages", []),
        ("messages", ["text"]),
        ("max_tokens", ...),
        ("max_tokens", 0),
        ("max_tokens", "9"),
        ("system", {"text": "x"}),
        ("system", ["x"]),
        ("stop_sequences", "x"),
        ("tool_choice", "auto"),
        ("thinking", True),
        ("tools", "x"),
        ("stream", "yes"),
        ("metadata", "text"),
        ("temperature", "hot"),
        ("api_base", "https://elsewhere.example"),
        ("anthropic_beta", "x"),
    ],
)
def test_invalid_field_is_reported(field: str, value: Any):
    with pytest.raises(ApiError) as raised:
        parsed(**{field: value})
    assert (raised.value.status, raised.value.param) == (400, field)


def test_token_counting_requires_no_limit():
    request = parsed("count_tokens", max_tokens=..., stream=True)
    assert request.endpoint == "count_tokens"
    assert not request.stream


@pytest.mark.parametrize("name", ["speed", "inference_geo"])
def test_fields_that_raise_the_price_are_rejected(name: str):
    with pytest.raises(ApiError) as caught:
        parsed(**{name: "fast"})
    assert (caught.value.status, caught.value.param) == (400, name)


def test_standard_speed_is_removed():
    assert "speed" not in parsed(speed="standard").body


def test_limits_with_other_names_are_removed():
    found = parsed(max_tokens=1, max_completion_tokens=50_000, max_output_tokens=50_000)
    assert {name: found.body[name] for name in found.body if "tokens" in name} == {"max_tokens": 1}


def test_only_betas_that_change_nothing_but_the_response_are_kept():
    wanted = "context-1m-2025-08-07, files-api-2025-04-14,oauth-2025-04-20,skills-2025-10-02,x y,Y\r\nz: 1"
    wanted += ",fast-mode-2026-01-01"
    assert parsed(betas=wanted).betas == "context-1m-2025-08-07"
    assert parsed().betas == ""
