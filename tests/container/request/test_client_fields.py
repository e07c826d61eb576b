"""Fields of LiteLLM's clients that no provider supports are converted to what they mean."""

import copy
from typing import Any

import orjson
import pytest

from container.request.client_apis import parse_messages, parse_responses
from container.request.completion import Completion, parse
from worker.core.api.errors import ApiError
from worker.core.pricing.quote import Quoter

MESSAGES = [{"role": "user", "content": "Hi"}]
LABELS = {
    "tags": ["a"],
    "litellm_session_id": "s",
    "litellm_trace_id": {"odd": 1},
    "litellm_metadata": {"user_api_key": "sk-planted"},
    "litellm_call_id": "c",
    "id": "chatcmpl-1",
    "drop_params": True,
    "max_retries": 2,
    "caching": True,
    "request_timeout": 30,
    "stream_timeout": 30,
    "verbose": True,
}


def chat(**fields: Any) -> Completion:
    return parse("chat_completions", orjson.dumps({"model": "m", "messages": MESSAGES, **fields}))


def body(**fields: Any) -> dict[str, Any]:
    found = dict(chat(**fields).body)
    assert found.pop("model") == "m"
    assert found.pop("messages") == MESSAGES
    return found


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("value", [None, "x", ["x"], {"api_base": "http://evil.example"}, 5])
def test_labels_are_removed_without_validation(name, value):
    assert body(**{name: value}) == {}
    raw = orjson.dumps({"model": "m", "max_tokens": 5, "messages": MESSAGES, name: value})
    assert name not in parse_messages("messages", raw, "").body
    assert name not in parse("embeddings", orjson.dumps({"model": "m", "input": "x", name: value})).body


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict"])
@pytest.mark.parametrize("value", [None, 0, -1, -5.0])
def test_non_positive_limit_is_no_limit(name, value):
    assert body(**{name: value}) == {}


def test_limit_is_kept():
    assert body(max_tokens=5, max_completion_tokens=-1) == {"max_tokens": 5}


@pytest.mark.parametrize(
    "fields",
    [
        {"stream_options": {"include_usage": True}},
        {"stream": None, "stream_options": {"include_usage": True}},
        {"stop": None, "n": None, "temperature": None, "tools": None, "response_format": None},
        {"stop": []},
        {"stop": ""},
        {"modalities": []},
        {"reasoning_effort": ""},
        {"tools": []},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"functions": [], "function_call": "auto"},
        {"user": None},
        {"user": {"id": 1}},
        {"user": ["x"]},
    ],
)
def test_field_that_requests_nothing_is_removed(fields):
    assert body(**fields) == {}


def test_stream_options_of_a_stream_are_kept():
    asked = chat(stream=True, stream_options={"include_usage": True})
    assert asked.client_wants_usage
    assert asked.body["stream_options"] == {"include_usage": True}
    assert not chat(stream=False, stream_options={"include_usage": True}).client_wants_usage
    assert "stream_options" not in chat(stream=False, stream_options=[]).body


@pytest.mark.parametrize(("user", "sent"), [(5, "5"), ({"id": 1}, None), (["x"], None), (True, None)])
def test_user_is_text_in_messages_and_for_the_engine(user, sent):
    message = orjson.dumps({"model": "m", "max_tokens": 5, "messages": MESSAGES, "user": user})
    assert parse_messages("messages", message, "").body.get("user") == sent
    response = orjson.dumps({"model": "m", "input": "Hi", "user": user})
    assert parse_responses(response).body.get("user") == sent


def test_user_becomes_text():
    assert body(user=5) == {"user": "5"}
    assert body(user="ada") == {"user": "ada"}


def test_functions_in_responses_format_are_nested():
    flat = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
    usual = {"type": "function", "function": {"name": "g"}}
    assert body(tools=[flat, usual])["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": False}},
        usual,
    ]


# `input` instead of `messages`


def of_input(given: Any, **fields: Any) -> dict[str, Any]:
    return parse("chat_completions", orjson.dumps({"model": "m", "input": given, **fields})).body


