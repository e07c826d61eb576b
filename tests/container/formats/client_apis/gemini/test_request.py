"""Requests of Gemini's API as chat completions."""

import base64
from typing import Any

import pytest

from container.formats.client_apis.gemini.request import chat, sealed_signature
from container.formats.shared.wire import Malformed, Unsupported

from .conftest import Deploy, asked

HELLO = [{"role": "user", "parts": [{"text": "Hi"}]}]
CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}
RESULT = {"functionResponse": {"name": "f", "response": {"output": "one"}}}


def contents(*listed: Any) -> dict[str, Any]:
    roles = ("user", "model")
    return {"contents": [{"role": roles[at % 2], "parts": parts} for at, parts in enumerate(listed)]}


@pytest.fixture
def translated(deploy: Deploy):
    def translate(body: dict[str, Any], model: str = "openai/gpt-4o", *, drop_params: bool = False) -> dict[str, Any]:
        d = deploy(model)
        return chat(asked(body).body, d, d.model, drop_params=drop_params)

    return translate


@pytest.mark.parametrize(
    "system",
    [
        {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
        {"system_instruction": {"parts": [{"text": "Be brief."}]}},
    ],
)
def test_texts_and_a_system_instruction(translated, system):
    body = {**contents([{"text": "Hi"}], [{"text": "Yes?"}], [{"text": "Go"}, {"text": " on"}]), **system}
    assert translated(body)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": [{"type": "text", "text": "Go"}, {"type": "text", "text": " on"}]},
    ]


def test_results_belong_to_calls_by_name_and_order(translated):
    other = {"functionCall": {"name": "g", "args": {}}}
    of_other = {"function_response": {"name": "g", "response": {"temperature": 3}}}
    body = contents([{"text": "Hi"}], [CALL, other, CALL], [of_other, RESULT, RESULT, {"text": "and now?"}])
    _, said, *results, user = translated(body)["messages"]
    ids = [call["id"] for call in said["tool_calls"]]
    assert len(set(ids)) == 3
    assert said["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert [(r["tool_call_id"], r["content"]) for r in results] == [
        (ids[1], '{"temperature":3}'),
        (ids[0], "one"),
        (ids[2], "one"),
    ]
    assert user == {"role": "user", "content": "and now?"}


def test_results_belong_to_calls_by_id(translated):
    calls = [{"functionCall": {"id": id, "name": "f", "args": {}}} for id in ("x", "y")]
    results = [{"functionResponse": {"id": id, "name": "f", "response": {"output": id}}} for id in ("y", "x")]
    messages = translated(contents([{"text": "Hi"}], calls, results))["messages"]
    assert [(m["tool_call_id"], m["content"]) for m in messages[2:]] == [("y", "y"), ("x", "x")]


def test_made_up_ids_stay_the_same_when_the_conversation_grows(translated):
    short = contents([{"text": "Hi"}], [CALL], [RESULT])
    long = contents([{"text": "Hi"}], [CALL], [RESULT], [CALL], [RESULT])
    before, after = translated(short)["messages"], translated(long)["messages"]
    assert after[: len(before)] == before
    assert after[1]["tool_calls"][0]["id"] != after[3]["tool_calls"][0]["id"]


@pytest.mark.parametrize("parts", [[RESULT], [{"functionResponse": {"name": "g", "response": {}}}]])
def test_a_result_without_its_call_is_refused(translated, parts):
    with pytest.raises(Malformed):
        translated(contents([{"text": "Hi"}], [{"text": "Yes?"}] if parts == [RESULT] else [CALL], parts))


def test_thoughts_are_not_said(translated):
    thought = {"text": "hm", "thought": True}
    message = translated(contents([{"text": "Hi"}], [thought, {"text": "Yes?"}], [{"text": "Go"}]))["messages"][1]
    assert message == {"role": "assistant", "content": "Yes?", "reasoning_content": "hm"}


