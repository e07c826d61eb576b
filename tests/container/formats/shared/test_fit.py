"""Chat requests adapted to each provider."""

import re
from typing import Any

import orjson
import pytest

from container.engine import Engine
from container.formats import Formats
from container.formats.shared import reasoning
from container.formats.shared.fit import Texts, fitted_parts
from container.formats.shared.wire import Unsupported
from container.request.client_apis import parse_messages
from container.request.completion import parse
from container.routing.health import Outcome
from tests.container.conftest import LoadConfig

HELLO = [{"role": "user", "content": "Hi"}]
HOME = {"api_base": "http://127.0.0.1:1/v1"}
STRICT = ("groq/llama-x", "mistral/mistral-large-latest", "cerebras/llama3.1-8b")
DIRECT = (
    *STRICT,
    "openai/gpt-4o",
    "openai/gpt-5",
    "azure/mine",
    "deepseek/deepseek-chat",
    "xai/grok-4",
    "perplexity/sonar",
    "together_ai/x",
    "fireworks_ai/x",
    "nvidia_nim/x",
    "deepinfra/x",
    "hosted_vllm/x",
    "ollama/x",
    "lm_studio/x",
    "openrouter/openai/gpt-4o",
    "anthropic/claude-sonnet-4-5",
    "gemini/gemini-2.5-pro",
)


class Sending:
    """`sending(model, drop_params=…, preset=…)`: the outgoing body for a chat or Messages API request."""

    def __init__(self, load_config: LoadConfig) -> None:
        self._load = load_config

    def _made(self, model: str, drop_params: bool, params: dict[str, Any]) -> tuple[Formats, Any]:
        where = HOME if model.split("/")[0] in ("azure", "hosted_vllm", "custom_openai") else {}
        entry = {"model_name": "m", "litellm_params": {"model": model, "api_key": "k", **where, **params}}
        config = self._load({"model_list": [entry], "litellm_settings": {"drop_params": drop_params}})
        return Formats(config.options, Engine(config, {}, start_timeout=1)), config.deployments[0]

    def chat(
        self, model: str, messages: Any = HELLO, *, drop_params: bool = False, params: Any = None, **fields: Any
    ) -> dict[str, Any]:
        formats, d = self._made(model, drop_params, params or {})
        request = parse("chat_completions", orjson.dumps({"model": "m", "messages": messages, **fields}))
        return orjson.loads(formats.of(d, d.model, "chat_completions").request(d, d.model, request).body)

    def message(self, model: str, *, drop_params: bool = False, params: Any = None, **fields: Any) -> dict[str, Any]:
        formats, d = self._made(model, drop_params, params or {})
        raw = {"model": "m", "messages": HELLO, "max_tokens": 5000, **fields}
        request = parse_messages("messages", orjson.dumps(raw), "")
        return orjson.loads(formats.of(d, d.model, "messages").request(d, d.model, request).body)


@pytest.fixture
def sending(load_config: LoadConfig) -> Sending:
    return Sending(load_config)


# Fields


@pytest.mark.parametrize("model", DIRECT)
def test_plain_request_is_unchanged(sending: Sending, model: str):
    if model.startswith(("anthropic/", "gemini/")):
        return
    sent = sending.chat(model)
    assert sent == {"model": sent["model"], "messages": HELLO}


@pytest.mark.parametrize("model", DIRECT)
@pytest.mark.parametrize("name", ["client_metadata", "prompt_cache_key", "safety_identifier", "prompt_cache_retention"])
def test_labels_never_cause_a_rejection(sending: Sending, model: str, name: str):
    value: Any = {"a": "b"} if name == "client_metadata" else "x"
    labels: dict[str, Any] = {name: value}
    sent = sending.chat(model, **labels)
    assert name not in sent or (
        name != "client_metadata" and not model.startswith(("mistral", "cerebras", "anthropic"))
    )