def test_text_input_is_a_user_message():
    assert of_input("Hi", instructions="Be kind.")["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
    ]


def test_agents_turn_with_calls_results_and_images():
    made = of_input(
        [
            {"role": "system", "content": "Be kind."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look:"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
            {"type": "custom_tool_call", "call_id": "c3", "name": "patch", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "c3", "output": "done"},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "And?"},
                    {"type": "input_image", "image_url": "https://h/p.png", "detail": "low"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
                ],
            },
        ]
    )["messages"]
    assert made[:2] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Look:"}]
    assert made[2]["content"] == "I look."
    assert [c["id"] for c in made[2]["tool_calls"]] == ["c1", "c2"]
    assert made[2]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert made[3:5] == [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
    ]
    assert made[5]["tool_calls"] == [{"id": "c3", "type": "custom", "custom": {"name": "patch", "input": "x"}}]
    assert [part["type"] for part in made[7]["content"]] == ["text", "image_url", "file"]
    assert made[7]["content"][1]["image_url"] == {"url": "https://h/p.png", "detail": "low"}


def test_other_fields_are_converted_to_chat_fields():
    made = of_input(
        "Hi",
        tools=[{"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "patch"}],
        tool_choice={"type": "function", "name": "f"},
        max_output_tokens=100,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "a", "schema": {}}, "verbosity": "low"},
        include=["reasoning.encrypted_content"],
        store=False,
        truncation="auto",
        stream=True,
    )
    assert made["tools"][0] == {"type": "function", "function": {"name": "f", "parameters": {}}}
    assert made["tools"][1] == {"type": "custom", "custom": {"name": "patch"}}
    assert made["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert made["max_completion_tokens"] == 100
    assert (made["reasoning_effort"], made["verbosity"]) == ("low", "low")
    assert made["response_format"] == {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
    assert not made.keys() & {"input", "include", "store", "truncation", "text", "reasoning", "max_output_tokens"}


@pytest.mark.parametrize("messages", [[], None])
def test_input_overrides_empty_messages(messages):
    made = parse("chat_completions", orjson.dumps({"model": "m", "input": "Hi", "messages": messages})).body
    assert made == {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def test_messages_override_input():
    assert "input" not in chat(input="Other").body


@pytest.mark.parametrize("given", [5, [], ["x"], {}, [{"type": "message"}], [{"type": "item_reference", "id": "x"}]])
def test_invalid_input_is_a_400(given):
    with pytest.raises(ApiError) as refused:
        of_input(given)
    assert (refused.value.status, refused.value.param) == (400, "input")


@pytest.mark.parametrize("name", ["previous_response_id", "conversation"])
def test_reference_to_stored_content_is_rejected(name):
    with pytest.raises(ApiError) as refused:
        of_input("Hi", **{name: "x"})
    assert refused.value.param == name


# Budgets


PRICE = {"input": 1e-6, "output": 2e-6, "image_tokens": 1000}


def quoted(fields: dict[str, Any]) -> Any:
    quoter = Quoter([{"group": "m", "needs": [], "price": PRICE}], {"m": [0]}, lambda needs: True, 4096)
    return quoter.quote("chat_completions", orjson.dumps({"model": "m", **fields}))


@pytest.mark.parametrize(
    "fields",
    [{"max_tokens": -1}, {"max_tokens": 0}, {"max_tokens": None}, {"max_completion_tokens": -1}, {"user": 5}, LABELS],
)
def test_edge_reserves_for_what_the_proxy_sends(fields):
    """Both add the same limit where the request has none."""
    found = quoted({"messages": MESSAGES, **fields})
    assert found.quote.add_limit == 4096
    sent = chat(**copy.deepcopy(fields)).body
    assert not sent.keys() & {"max_tokens", "max_completion_tokens"}


def test_edge_leaves_requests_of_other_apis_to_the_proxy():
    assert quoted({"input": "Hi", "max_output_tokens": 100_000}) is None
    assert quoted({"messages": None, "input": "Hi"}) is None
