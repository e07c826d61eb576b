"""Conversations with history from other providers are adapted to each direct provider."""

import re
from typing import Any

import orjson
import pytest

from container.config.providers import DIRECT
from container.engine import Engine
from container.formats import Formats
from container.formats.shared.capabilities import capabilities
from container.formats.shared.wire import Malformed, Plain, Sent, Unsupported
from container.request.client_apis import parse_messages
from container.request.completion import Completion, parse

SIGNATURE = "CiQB+/abc/def+ghi" + "A" * 300 + "=="
SIGNED = f"call_1f__thought__{SIGNATURE}"
LONG = "mcp__a_server_with_a_rather_long_name__a_tool_whose_name_is_long_as_well_and_longer"
MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-pro"}
# Perplexity does not support tools.
OPENAI_LIKE = sorted(name for name, one in DIRECT.items() if one.format == "openai" and name != "perplexity")


@pytest.fixture
def formats(load_config) -> Formats:
    entry = {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}
    config = load_config({"model_list": [entry]})
    return Formats(config.options, Engine(config, {}, start_timeout=1))


@pytest.fixture
def sent(formats, deployment):
    """`sent(provider, request)`: the parsed request body, and a reader for that provider's responses."""

    def made(provider: str, request: Completion, model: str = "") -> tuple[dict[str, Any], Sent, Any]:
        model = model or MODELS.get(provider, "some-model")
        extra = {"api_version": "2024-10-21"} if provider == "azure" else {}
        d = deployment(model=f"{provider}/{model}", api_key="k", api_base="http://h/v1", **extra)
        format = formats.of(d, d.model, request.endpoint)
        went = format.request(d, d.model, request)
        return orjson.loads(went.body), went, format

    return made


def chat(**more: Any) -> Completion:
    call = {"id": SIGNED, "type": "function", "function": {"name": LONG, "arguments": '{"a":1}'}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "I should call it."},
        {"role": "tool", "tool_call_id": SIGNED, "content": "done"},
    ]
    tool = {"type": "function", "function": {"name": LONG, "parameters": {"type": "object", "properties": {}}}}
    return parse("chat_completions", orjson.dumps({"model": "m", "messages": messages, "tools": [tool], **more}))


def messages(*more_blocks: dict[str, Any], **more: Any) -> Completion:
    thought = {"type": "thinking", "thinking": "I should call it.", "signature": ""}
    call = {"type": "tool_use", "id": SIGNED, "name": LONG, "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": SIGNED, "content": "done"}
    body = {
        "model": "m",
        "max_tokens": 100,
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [thought, *more_blocks, call]},
            {"role": "user", "content": [result]},
        ],
        "tools": [{"name": LONG, "input_schema": {"type": "object", "properties": {}}}],
        **more,
    }
    return parse_messages("messages", orjson.dumps(body), "")


@pytest.mark.parametrize("provider", OPENAI_LIKE)
@pytest.mark.parametrize("request_of", [chat, messages])
def test_openai_compatible_providers_get_valid_ids_and_names(sent, deployment, provider, request_of):
    body, _, _ = sent(provider, request_of())
    assistant, result = body["messages"][1:3]
    (call,) = assistant["tool_calls"]
    assert call["id"] == result["tool_call_id"]
    assert "__thought__" not in call["id"]
    d = deployment(model=f"{provider}/some-model", api_key="k", api_base="http://h/v1", api_version="2024-10-21")
    can = capabilities(d, d.model)
    assert can.call_id_length is None or len(call["id"]) <= can.call_id_length
    assert re.fullmatch(can.call_id_pattern or ".*", call["id"])
    name = call["function"]["name"]
    assert name == body["tools"][0]["function"]["name"]
    assert len(name) <= (can.tool_name_length or len(LONG))


def test_openai_ids_have_at_most_forty_characters(sent):
    body, _, _ = sent("openai", chat(), "gpt-4o")
    assert re.fullmatch("[a-zA-Z0-9_-]{1,40}", body["messages"][1]["tool_calls"][0]["id"])
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", body["tools"][0]["function"]["name"])