@pytest.mark.parametrize(
    "model", [*STRICT, "openai/gpt-4o", "azure/mine", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-pro"]
)
def test_client_specific_field_is_omitted_where_the_provider_would_reject_it(sending: Sending, model: str):
    assert "my_field" not in orjson.dumps(sending.chat(model, my_field=1)).decode()


def test_lenient_server_gets_client_specific_fields(sending: Sending):
    assert sending.chat("hosted_vllm/x", guided_json={"a": 1}, my_field=2)["my_field"] == 2


@pytest.mark.parametrize(
    ("model", "fields", "refused"),
    [
        ("mistral/mistral-large-latest", {"logit_bias": {"1": 1}}, "logit_bias"),
        ("cerebras/llama3.1-8b", {"presence_penalty": 1}, "presence_penalty"),
        ("perplexity/sonar", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ("xai/grok-4", {"stop": "x"}, "stop"),
        ("openai/gpt-5", {"stop": "x"}, "stop"),
        ("openai/gpt-5", {"temperature": 0.2}, "temperature"),
        ("openai/gpt-5.4", {"temperature": 0.2, "reasoning_effort": "low"}, "temperature"),
        ("openai/o3", {"top_p": 0.2}, "top_p"),
        ("azure/gpt-5", {"presence_penalty": 1}, "presence_penalty"),
        ("openai/gpt-4o", {"reasoning_effort": "high"}, "reasoning_effort"),
        ("openai/gpt-4o", {"top_k": 3}, "top_k"),
        ("deepinfra/x", {"seed": 3}, "seed"),
        ("groq/llama-x", {"min_p": 0.1}, "min_p"),
    ],
)
def test_significant_unsupported_field_is_rejected_by_name_or_dropped(
    sending: Sending, model: str, fields: dict[str, Any], refused: str
):
    with pytest.raises(Unsupported) as caught:
        sending.chat(model, **fields)
    assert caught.value.param == refused
    sent = sending.chat(model, drop_params=True, **fields)
    assert refused not in sent
    assert sent["messages"] == HELLO


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("mistral/mistral-large-latest", {"n": 1, "presence_penalty": 0, "logprobs": False}),
        ("openai/gpt-5", {"stop": None, "parallel_tool_calls": True, "tool_choice": "auto"}),
        ("cerebras/llama3.1-8b", {"service_tier": "auto", "reasoning_effort": "none"}),
        ("perplexity/sonar", {"tools": [], "tool_choice": "none"}),
    ],
)
def test_field_that_requests_nothing_is_omitted(sending: Sending, model: str, fields: dict[str, Any]):
    assert not fields.keys() & sending.chat(model, **fields).keys()


def test_temperature_is_sent_while_the_model_does_not_reason(sending: Sending):
    assert sending.chat("openai/gpt-5.4", temperature=0.2)["temperature"] == 0.2  # the default effort is none
    assert sending.chat("openai/gpt-5", temperature=1)["temperature"] == 1
    assert sending.chat("openai/gpt-4o", temperature=0.2)["temperature"] == 0.2


def test_presets_are_sent(sending: Sending):
    sent = sending.chat("openai/gpt-4o", params={"extra_body": {"my_field": 1, "top_k": 2}})
    assert (sent["my_field"], sent["top_k"]) == (1, 2)
    assert "temperature" not in sending.chat("openai/gpt-5", params={"temperature": 0.2}, drop_params=True)


def test_mistrals_seed_is_renamed(sending: Sending):
    sent = sending.chat("mistral/mistral-large-latest", seed=7)
    assert (sent["random_seed"], "seed" in sent) == (7, False)


# Messages


@pytest.mark.parametrize("model", [m for m in DIRECT if m not in ("openai/gpt-4o", "openai/gpt-5", "azure/mine")])
def test_developer_role_becomes_system_where_unsupported(sending: Sending, model: str):
    if model.startswith(("anthropic/", "gemini/")):
        return
    messages = [{"role": "developer", "content": "Be brief."}, *HELLO, {"role": "developer", "content": "Now."}]
    assert [m["role"] for m in sending.chat(model, messages)["messages"]] == ["system", "user", "system"]


@pytest.mark.parametrize("model", ["openai/gpt-4o", "openai/gpt-5", "openai/o3", "azure/mine"])
def test_openai_models_keep_the_developer_role(sending: Sending, model: str):
    messages = [{"role": "developer", "content": "Be brief."}, *HELLO]
    assert sending.chat(model, messages)["messages"] == messages


MARK = {"cache_control": {"type": "ephemeral"}}
MARKED: list[Any] = [
    {"role": "system", "content": [{"type": "text", "text": "a", **MARK}]},
    {"role": "user", "content": "b", **MARK},
    {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "d", **MARK}]},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}, **MARK}, **MARK}]


@pytest.mark.parametrize("model", [m for m in DIRECT if not m.startswith(("anthropic/", "gemini/", "perplexity/"))])
def test_cache_markers_are_removed_where_rejected(sending: Sending, model: str):
    sent = sending.chat(model, MARKED, tools=TOOLS)
    assert b"cache_control" not in orjson.dumps(sent)
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "tool"]
    assert sent["tools"][0]["function"]["name"] == "f"