def test_geminis_signature_travels_in_the_id_of_the_call(translated):
    body = contents([{"text": "Hi"}], [{**CALL, "thoughtSignature": "c2ln"}], [RESULT])
    _, said, result = translated(body)["messages"]
    assert said["tool_calls"][0]["id"] == "call_1__thought__c2ln"
    assert result["tool_call_id"] == "call_1"


def test_claudes_thinking_comes_back_with_the_call(translated):
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "sig"}]
    body = contents([{"text": "Hi"}], [{**CALL, "thoughtSignature": sealed_signature(blocks)}], [RESULT])
    said = translated(body)["messages"][1]
    assert said["thinking_blocks"] == blocks
    assert said["tool_calls"][0]["id"] == "call_1"


@pytest.mark.parametrize("signature", ["", "!", "c2ln", base64.b64encode(b"litellm-router:{").decode(), "ü"])
def test_an_odd_signature_is_no_error(translated, signature):
    body = contents([{"text": "Hi"}], [{**CALL, "thoughtSignature": signature}], [RESULT])
    assert "thinking_blocks" not in translated(body)["messages"][1]


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        (
            {"inlineData": {"mimeType": "image/png", "data": "AA"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        ),
        (
            {"inline_data": {"mime_type": "image/png", "data": "AA"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        ),
        (
            {"inlineData": {"mimeType": "audio/mpeg", "data": "AA"}},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
        ),
        (
            {"inlineData": {"mimeType": "application/pdf", "data": "AA", "displayName": "a.pdf"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}},
        ),
        ({"inlineData": {"mimeType": "text/plain", "data": "SGk="}}, {"type": "text", "text": "Hi"}),
        (
            {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/a.png"}},
            {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}},
        ),
    ],
)
def test_content_other_than_text(translated, part, wanted):
    assert translated(contents([{"text": "See"}, part]))["messages"][0]["content"][1] == wanted


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "video/mp4", "data": "AA"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.example/a.pdf"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a.png"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "http://169.254.169.254/a.png"}},
    ],
)
def test_content_that_only_gemini_reads(translated, part):
    with pytest.raises(Unsupported):
        translated(contents([{"text": "See"}, part]))
    (text, note) = translated(contents([{"text": "See"}, part]), drop_params=True)["messages"][0]["content"]
    assert note["text"].startswith("[left out")
    # It must not block the rest of the conversation.
    earlier = translated(contents([{"text": "See"}, part], [{"text": "Nice"}], [{"text": "And?"}]))
    assert earlier["messages"][0]["content"] == [text, note]


