"""Validation of the request body."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.request.completion import encode, parse, parse_object
from worker.core.api.errors import ApiError

MESSAGES = [{"role": "user", "content": "Hi"}]


def chat(**fields):
    return parse("chat_completions", orjson.dumps({"model": "m", "messages": MESSAGES, **fields}))


def refusal(raw: bytes, endpoint: str = "chat_completions") -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(endpoint, raw)
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    return caught.value


def refused(endpoint: str = "chat_completions", /, **fields) -> ApiError:
    return refusal(orjson.dumps({"model": "m", "messages": MESSAGES, **fields}), endpoint)


def test_parsed_request():
    found = chat(stream=True, temperature=0.5)
    assert (found.endpoint, found.model, found.stream, found.client_wants_usage) == (
        "chat_completions",
        "m",
        True,
        False,
    )
    assert found.body == {"model": "m", "messages": MESSAGES, "stream": True, "temperature": 0.5}
    assert (found.route.model, found.route.stream) == ("m", True)
    assert found.timeout is None


def test_unknown_fields_pass_through():
    strange = {"guided_json": {"a": [1, None, {"b": "ü"}]}, "x": 1.5, "chat_template_kwargs": {"thinking": False}}
    assert chat(**strange).body == {"model": "m", "messages": MESSAGES, **strange}


def test_gateway_fields_are_removed():
    found = chat(fallbacks=["a", "b"], num_retries=0, timeout=1.5)
    assert found.body == {"model": "m", "messages": MESSAGES}
    assert (found.route.fallbacks, found.route.num_retries, found.timeout) == (("a", "b"), 0, 1.5)


def test_fallbacks_can_be_disabled():
    assert chat(disable_fallbacks=True, fallbacks=["a"]).route.fallbacks == ()
    assert chat(disable_fallbacks=False).route.fallbacks is None


@pytest.mark.parametrize(("options", "wants"), [({"include_usage": True}, True), ({}, False), (None, False)])
def test_stream_usage_option(options, wants):
    assert chat(stream=True, stream_options=options).client_wants_usage is wants


def test_null_is_treated_as_absent():
    found = chat(temperature=None, stream=None, tools=None, fallbacks=None, num_retries=None, timeout=None)
    assert found.stream is False
    assert (found.route.fallbacks, found.route.num_retries, found.timeout) == (None, None, None)


# Invalid requests


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"{'model': 'm'}",
        b'{"model": "m",}',
        b'{"model": NaN}',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b"model=m",
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"[" * 100_000,
    ],
)
def test_malformed_json_is_reported(raw):
    error = refusal(raw)
    assert error.code == "invalid_json"
    assert error.message.startswith("The body is not valid JSON")


@pytest.mark.parametrize(
    ("raw", "named"),
    [(b"[]", "an array"), (b'"text"', "a text"), (b"1", "a number"), (b"true", "a boolean"), (b"null", "null")],
)
def test_json_that_is_not_an_object_is_reported(raw, named):
    assert refusal(raw).message == f"The body has to be a JSON object, not {named}."


def test_empty_body_is_reported():
    assert "no body" in refusal(b"").message


@pytest.mark.parametrize("model", [None, "", 5, ["m"], {}])
def test_missing_or_non_text_model_is_rejected(model):
    error = refusal(orjson.dumps({"model": model, "messages": MESSAGES}))
    assert (error.param, error.code) == ("model", "missing_model")
    assert refusal(orjson.dumps({"messages": MESSAGES})).param == "model"


@pytest.mark.parametrize(
    ("endpoint", "name"), [("chat_completions", "messages"), ("completions", "prompt"), ("embeddings", "input")]
)
def test_main_field_of_an_endpoint_is_required(endpoint, name):
    assert refusal(b'{"model": "m"}', endpoint).param == name
    assert refusal(orjson.dumps({"model": "m", name: None}), endpoint).param == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("messages", "text"),
        ("messages", []),
        ("messages", ["text"]),
        ("messages", [{"content": "no role"}]),
        ("messages", [{"role": 1}]),
        ("messages", [{"role": "user", "content": 5}]),
        ("messages", [{"role": "user", "content": ["text"]}]),
        ("stream", "true"),
        ("stream", 1),
        ("temperature", "hot"),
        ("temperature", True),
        ("n", 0),
        ("n", 1.5),
        ("max_tokens", True),
        ("max_tokens", "10"),
        ("max_completion_tokens", 2**31),
        ("seed", 1.5),
        ("stop", [1]),
        ("tools", {}),
        ("tools", ["x"]),
        ("tool_choice", []),
        ("response_format", "json"),
        ("metadata", "x"),
        ("fallbacks", "gpt-4o"),
        ("fallbacks", [{"model": "x"}]),
        ("num_retries", -1),
        ("num_retries", 1000),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", "5"),
        ("disable_fallbacks", "yes"),
    ],
)
def test_invalid_field_is_reported(name, value):
    error = refused(**{name: value})
    assert error.param == name
    assert error.message.startswith(f"'{name}' has to be ")


def test_authority_field_is_rejected():
    assert refused(api_base="http://evil.example").param == "api_base"
    for name in ("additional_drop_params", "allowed_openai_params"):
        assert refused(**{name: ["max_tokens"]}).param == name
    for name in ("models", "route", "provider", "preset"):
        assert refused(**{name: "x"}).param == name
    for name in ("speed", "inference_geo"):
        assert refused(**{name: "fast"}).param == name
    assert refused("embeddings", input="x", litellm_params={}).param == "litellm_params"


@pytest.mark.parametrize(("endpoint", "name"), [("completions", "prompt"), ("embeddings", "input")])
@pytest.mark.parametrize("value", ["text", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
def test_prompt_may_be_text_texts_or_tokens(endpoint, name, value):
    assert parse(endpoint, orjson.dumps({"model": "m", name: value})).body[name] == value


@pytest.mark.parametrize("endpoint_and_name", [("completions", "prompt"), ("embeddings", "input")])
@pytest.mark.parametrize("value", [5, {}, [], [None], ["a", 1], [[]], [[1], "a"], [1.5], [True]])
def test_other_prompt_is_rejected(endpoint_and_name, value):
    endpoint, name = endpoint_and_name
    assert refusal(orjson.dumps({"model": "m", name: value}), endpoint).param == name


def test_last_repeated_name_wins_and_is_forwarded_once():
    raw = b'{"model": "a", "model": "b", "messages": [{"role": "user", "content": "Hi"}]}'
    found = parse("chat_completions", raw)
    assert found.model == found.body["model"] == "b"


def test_value_that_cannot_be_serialized_is_rejected():
    fields: dict = {}
    for _ in range(400):
        fields = {"x": fields}
    with pytest.raises(ApiError) as caught:
        encode(fields)
    assert (caught.value.status, caught.value.message) == (400, "The body is nested too deeply.")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "stop",
    "n",
    "timeout",
    "fallbacks",
    "prompt",
    "input",
    "x",
)


@given(
    st.sampled_from(["chat_completions", "completions", "embeddings"]),
    st.dictionaries(st.sampled_from(FIELDS), json_values),
)
def test_any_object_is_a_request_or_a_400(endpoint, fields):
    raw = orjson.dumps(fields)
    try:
        found = parse(endpoint, raw)
    except ApiError:
        refusal(raw, endpoint)
    else:
        assert found.model == fields["model"]
        assert encode(found.body)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_a_400(raw):
    try:
        found = parse_object(raw)
    except ApiError:
        refusal(raw)
    else:
        assert isinstance(found, dict)