@pytest.mark.parametrize("model", ["openrouter/anthropic/claude-sonnet-4", "openai/mine"])
def test_cache_markers_are_kept_where_supported(sending: Sending, model: str):
    sent = sending.chat(model, MARKED, tools=TOOLS, params=HOME if model == "openai/mine" else {})
    assert (sent["messages"], sent["tools"]) == (MARKED, TOOLS)


THOUGHT = {
    "role": "assistant",
    "content": "b",
    "reasoning_content": "Hm.",
    "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}],
    "provider_specific_fields": {"a": 1},
    "reasoning_items": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}],
}


@pytest.mark.parametrize("model", [*STRICT, "openai/gpt-4o", "azure/mine", "perplexity/sonar"])
def test_reasoning_is_removed_where_rejected(sending: Sending, model: str):
    assert sending.chat(model, [*HELLO, THOUGHT, *HELLO])["messages"][1] == {"role": "assistant", "content": "b"}


@pytest.mark.parametrize("model", ["deepseek/deepseek-chat", "hosted_vllm/x", "together_ai/x", "xai/grok-4"])
def test_reasoning_text_is_kept_where_supported(sending: Sending, model: str):
    sent = sending.chat(model, [*HELLO, THOUGHT, *HELLO])["messages"][1]
    assert sent == {"role": "assistant", "content": "b", "reasoning_content": "Hm."}


@pytest.mark.parametrize("model", STRICT)
def test_response_fields_repeated_by_an_sdk_are_removed_for_strict_providers(sending: Sending, model: str):
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call],
        "refusal": None,
        "annotations": [],
        "audio": None,
    }
    sent = sending.chat(model, [*HELLO, said, {"role": "tool", "tool_call_id": "abcdefghi", "content": "x"}])
    assert sent["messages"][1] == {"role": "assistant", "tool_calls": [call]}


def test_clients_objects_are_not_modified(sending: Sending):
    before = orjson.dumps((MARKED, TOOLS, THOUGHT))
    sending.chat("groq/llama-x", [*MARKED, THOUGHT], tools=TOOLS)
    assert orjson.dumps((MARKED, TOOLS, THOUGHT)) == before


# Reasoning effort

EFFORTS = [
    ("openai/gpt-5", {"low": "low", "max": "high", "xhigh": "high", "none": "minimal"}),
    ("openai/gpt-5.4", {"low": "low", "max": "xhigh", "minimal": "low", "none": "none"}),
    ("openai/o3", {"minimal": "low", "max": "high"}),
    ("groq/openai/gpt-oss-20b", {"low": "low", "max": "high", "minimal": "low"}),
    ("openrouter/openai/gpt-5", {"low": "low", "max": "xhigh"}),
    ("hosted_vllm/x", {"low": "low", "max": "high", "minimal": "low"}),
    ("together_ai/openai/gpt-oss-120b", {"none": "low", "max": "high"}),
]


@pytest.mark.parametrize(("model", "levels"), EFFORTS)
def test_effort_becomes_the_nearest_supported_one(sending: Sending, model: str, levels: dict[str, str]):
    for asked, sent in levels.items():
        assert sending.chat(model, reasoning_effort=asked)["reasoning_effort"] == sent
        assert sending.chat(model, reasoning_effort={"effort": asked})["reasoning_effort"] == sent
        if asked not in ("minimal", "none"):
            config = {"effort": asked}
            made = sending.message(model, thinking={"type": "adaptive"}, output_config=config)
            assert made["reasoning_effort"] == sent
            assert sending.message(model, output_config=config)["reasoning_effort"] == sent


@pytest.mark.parametrize(
    ("model", "low", "most"),
    [
        ("gemini/gemini-2.5-pro", {"thinkingBudget": 1024}, {"thinkingBudget": 4096}),
        ("gemini/gemini-3-pro-preview", {"thinkingLevel": "low"}, {"thinkingLevel": "high"}),
    ],
)
def test_effort_becomes_the_nearest_supported_one_for_gemini(
    sending: Sending, model: str, low: dict[str, Any], most: dict[str, Any]
):
    for asked, thinking in (("low", low), ("max", most), ("xhigh", most)):
        for made in (
            sending.message(model, thinking={"type": "adaptive"}, output_config={"effort": asked}),
            sending.chat(model, reasoning_effort=asked),
        ):
            assert thinking.items() <= made["generationConfig"]["thinkingConfig"].items()


