"""Requests of Anthropic's Messages API and of OpenAI's Responses API are parsed, or refused."""

from typing import Any

import orjson
import pytest

from container.formats.client_apis.responses import Passing
from container.request.client_apis import ENCRYPTED_REASONING, parse_messages, parse_responses
from container.request.completion import Completion
from tests.routing.support import deployment
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


USER = {"role": "user", "content": "Hi"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
KEPT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
NAMED_ONLY = {"type": "reasoning", "id": "rs_2", "summary": []}


def sent(*, reasons: bool = True, **fields: Any) -> dict[str, Any]:
    request = parse_responses(orjson.dumps({"model": "m", "input": [USER], **fields}))
    d = deployment("m", "d", model="gpt-5.1" if reasons else "house-model")
    return orjson.loads(Passing(drop_params=False).request(d, d.model, request).body)


@pytest.mark.parametrize("item", [CALL, {"id": "msg_1", **USER}, {"id": "msg_1", "type": "message", **USER}], ids=str)
def test_item_with_content_may_have_an_id(item):
    assert sent(input=[item])["input"] == [item]


def test_reasoning_is_requested_because_nothing_is_stored():
    assert sent()["include"] == [ENCRYPTED_REASONING]
    assert sent(store=True)["include"] == [ENCRYPTED_REASONING]
    assert sent(store=None)["store"] is False


def test_clients_include_is_kept():
    assert sent(include=["x"])["include"] == ["x", ENCRYPTED_REASONING]
    assert sent(include=[ENCRYPTED_REASONING])["include"] == [ENCRYPTED_REASONING]


@pytest.mark.parametrize("fields", [{"reasons": False}, {"store": False}], ids=str)
def test_reasoning_is_not_requested_for_a_non_reasoning_model_or_a_stateless_client(fields):
    made = sent(**fields)
    assert made["store"] is False
    assert "include" not in made


def test_reasoning_without_content_is_a_reference_to_a_stored_item():
    made = sent(input=[USER, KEPT, CALL, NAMED_ONLY, CALL])
    assert made["input"] == [USER, KEPT, CALL, CALL]


def test_non_reasoning_model_gets_no_reasoning():
    assert sent(input=[USER, NAMED_ONLY], reasons=False)["input"] == [USER]


@pytest.mark.parametrize("given", ["Hi", []])
def test_input_without_items_is_forwarded(given):
    assert sent(input=given)["input"] == given


def test_nulls_are_left_out():
    made = sent(input="Hi", text=None, tools=None, previous_response_id=None)
    assert made.keys() == {"model", "input", "store", "include"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input", 5),
        ("input", ["x"]),
        ("input", {"role": "user"}),
        ("tools", 5),
        ("tools", [5]),
        ("tools", [{}]),
        ("text", 5),
        ("reasoning", "high"),
        ("instructions", 5),
        ("include", "reasoning.encrypted_content"),
        ("stream", "yes"),
        ("n", 0),
        ("fallbacks", "gpt"),
        ("num_retries", 99),
    ],
)
def test_field_of_the_wrong_type_is_rejected(name, value):
    with pytest.raises(ApiError) as caught:
        sent(**{name: value})
    assert (caught.value.status, caught.value.param) == (400, name)


def test_lowest_output_limit_of_any_name_applies():
    made = sent(max_tokens=90, max_output_tokens=50, max_completion_tokens=20)
    assert {name: made[name] for name in made if name.startswith("max")} == {"max_output_tokens": 20}


@pytest.mark.parametrize("name", ["client_metadata", "x_trace", "litellm"])
def test_unknown_field_is_left_out(name):
    assert name not in sent(**{name: {"a": 1}})


@pytest.mark.parametrize(
    "name", ["url", "wx_credentials", "sampleCount", "num_generations", "x-api-key", "chat_history"]
)
def test_unknown_field_with_an_effect_is_rejected(name):
    with pytest.raises(ApiError) as caught:
        sent(**{name: 1})
    assert (caught.value.status, caught.value.param) == (400, name)


@pytest.mark.parametrize("name", ["api_base", "litellm_params", "mock_response", "extra_body", "aws_role_name"])
def test_authority_field_is_rejected(name):
    with pytest.raises(ApiError) as caught:
        sent(**{name: "x"})
    assert (caught.value.status, caught.value.param) == (400, name)


@pytest.mark.parametrize(("name", "value"), [("conversation", "c"), ("background", True), ("prompt", {})])
def test_field_that_names_what_is_not_the_keys_own_is_rejected(name, value):
    with pytest.raises(ApiError) as caught:
        sent(**{name: value})
    assert (caught.value.status, caught.value.param) == (400, name)


def test_blank_field_that_requires_stored_responses_is_accepted():
    assert sent(previous_response_id=None, background=False)["input"] == [USER]


def test_fields_of_the_gateway_are_honored_and_not_sent():
    fields = {"fallbacks": ["x"], "num_retries": 1, "timeout": 5}
    request = parse_responses(orjson.dumps({"model": "m", "input": "Hi", **fields}))
    assert (request.route.fallbacks, request.route.num_retries, request.timeout) == (("x",), 1, 5)
    assert not fields.keys() & request.body.keys()


def test_metadata_that_openai_would_refuse_is_left_out():
    request = parse_responses(orjson.dumps({"model": "m", "metadata": {"tags": ["job:1"], "run": "7"}}))
    assert request.claims.tags == '["job:1"]'
    assert request.body["metadata"] == {"run": "7"}
    assert "metadata" not in sent(metadata={"tags": ["job:1"]})
