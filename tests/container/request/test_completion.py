"""Validation of the request body, and the quick scan of a chat: an ordinary conversation needs no changes."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared import fit
from container.formats.shared.capabilities import capabilities
from container.request.completion import encode, look, parse, parse_object
from tests.container.conftest import LoadConfig
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


PROVIDERS = (
    "openai/gpt-4o",
    "openai/gpt-5",
    "openai/mine",
    "mistral/mistral-large-latest",
    "groq/llama-x",
    "deepseek/deepseek-chat",
    "openrouter/x",
    "hosted_vllm/x",
    "gemini/gemini-2.5-pro",
    "anthropic/claude-sonnet-4-5",
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "done"}
HELLO = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def seen(*messages: Any, **more: Any):
    found = look({"messages": list(messages), **more})
    assert found is not None
    return found


def test_texts_are_plain():
    assert seen({"role": "system", "content": "x"}, HELLO, {"role": "assistant", "content": "y"}).plain


def test_agents_conversation_is_ordinary():
    found = seen(HELLO, ASKED, RESULT, tools=[TOOL])
    assert found.ordinary
    assert not found.plain
    assert (found.longest_id, found.names, found.unsaid) == (6, {"f"}, True)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": ""},
        {"role": "user", "content": None},
        {"role": "user"},
        {"role": "user", "content": "x", "name": "me"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]},
        {"role": "user", "content": ["x"]},
        {"role": "user", "content": {"text": "x"}},
        {"role": "tool", "content": "x"},
        {"role": "function", "name": "f", "content": "x"},
        {"role": "assistant", "content": "x", "reasoning_content": "y"},
        {"role": "assistant", "content": "x", "tool_calls": None},
        {"role": "assistant", "content": "x", "tool_calls": []},
        {"role": "assistant", "content": "x", "tool_calls": {"id": "x"}},
        {"role": "assistant", "tool_calls": [{**CALL, "index": 0}]},
        {"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]},
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "provider_specific_fields": {}}}]},
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": 1, "arguments": ""}}]},
        {"role": "assistant", "tool_calls": [{**CALL, "id": None}]},
        {"role": ["user"], "content": "x"},
        {"role": 1, "content": "x"},
        "x",
        None,
    ],
)
def test_other_conversation_is_not_ordinary(message):
    found = seen(HELLO, message)
    assert not found.ordinary
    assert not found.plain


@pytest.mark.parametrize("id", ["", "a b", "call_1__thought__x", "ü"])
def test_id_that_some_provider_rejects_has_no_length(id):
    assert seen({**ASKED, "tool_calls": [{**CALL, "id": id}]}).longest_id is None
    assert seen({**RESULT, "tool_call_id": id}).longest_id is None


def test_repeated_id_has_no_length():
    assert seen(ASKED, RESULT, ASKED, RESULT).longest_id is None


IDS = st.sampled_from(["call_1", "call_2", "a" * 9, "b" * 41, "", "x y", "call_3__thought__QQ"])
NAMES = st.sampled_from(["f", "g.h", "1st", "n" * 65])
TEXTS = st.sampled_from(["x", "", None, [{"type": "text", "text": "x"}], [{"type": "tool_reference"}], []])
CALLS = st.builds(
    lambda id, name, more: {"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}, **more},
    IDS,
    NAMES,
    st.sampled_from([{}, {}, {"index": 0}, {"provider_specific_fields": {}}]),
)
CONVERSATIONS = st.one_of(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "developer"]), TEXTS),
    st.builds(
        lambda text, calls, more: {"role": "assistant", "content": text, "tool_calls": calls, **more},
        TEXTS,
        st.lists(CALLS, max_size=2),
        st.sampled_from([{}, {}, {"reasoning": "y"}, {"name": "me"}, {"audio": None}]),
    ),
    st.builds(lambda text, id: {"role": "tool", "content": text, "tool_call_id": id}, TEXTS, IDS),
)
TOOLS = st.sampled_from(
    [None, [TOOL], [{**TOOL, "cache_control": {}}], [{"type": "custom", "custom": {"name": "g.h"}}]]
)
CHOICES = st.sampled_from(["auto", {"type": "function", "function": {"name": "g.h"}}])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_scan_does_not_change_the_adapted_request(load_config: LoadConfig, provider: str):
    yaml = (
        f"model_list: [{{model_name: m, litellm_params: {{model: {provider}, api_key: k, api_base: 'http://x/v1'}}}}]"
    )
    d = load_config(yaml).deployments[0]
    can = capabilities(d, d.model)

    @given(st.lists(CONVERSATIONS, min_size=1, max_size=5), TOOLS, CHOICES)
    def compare(messages, tools, choice):
        body = {"messages": messages, **({"tools": tools, "tool_choice": choice} if tools else {})}
        found = look(body)
        once, names = fit.fit_conversation(d, d.model, body, found, drop_params=False)
        assert (once, names) == fit.fit_conversation(d, d.model, body, None, drop_params=False)
        with_look, without = dict(once), dict(once)
        fit.fit_fields(with_look, can, {}, found, drop_params=True)
        fit.fit_fields(without, can, {}, None, drop_params=True)
        assert with_look == without

    compare()