def test_thinking_budget_becomes_an_effort_where_unsupported(sending: Sending):
    for budget, level in ((1024, "low"), (2048, "medium"), (10_000, "high")):
        thinking = {"type": "enabled", "budget_tokens": budget}
        assert sending.message("openai/gpt-5", thinking=thinking)["reasoning_effort"] == level
        sent = sending.chat("openai/gpt-5", thinking=thinking)
        assert (sent["reasoning_effort"], "thinking" in sent) == (level, False)


def test_deepseek_thinking_is_switched_on_or_off(sending: Sending):
    for asked, kind in (("low", "enabled"), ("none", "disabled")):
        sent = sending.chat("deepseek/deepseek-chat", reasoning_effort=asked)
        assert (sent["thinking"], "reasoning_effort" in sent) == ({"type": kind}, False)
    budget = {"type": "enabled", "budget_tokens": 5000}
    assert sending.message("deepseek/deepseek-chat", thinking=budget)["thinking"] == {"type": "enabled"}


@pytest.mark.parametrize("model", ["openai/gpt-4o", "groq/llama-x", "mistral/mistral-large-latest", "perplexity/sonar"])
def test_non_reasoning_model_is_not_asked_to_reason_by_anthropic_clients(sending: Sending, model: str):
    sent = sending.message(model, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert not {"reasoning_effort", "thinking"} & sent.keys()


def test_translated_field_may_be_rejected_and_dropped(load_config: LoadConfig):
    """A custom server may not support `reasoning_effort`, which is derived from requests of Anthropic's clients."""
    entry = {"model_name": "m", "litellm_params": {"model": "openai/mine", "api_key": "k", **HOME}}
    config = load_config({"model_list": [entry]})
    d = config.deployments[0]
    format = Formats(config.options, Engine(config, {}, start_timeout=1)).of(d, d.model, "messages")
    raw = {"model": "m", "messages": HELLO, "max_tokens": 9, "thinking": {"type": "adaptive"}}
    request = parse_messages("messages", orjson.dumps(raw), "")
    sent = format.request(d, d.model, request)
    assert orjson.loads(sent.body)["reasoning_effort"] == "medium"
    refusal = Outcome("caller", 422, "body.reasoning_effort: Extra inputs are not permitted")
    again = format.again(d, d.model, request, sent, refusal)
    assert again is not None
    assert orjson.loads(again.body) == {"model": "mine", "messages": HELLO, "max_tokens": 9}
    assert format.again(d, d.model, request, sent, Outcome("caller", 400, "temperature is unknown")) is None


def test_unknown_effort_is_left_to_the_provider():
    assert reasoning.nearest("default", frozenset(("low",))) == "default"
    assert reasoning.nearest("low", frozenset(("none", "default"))) == "default"
    assert reasoning.nearest("high", frozenset()) is None


# Messages


@pytest.mark.parametrize("model", ["openai/gpt-4o", "azure/mine", "deepseek/deepseek-chat", "nvidia_nim/x"])
def test_nulls_are_omitted_for_every_provider(sending: Sending, model: str):
    said = {"role": "assistant", "content": "b", "tool_calls": None, "function_call": None, "audio": None}
    assert sending.chat(model, [*HELLO, said, *HELLO])["messages"][1] == {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("model", "left"),
    [("groq/llama-x", set()), ("mistral/mistral-large-latest", {"tool"}), ("xai/grok-3", {"user"})],
)
def test_names_are_kept_where_supported(sending: Sending, model: str, left: set[str]):
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Hi", "name": "ada"},
        {"role": "assistant", "content": None, "tool_calls": [call], "name": "bot"},
        {"role": "tool", "content": "x", "tool_call_id": "abcdefghi", "name": "f"},
    ]
    sent = sending.chat(model, messages)["messages"]
    assert {message["role"] for message in sent if "name" in message} == left


def test_mistral_gets_no_empty_turn(sending: Sending):
    empty = {"role": "assistant", "content": ""}
    sent = sending.chat("mistral/mistral-large-latest", [*HELLO, empty, *HELLO])["messages"]
    assert [message["role"] for message in sent] == ["user", "user"]
    assert sending.chat("openai/gpt-4o", [*HELLO, empty, *HELLO])["messages"][1] == empty


# Dependent fields


@pytest.mark.parametrize("model", ["openai/gpt-4o", "openrouter/x", "deepseek/deepseek-chat"])
def test_metadata_is_sent_only_with_stored_requests(sending: Sending, model: str):
    assert "metadata" not in sending.chat(model, metadata={"a": "b"})
    assert sending.chat("openai/gpt-4o", metadata={"a": "b"}, store=True)["metadata"] == {"a": "b"}