def test_the_models_images_and_code_become_text(translated):
    said = [
        {"inlineData": {"mimeType": "image/png", "data": "AA"}},
        {"executableCode": {"language": "PYTHON", "code": "1 + 1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
    ]
    message = translated(contents([{"text": "Hi"}], said, [{"text": "Go"}]))["messages"][1]
    assert message["content"] == "[left out: inlineData]1 + 12"


def test_generation_settings(translated):
    settings = {
        "temperature": 0.5,
        "top_p": 0.9,
        "stopSequences": ["a", "b"],
        "maxOutputTokens": 7,
        "candidateCount": 2,
        "seed": 3,
        "presencePenalty": 0.1,
        "frequency_penalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 4,
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    made = translated({"contents": HELLO, "generationConfig": settings, "safetySettings": [{}], "labels": {"a": "b"}})
    del made["messages"]
    assert made == {
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["a", "b"],
        "max_tokens": 7,
        "n": 2,
        "seed": 3,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logprobs": True,
        "top_logprobs": 4,
    }


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("openai/gpt-4o", {"temperature", "top_p"}),
        ("openai/gpt-5", set()),
        ("anthropic/claude-sonnet-4-5", {"temperature", "top_k"}),
        ("anthropic/claude-opus-4-7", set()),
        ("hosted_vllm/x", {"temperature", "top_p", "top_k"}),
    ],
)
def test_gemini_cli_sends_googles_sampling_to_every_model(translated, model, kept):
    made = translated({"contents": HELLO, "generationConfig": {"temperature": 1, "topP": 0.95, "topK": 64}}, model)
    assert made.keys() & {"temperature", "top_p", "top_k"} == kept


@pytest.mark.parametrize(
    ("config", "effort"),
    [
        ({"thinkingBudget": 0}, "none"),
        ({"thinkingBudget": 1024}, "low"),
        ({"thinking_budget": 8192, "include_thoughts": True}, "high"),
        ({"thinkingBudget": -1}, "medium"),
        ({"thinkingLevel": "LOW"}, "low"),
        ({"thinkingLevel": "high"}, "high"),
        ({"includeThoughts": True}, "medium"),
        ({"includeThoughts": False}, None),
        ({}, None),
    ],
)
def test_thinking_becomes_an_effort(translated, config, effort):
    made = translated({"contents": HELLO, "generationConfig": {"thinkingConfig": config}}, "openai/gpt-5")
    assert made.get("reasoning_effort") == effort
    assert "reasoning_effort" not in translated({"contents": HELLO, "generationConfig": {"thinkingConfig": config}})


def test_structured_output(translated):
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}, "property_ordering": ["a"]}
    made = translated(
        {"contents": HELLO, "generationConfig": {"responseMimeType": "application/json", "responseSchema": schema}}
    )
    wanted = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    assert made["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    only = {"contents": HELLO, "generationConfig": {"responseMimeType": "application/json"}}
    assert translated(only)["response_format"] == {"type": "json_object"}


def tools(config: dict[str, Any] | None = None) -> dict[str, Any]:
    declared = [
        {"name": "f", "description": "F", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}}},
        {"name": "g", "parametersJsonSchema": {"type": "object", "properties": {"b": {"type": "string"}}}},
        {"name": "h"},
    ]
    calling = {} if config is None else {"toolConfig": {"functionCallingConfig": config}}
    return {"contents": HELLO, "tools": [{"functionDeclarations": declared}], **calling}


def test_functions(translated):
    made = translated(tools())
    assert [tool["function"] for tool in made["tools"]] == [
        {"name": "f", "description": "F", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        {"name": "g", "parameters": {"type": "object", "properties": {"b": {"type": "string"}}}},
        {"name": "h", "parameters": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in made


@pytest.mark.parametrize(
    ("config", "choice", "names"),
    [
        ({"mode": "AUTO"}, "auto", "fgh"),
        ({"mode": "VALIDATED"}, "auto", "fgh"),
        ({"mode": "NONE"}, "none", "fgh"),
        ({"mode": "ANY"}, "required", "fgh"),
        ({"mode": "any", "allowedFunctionNames": ["g"]}, {"type": "function", "function": {"name": "g"}}, "g"),
        ({"mode": "ANY", "allowed_function_names": ["f", "h"]}, "required", "fh"),
    ],
)
def test_the_choice_of_functions(translated, config, choice, names):
    made = translated(tools(config))
    assert made["tool_choice"] == choice
    assert "".join(tool["function"]["name"] for tool in made["tools"]) == names


@pytest.mark.parametrize("config", [{"mode": "ANY", "allowedFunctionNames": ["x"]}, {"mode": "SOME"}])
def test_an_impossible_choice_is_refused(translated, config):
    with pytest.raises(Malformed):
        translated(tools(config))


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("tools", {"tools": [{"googleSearch": {}}]}),
        ("tools", {"tools": [{"code_execution": {}}]}),
        ("responseModalities", {"generationConfig": {"responseModalities": ["IMAGE"]}}),
        ("responseMimeType", {"generationConfig": {"responseMimeType": "text/x.enum"}}),
        ("somethingNew", {"generationConfig": {"somethingNew": True}}),
    ],
)
def test_what_another_model_cannot_do_is_refused(translated, field, body):
    with pytest.raises(Unsupported) as caught:
        translated({"contents": HELLO, **body})
    assert caught.value.param == field
    translated({"contents": HELLO, **body}, drop_params=True)


def test_a_deep_schema_is_refused(translated):
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(200):
        schema = {"type": "ARRAY", "items": schema}
    with pytest.raises(Malformed):
        translated({"contents": HELLO, "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]})