@pytest.mark.parametrize("request_of", [chat, messages])
def test_claude_gets_ids_without_signatures(sent, request_of):
    body, _, _ = sent("anthropic", request_of())
    blocks = [block for m in body["messages"] for block in m["content"] if isinstance(block, dict)]
    ids = [block.get("id") or block.get("tool_use_id") for block in blocks if "tool" in block["type"]]
    assert ids == ["call_1f", "call_1f"]
    assert not [block for block in blocks if block["type"] == "thinking"], "it is not signed"


@pytest.mark.parametrize("request_of", [chat, messages])
def test_signature_is_returned_to_gemini(sent, request_of):
    body, _, _ = sent("gemini", request_of())
    parts = [part for content in body["contents"] for part in content["parts"]]
    (called,) = (part for part in parts if "functionCall" in part)
    assert called["thoughtSignature"] == SIGNATURE
    (declared,) = body["tools"][0]["functionDeclarations"]
    assert declared["name"] == called["functionCall"]["name"]
    assert len(declared["name"]) <= 64


def answers(call_name: str) -> dict[str, bytes]:
    """A call of the tool in each wire format."""
    call = {"id": "call_2", "type": "function", "function": {"name": call_name, "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
    part = {"functionCall": {"name": call_name, "args": {}}}
    whole = {
        "openai": {"id": "1", "object": "chat.completion", "model": "x", "choices": [choice], "usage": {}},
        "gemini": {"candidates": [{"content": {"parts": [part], "role": "model"}, "finishReason": "STOP"}]},
    }
    return {kind: orjson.dumps(body) for kind, body in whole.items()}


@pytest.mark.parametrize("provider", ["openai", "groq", "gemini"])
@pytest.mark.parametrize("request_of", [chat, messages])
def test_client_gets_its_original_names_back(sent, provider, request_of):
    request = request_of()
    body, went, format = sent(provider, request)
    if provider == "gemini":
        short = body["tools"][0]["functionDeclarations"][0]["name"]
    else:
        short = body["tools"][0]["function"]["name"]
    assert short != LONG
    kind = "gemini" if provider == "gemini" else "openai"
    plain = format.plain(answers(short)[kind], "m", went)
    assert isinstance(plain, Plain)
    assert LONG.encode() in plain.body
    assert short.encode() not in plain.body


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("request_of", [chat, messages])
def test_client_gets_its_original_names_back_in_a_stream(sent, request_of, size):
    request = request_of(stream=True)
    body, went, format = sent("openai", request)
    short = body["tools"][0]["function"]["name"]
    call = {"index": 0, "id": "call_2", "type": "function", "function": {"name": short, "arguments": "{}"}}
    chunks = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    ]
    data = b"".join(b"data: " + orjson.dumps({"id": "1", "model": "x", **c}) + b"\n\n" for c in chunks)
    data += b"data: [DONE]\n\n"
    events = format.events("m", request, went)
    told = b"".join([events.feed(data[at : at + size]) for at in range(0, len(data), size)]) + events.end()
    assert LONG.encode() in told
    assert short.encode() not in told


@pytest.mark.parametrize("request_of", [chat, messages])
def test_deepseek_gets_the_reasoning_with_the_call(sent, request_of):
    body, _, _ = sent("deepseek", request_of(), "deepseek-reasoner")
    assert body["messages"][1]["reasoning_content"] == "I should call it."


def test_deepseek_gets_a_placeholder_for_lost_reasoning(sent):
    request = chat()
    del request.body["messages"][1]["reasoning_content"]
    body, _, _ = sent("deepseek", request, "deepseek-reasoner")
    assert body["messages"][1]["reasoning_content"].isspace()


ONLY_CLAUDES = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "f", "server_name": "s", "input": {}},
    {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_1", "content": []},
    {"type": "tool_search_tool_result", "tool_use_id": "srvtoolu_2", "content": {}},
    {"type": "container_upload", "file_id": "file_1"},
    {"type": "tool_reference", "tool_name": "f"},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "compaction", "content": "What was said before."},
]