def test_excess_stop_sequences_are_dropped_with_drop_params(sending: Sending):
    stop = ["a", "b", "c", "d", "e"]
    assert sending.chat("openai/gpt-4o", stop=stop, drop_params=True)["stop"] == stop[:4]
    assert sending.chat("openai/gpt-4o", stop=stop)["stop"] == stop
    assert sending.chat("deepseek/deepseek-chat", stop=stop, drop_params=True)["stop"] == stop


def test_stream_options_are_never_sent_to_mistral(sending: Sending):
    sent = sending.chat("mistral/mistral-large-latest", stream=True, stream_options={"include_usage": True})
    assert "stream_options" not in sent


def test_unsupported_labels_are_not_sent_to_groq(sending: Sending):
    sent = sending.chat("groq/llama-x", prompt_cache_key="k", safety_identifier="s", user="u")
    assert sent.keys() == {"model", "messages", "user"}


@pytest.mark.parametrize("model", ["openai/o3", "azure/o4-mini", "openai/gpt-5"])
def test_reasoning_model_gets_no_logit_bias_or_stop(sending: Sending, model: str):
    asked: dict[str, Any] = {"logit_bias": {"1": 1}, "stop": ["END"]}
    assert sending.chat(model, **asked, drop_params=True).keys() == {"model", "messages"}
    with pytest.raises(Unsupported):
        sending.chat(model, **asked)


@pytest.mark.parametrize("model", ["xai/grok-3", "xai/grok-4", "xai/grok-3-mini"])
def test_grok_gets_no_penalties(sending: Sending, model: str):
    sent = sending.chat(model, presence_penalty=0.5, frequency_penalty=0.5, drop_params=True)
    assert sent.keys() == {"model", "messages"}


def test_openrouter_gets_ids_valid_for_its_upstreams(sending: Sending):
    call = {"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "x"},
    ]
    sent = sending.chat("openrouter/anthropic/claude-sonnet-4.5", messages)["messages"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,40}", sent[1]["tool_calls"][0]["id"])
    assert sent[2]["tool_call_id"] == sent[1]["tool_calls"][0]["id"]


def test_magistral_gets_no_effort(sending: Sending):
    sent = sending.message("mistral/magistral-medium-latest", thinking={"type": "adaptive"})
    assert sent.keys().isdisjoint({"thinking", "reasoning_effort"})


# Anthropic's clients


def test_gemini_on_vertex_ai_gets_the_same_thinking(sending: Sending):
    asked: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    there = sending.message("vertex_ai/gemini-2.5-pro", params={"api_key": None, "vertex_project": "p"}, **asked)
    home = sending.message("gemini/gemini-2.5-pro", **asked)
    assert there["generationConfig"]["thinkingConfig"] == home["generationConfig"]["thinkingConfig"]
    assert there["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 2000


@pytest.mark.parametrize(("model", "taken"), [("openai/gpt-4o", True), ("openai/o3", False), ("deepinfra/x", False)])
def test_parallel_tool_calls_is_sent_where_supported(sending: Sending, model: str, taken: bool):
    tools = [{"name": "f", "input_schema": {"type": "object"}, "strict": True}]
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    sent = sending.message(model, tools=tools, tool_choice=choice)
    assert sent.get("parallel_tool_calls") is (False if taken else None)
    assert sent["tools"][0]["function"]["strict"] is True


@pytest.mark.parametrize("model", [*STRICT, "openai/gpt-4o", "azure/mine"])
@pytest.mark.parametrize("endpoint", ["chat", "with other fields"])
def test_calls_are_sent_without_provider_specific_fields(sending: Sending, model: str, endpoint: str):
    function = {"name": "f", "arguments": "{}"}
    signed = {"thought_signature": "x"}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    odd = {
        **call,
        "index": 0,
        "provider_specific_fields": signed,
        "extra_content": {"google": signed},
        "function": {**function, "provider_specific_fields": signed},
    }
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [odd]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "r"},
    ]
    more = {} if endpoint == "chat" else {"temperature": 1}
    assert sending.chat(model, messages, **more)["messages"][1]["tool_calls"] == [call]


@pytest.mark.parametrize("model", ["hosted_vllm/x", "custom_openai/x"])
def test_signatures_from_an_openai_compatible_server_are_returned_to_it(sending: Sending, model: str):
    call = {
        "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "x"}},
    }  # fmt: skip
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]
    assert sending.chat(model, messages)["messages"][1]["tool_calls"] == [call]