@pytest.mark.parametrize("provider", ["openai", "groq", "gemini"])
@pytest.mark.parametrize("block", ONLY_CLAUDES, ids=lambda block: block["type"])
def test_claude_specific_content_is_omitted_for_others(sent, provider, block):
    body, _, _ = sent(provider, messages(block))
    assert block["type"].encode() not in orjson.dumps(body)
    for content in ([block], [{"type": "text", "text": "Hi"}, block]):
        alone = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
        body, _, _ = sent(provider, parse_messages("messages", orjson.dumps(alone), ""))
        said = body["contents"][0]["parts"] if provider == "gemini" else body["messages"]
        assert said, "a conversation never becomes empty"
        result = {"type": "tool_result", "tool_use_id": "1", "content": content}
        call = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [call]}]
        asked = {"model": "m", "max_tokens": 9, "messages": [*turns, {"role": "user", "content": [result]}]}
        sent(provider, parse_messages("messages", orjson.dumps(asked), ""))
        alone = {"model": "m", "messages": [{"role": "user", "content": content}]}
        body, _, _ = sent(provider, parse("chat_completions", orjson.dumps(alone)))
        assert b'"' + block["type"].encode() + b'"' not in orjson.dumps(body)


@pytest.mark.parametrize("provider", ["openai", "groq", "gemini"])
@pytest.mark.parametrize("inside", [False, True], ids=["beside a result", "in a result"])
def test_unknown_block_in_an_earlier_turn_becomes_a_note(sent, provider, inside):
    new = {"type": "brand_new", "x": 1}
    request = messages()
    turn = request.body["messages"][2]["content"]
    if inside:
        turn[0]["content"] = [new]
    else:
        turn.append(new)
    request.body["messages"] += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "And now?"}]
    body, _, _ = sent(provider, request)
    assert b"[left out: brand_new]" in orjson.dumps(body)


def test_claude_keeps_its_specific_content(sent):
    body, _, _ = sent("anthropic", messages(*ONLY_CLAUDES[:2]))
    assert [block["type"] for block in body["messages"][1]["content"]][:2] == [b["type"] for b in ONLY_CLAUDES[:2]]


def test_found_tools_are_listed(sent):
    request = messages()
    found = [{"type": "tool_reference", "tool_name": "read"}, {"type": "tool_reference", "tool_name": "write"}]
    request.body["messages"][2]["content"][0]["content"] = found
    body, _, _ = sent("openai", request)
    assert "read, write" in body["messages"][2]["content"]


def test_image_is_not_dropped_silently(sent):
    audio = {"type": "audio", "source": {"type": "base64", "media_type": "audio/wav", "data": "x"}}
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [audio]}]}
    with pytest.raises(Unsupported):
        sent("openai", parse_messages("messages", orjson.dumps(request), ""))


@pytest.mark.parametrize("field", ["thread", "container", "mcp_servers"])
def test_content_stored_at_anthropic_is_rejected_by_name(sent, field):
    value: Any = [{"type": "url", "url": "https://h", "name": "s"}] if field == "mcp_servers" else {"id": "1"}
    with pytest.raises(Unsupported) as refused:
        sent("openai", messages(**{field: value}))
    assert refused.value.param == field
    sent("openai", messages(**{field: None}))


def test_thread_is_rejected_even_with_drop_params(load_config, deployment):
    entry = {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}
    config = load_config({"model_list": [entry], "litellm_settings": {"drop_params": True}})
    formats = Formats(config.options, Engine(config, {}, start_timeout=1))
    d = deployment(model="openai/x", api_key="k", api_base="http://h/v1")
    format = formats.of(d, "x", "messages")
    format.request(d, "x", messages(container={"id": "1"}))
    with pytest.raises(Malformed) as refused:
        format.request(d, "x", messages(thread={"id": "1"}))
    assert refused.value.param == "thread"


def test_claude_specific_guidance_is_omitted(sent):
    body, _, _ = sent("openai", messages(context_management={"edits": []}))
    assert "context_management" not in body


@pytest.mark.parametrize("metadata", [{"tags": ["a"]}, {"tags": ["a"], "session": "x"}, {}, {"user_id": "ada"}])
def test_metadata_labels_are_not_sent_to_openai(sent, metadata):
    body, _, _ = sent("openai", chat(metadata=metadata))
    assert "metadata" not in body


def test_metadata_of_stored_requests_is_text(sent):
    body, _, _ = sent("openai", chat(store=True, metadata={"tags": ["a"], "session": "x", "n": 5}))
    assert body["metadata"] == {"session": "x"}


def test_metadata_still_identifies_the_user_to_claude(sent):
    body, _, _ = sent("anthropic", chat(metadata={"tags": ["a"], "user_id": "ada"}))
    assert body["metadata"] == {"user_id": "ada"}