@pytest.mark.parametrize(
    "asked", [{"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}]
)
def test_magistral_never_gets_an_effort(sending: Sending, asked: dict[str, Any]):
    sent = sending.chat("mistral/magistral-medium-latest", **asked)
    assert not sent.keys() & {"reasoning_effort", "thinking"}


# Content parts.

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def contents(*content: Any, texts: Texts = "parts", role: str = "user", drop_params: bool = False) -> list[Any]:
    messages = [{"role": role, "content": each} for each in content]
    return [message["content"] for message in fitted_parts(messages, texts, drop_params=drop_params)]


def test_text_is_unchanged():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}, {"role": "user"}]
    assert fitted_parts(messages, "only", drop_params=True) is messages


def test_clients_parts_are_not_modified():
    message = {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]}
    fitted_parts([message], "joined", drop_params=True)
    assert message == {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]}


@pytest.mark.parametrize("texts", ["joined", "only"])
def test_list_of_texts_becomes_text_where_lists_are_unsupported(texts):
    assert contents([text("A"), text("B")], texts=texts) == ["A\nB"]


def test_empty_text_adds_no_line():
    assert contents([text(""), text("B")], texts="joined") == ["B"]


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_lists_become_text_in_every_role(role):
    assert contents([text("A")], texts="joined", role=role) == ["A"]


def test_list_is_kept_where_supported():
    assert contents([text("A"), text("B")]) == [[text("A"), text("B")]]


def test_list_with_an_image_is_kept():
    assert contents([text("A"), PICTURE], texts="joined") == [[text("A"), PICTURE]]


def test_non_text_part_is_dropped_with_drop_params_where_only_text_is_supported():
    assert contents([text("A"), PICTURE, SOUND], texts="only", drop_params=True) == ["A"]


def test_non_text_part_without_drop_params_is_left_to_the_provider():
    assert contents([text("A"), PICTURE], texts="only") == [[text("A"), PICTURE]]


@pytest.mark.parametrize(
    "picture", ["https://p.example/a.png", {"url": "https://p.example/a.png", "format": "image/png"}]
)
def test_image_url_is_an_object(picture):
    (parts,) = contents([{"type": "image_url", "image_url": picture}])
    assert parts == [{"type": "image_url", "image_url": {"url": "https://p.example/a.png"}}]


def test_image_detail_is_kept():
    picture = {"type": "image_url", "image_url": {"url": "https://p.example/a.png", "detail": "low"}}
    assert contents([picture]) == [[picture]]


def test_images_from_tools_follow_the_last_result():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "2"}]}
    messages = [
        call,
        {"role": "tool", "tool_call_id": "1", "content": [text("here"), PICTURE]},
        {"role": "tool", "tool_call_id": "2", "content": [PICTURE]},
        {"role": "user", "content": "And now?"},
    ]
    made = fitted_parts(messages, "parts", drop_params=False)
    assert [message["role"] for message in made] == ["assistant", "tool", "tool", "user", "user"]
    assert made[1]["content"] == [text("here")]
    assert made[2]["content"]
    assert isinstance(made[2]["content"], str)
    assert [part["type"] for part in made[3]["content"]] == ["text", "image_url", "image_url"]


def test_images_of_the_last_message_are_kept():
    made = fitted_parts([{"role": "tool", "tool_call_id": "1", "content": [PICTURE]}], "parts", drop_params=False)
    assert made[-1]["role"] == "user"
    assert made[-1]["content"][-1] == PICTURE


@pytest.mark.parametrize(
    "part", [{}, {"type": None}, {"type": "text"}, {"type": "text", "text": 1}, {"type": "image_url"}]
)
@pytest.mark.parametrize("texts", ["parts", "joined", "only"])
def test_unusual_parts_are_left_to_the_provider(part, texts):
    assert contents([part], texts=texts) == [[part]]


def test_request_is_adapted_to_the_parts_that_a_deployment_supports(formats, deployment):
    d = deployment(model="deepseek/deepseek-chat", api_key="k")
    messages = [{"role": "user", "content": [text("A"), text("B")]}]
    request = parse("chat_completions", orjson.dumps({"model": "m", "messages": messages}))
    sent = formats.of(d, "deepseek-chat", "chat_completions").request(d, "deepseek-chat", request)
    assert orjson.loads(sent.body)["messages"] == [{"role": "user", "content": "A\nB"}]
