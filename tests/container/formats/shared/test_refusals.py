"""Error messages of real servers, and their classification."""

import orjson
import pytest

from container.formats.shared.failure import from_response, refuses_name
from container.routing.health import Outcome


def kind(status: int, message: str, **fields) -> str:
    return from_response(status, {}, orjson.dumps({"error": {"message": message, **fields}})).kind


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens."),
        (400, "Your input exceeds the context window of this model. Please adjust your input and try again."),
        (400, "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens."),
        (400, "prompt is too long: 213462 tokens > 200000 maximum"),
        (400, "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"),
        (400, "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)."),
        (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
        (400, "Please reduce the length of the messages or completion."),
        (400, "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192"),
        (400, "This endpoint's maximum context length is 32768 tokens. However, you requested about 42832 tokens."),
        (400, "the request exceeds the available context size, try increasing it"),
        (400, "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it"),
        (500, "Context size has been exceeded."),
        (500, "the input length exceeds the context length"),
        (400, "input length exceeds maximum context length"),
        (400, "prompt too long; exceeded max context length by 12 tokens"),
        (400, "Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with "
              "context length of only 4096 tokens, which is not enough."),
        (400, "The number of tokens to keep from the initial prompt is greater than the context length."),
        (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
        (400, "Requested token count exceeds the model's maximum context length of 4096 tokens."),
        (400, "Input length (5000 tokens) exceeds the maximum allowed length (4090 tokens). Use a shorter input."),
        (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        (400, "You passed 4097 input tokens. However, the model's context length is only 4096 tokens."),
        (400, "'max_tokens' is too large: 5000. This model's maximum context length is 4096 tokens."),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"),
        (422, "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"),
        (400, "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"),
        (400, "Prompt length (5000) exceeds maximum input length (4096)."),
        (400, "Requested tokens (5000) exceed context window of 4096"),
        (400, "Input is too long for requested model."),
        (400, "Too many input tokens"),
        (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081"),
        (400, "Invalid request: Your request exceeded model token limit: 8192"),
        (400, "invalid params, context window exceeds limit (2013)"),
        (400, "Range of input length should be [1, 30720]"),
        (400, "prompt token count of 130000 exceeds the limit of 128000"),
        (400, "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model"),
        (400, "Input length 5000 exceeds the maximum allowed length of 4096"),
        (400, "Prompt length (9000) exceeds max length"),
        (400, "Prompt exceeds max length"),
        (400, "Input validation error: prompt + max_tokens exceeds limit of 8192"),
        (402, "Prompt tokens limit exceeded: 12000 > 5000. To increase, visit the settings."),
        (413, "Payload Too Large"),
        (413, "Request body too large for gpt-4o model. Max size: 8000 tokens."),
        (413, "Request too large for model `llama-3` on tokens per minute (TPM): Limit 6000, Requested 9012"),
        (429, "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000."),
        (400, "Invalid 'messages[0].content': string too long. Expected a string with maximum length 1048576, but "
              "got a string with length 2000000 instead."),
    ],
)  # fmt: skip
def test_prompt_too_long(status, message):
    assert kind(status, message) == "context_window"


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "context_length_exceeded"},
        {"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096},
        {"type": "request_too_large"},
        {"code": "model_max_prompt_tokens_exceeded"},
    ],
)
def test_code_says_prompt_too_long(fields):
    assert kind(400, "No.", **fields) == "context_window"


@pytest.mark.parametrize("raw", [b"", b"<html><title>413 Request Entity Too Large</title></html>", b"Too large"])
def test_status_413_is_about_the_size(raw):
    assert from_response(413, {}, raw).kind == "context_window"


def test_message_of_the_provider_behind_openrouter_is_used():
    raw = '{"error":{"message":"prompt is too long: 300000 tokens > 200000 maximum"}}'
    assert kind(400, "Provider returned error", metadata={"raw": raw}) == "context_window"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ({"error": {"code": "content_filter", "message": "The response was filtered"}}, "content_policy"),
        ({"error": {"code": "context_length_exceeded", "message": "No."}}, "context_window"),
        ({"error": {"type": "invalid_request_error", "message": "No."}}, "caller"),
        ({"error": "Content violates usage guidelines"}, "content_policy"),
        ({"error": {"message": "No.", "code": 400}}, "caller"),
        ([], "caller"),
        ("<html>", "caller"),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_code_of_the_provider_behind_openrouter_is_used(raw, found, as_text):
    raw = orjson.dumps(raw).decode() if as_text else raw
    assert kind(400, "Provider returned error", code=400, metadata={"raw": raw, "provider_name": "X"}) == found


@pytest.mark.parametrize(
    "message",
    [
        "Invalid 'input[1].id': string too long. Expected a string with maximum length 64, but got a string with "
        "length 408 instead.",
        "Invalid 'user': string too long. Expected a string with maximum length 64.",
        "max_tokens is too large: 50000. This model supports at most 4096 completion tokens.",
        "max_tokens (50000) exceeds the maximum of 4096 tokens",
        "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for claude",
        "Invalid value for 'temperature': it must not exceed 2.",
        "messages.0.content.1.image: image exceeds 5 MB maximum",
        "Unknown parameter: 'context_management'.",
        "Missing required parameter: 'messages'.",
    ],
)
def test_other_mistakes_are_not_prompt_length(message):
    assert kind(400, message) == "caller"
    assert kind(400, message, code="string_above_max_length") == "caller"


@pytest.mark.parametrize(
    ("status", "message", "fields"),
    [
        (403, 'openai/gpt-4o requires moderation on OpenAI. Your input was flagged for "violence".', {"code": 403}),
        (403, "Forbidden", {"metadata": {"reasons": ["violence"], "flagged_input": "x", "provider_name": "OpenAI"}}),
        (403, "Content violates usage guidelines. Team: 1, API key ID: 2, Failed check: SAFETY_CHECK_TYPE_BIO", {}),
        (400, "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", {}),
        (400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", {}),
        (400, "Your request was rejected as a result of our safety system.", {}),
        (400, "Output blocked by content filtering policy", {}),
        (400, "Content Exists Risk", {"type": "invalid_request_error"}),
        (400, "The request was rejected because it was considered high risk", {"type": "content_filter"}),
        (400, "Input data may contain inappropriate content.", {"code": "data_inspection_failed"}),
        (400, "系统检测到输入或生成内容可能包含不安全或敏感内容", {"code": "1301"}),
        (400, "Claude's response was flagged", {}),
        (400, "No.", {"code": "content_filter"}),
        (400, "No.", {"code": "ResponsibleAIPolicyViolation"}),
        (451, "No.", {}),
    ],
)
def test_content_filter_error_is_not_about_our_key(status, message, fields):
    found = from_response(status, {}, orjson.dumps({"error": {"message": message, **fields}}))
    assert found.kind == "content_policy"
    assert "credentials" not in found.message


def test_xais_moderation_error():
    body = {
        "code": "The caller does not have permission to execute the specified operation",
        "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_CSAM",
    }
    assert from_response(403, {}, orjson.dumps(body)).kind == "content_policy"


@pytest.mark.parametrize(
    "message",
    [
        "User is not authorized to perform bedrock:InvokeModel because no identity-based policy allows the action",
        "Your newly created team doesn't have any credits or licenses yet.",
        "Country, region, or territory not supported",
        "Your project violates an organization policy constraint",
        "The API key has no permission for this operation",
        "Key limit exceeded (total limit). Manage it using the settings.",
        "Permission denied: Consumer has been suspended.",
        "Your team has either used all available credits or reached its monthly spending limit.",
    ],
)
def test_status_403_about_the_account_is_about_our_key(message):
    found = from_response(403, {}, orjson.dumps({"error": {"message": message}}))
    assert (found.kind, found.blameless) == ("authentication", False)
    assert message[:20] not in found.message


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (403, b""),
        (403, b"Forbidden"),
        (403, b"error code: 1010"),
        (403, b'{"error": {"message": "No.", "code": 403}}'),
        (403, b"<!DOCTYPE html><html><title>Access denied</title></html>"),
        (403, b"<html><head><title>Attention Required! | Cloudflare</title></head></html>"),
        (402, b'{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536'
              b' tokens, but can only afford 3919. To increase, visit the settings","code":402}}'),
        (402, b'{"error":{"message":"Prompt tokens limit exceeded: 12000 > 5000","code":402}}'),
        (404, b'{"error":{"message":"No allowed providers are available for the selected model.","code":404}}'),
        (404, b'{"error":{"message":"No endpoints found matching your data policy.","code":404}}'),
        (404, b'{"error":{"message":"All providers have been ignored.","code":404}}'),
    ],
)  # fmt: skip
def test_error_that_may_concern_one_request_does_not_affect_health(status, raw):
    found = from_response(status, {}, raw)
    assert found.blameless
    assert found.kind != "caller"  # another deployment may succeed
    assert "credentials" not in found.message


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "No."),
        (402, "Insufficient Balance"),
        (402, "Insufficient credits. Add more using the settings"),
        (404, "No endpoints found for x/y."),
        (500, "This request requires more credits, or fewer max_tokens."),
    ],
)
def test_error_about_the_account_or_the_server_affects_health(status, message):
    assert not from_response(status, {}, orjson.dumps({"error": {"message": message}})).blameless


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("Item with id 'rs_68abc123' not found. Items are not persisted when `store` is set to false.", {}),
        ("Item 'x' not found.", {"param": "input"}),
        ("Previous response with id 'resp_123abc' not found.", {"code": "previous_response_not_found"}),
        ("No such File object: file-abc123", {}),
        ("File not found: file_011CNha8iCJcU1wXNR6q4V8w", {"type": "not_found_error"}),
        ("Vector store with id ['vs_123456'] not found.", {}),
        ("Conversation with id 'conv_123456' not found.", {}),
        ("Container not found", {}),
        ("The tool 'x' is not known", {}),
        ("Not found", {"param": "previous_response_id"}),
    ],
)
def test_status_404_about_a_resource_in_the_request_blames_the_request(message, fields):
    assert kind(404, message, **fields) == "caller"


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("The model `gpt-9` does not exist or you do not have access to it.", {"code": "model_not_found"}),
        ("The model `tool-use-8b` does not exist.", {"type": "NotFoundError"}),
        ("model 'run-12345' not found, try pulling it first", {}),
        ("model: claude-9", {"type": "not_found_error"}),
        ("models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.", {}),
        ("The API deployment for this resource does not exist.", {"code": "DeploymentNotFound"}),
        ("Resource not found", {"code": "404"}),
        ("Not Found", {}),
        ("", {}),
        ("The model does not exist", {"param": "model"}),
    ],
)
def test_status_404_about_the_model_is_our_configuration(message, fields):
    assert kind(404, message, **fields) == "not_found"


def test_model_forbidden_for_a_key_is_not_an_invalid_key():
    assert kind(403, "Project `p` does not have access to model `gpt-9`", code="model_not_found") == "not_found"


def test_unsupported_feature_does_not_affect_health():
    assert kind(404, "No endpoints found that support image input") == "unsupported"


def test_googles_403_for_a_file_blames_the_request():
    assert kind(403, "You do not have permission to access the File abc or it may not exist.") == "caller"
    assert kind(403, "CachedContent not found (or permission denied)") == "caller"


def test_message_that_quotes_the_client_does_not_blame_our_key():
    assert kind(400, "Invalid value: 'incorrect api key'. Supported values are: 'user'.") == "caller"


# Errors that reject the name of a field, as opposed to its value.

OLD, NEW = "max_tokens", "max_completion_tokens"


def refusal(message: str, code: str | None = None, param: str | None = None) -> Outcome:
    return Outcome("caller", 400, message, code=code, param=param)


@pytest.mark.parametrize(
    ("message", "code", "param", "name"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
            "unsupported_parameter",
            "max_tokens",
            OLD,
        ),
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", None, None, OLD),
        ("Unrecognized request argument supplied: max_completion_tokens", None, None, NEW),
        ("Unknown parameter: 'max_completion_tokens'.", "unknown_parameter", None, NEW),
        ("property 'max_completion_tokens' is unsupported, did you mean 'max_tokens'?", None, None, NEW),
        ("`max_tokens` is deprecated, use `max_completion_tokens` instead", None, None, OLD),
        ("max_tokens is not supported for this model; please use max_completion_tokens.", None, None, OLD),
        (
            "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), 'msg': 'Extra inputs are not "
            "permitted', 'input': 16}]",
            None,
            None,
            NEW,
        ),
        ("body.max_completion_tokens: Extra inputs are not permitted", None, None, NEW),
        ("Extra inputs are not permitted", "extra_forbidden", "body.max_completion_tokens", NEW),
        ("Additional properties are not allowed ('max_completion_tokens' was unexpected)", None, None, NEW),
        ('json: unknown field "max_completion_tokens"', None, None, NEW),
        ("unknown field `max_completion_tokens`, expected one of `model`, `messages`", None, None, NEW),
        ("create() got an unexpected keyword argument 'max_completion_tokens'", None, None, NEW),
        ("Invalid parameter: max_completion_tokens", None, None, NEW),
        ("max_completion_tokens is not a valid parameter", None, None, NEW),
        ("Argument not supported on this model: max_tokens is not supported", None, None, OLD),
        ("this model is not supported MaxTokens, please use MaxCompletionTokens", None, None, OLD),
    ],
)
def test_rejected_name(message: str, code: str | None, param: str | None, name: str):
    assert refuses_name(refusal(message, code, param), name, NEW if name == OLD else OLD)


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        (
            "max_tokens is too large: 32000. This model supports at most 2048 completion tokens.",
            "invalid_value",
            "max_tokens",
        ),
        ("max_tokens is too large: 32000. This model supports at most 2048 completion tokens.", None, "max_tokens"),
        ("max_tokens is too large: 32000. This model supports at most 2048 completion tokens.", None, None),
        ("Unsupported value: 'max_tokens' does not support 1 with this model.", "unsupported_value", "max_tokens"),
        ("Unsupported value: 'max_tokens' does not support 1 with this model.", None, None),
        ("Invalid 'max_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead.", None, OLD),
        ("max_tokens: 50000 is not supported by this model", None, None),
        ("max_tokens 50000 is unsupported", None, None),
        ("'max_tokens' or 'max_completion_tokens' must be at least 1, got 0.", None, None),
        ("[{'loc': ('body', 'max_tokens'), 'msg': 'Input should be less than or equal to 4096'}]", None, None),
        (
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (1000 in the "
            "messages, 8000 in the completion). Please reduce the length or max_tokens.",
            "context_length_exceeded",
            "messages",
        ),
        ("max_tokens must be less than or equal to `8192`, the maximum value for `max_tokens`", None, None),
        ("Unsupported parameter: 'stop' is not supported with this model.", "unsupported_parameter", "stop"),
        ("Invalid schema for function 'f': 'max_tokens' is not permitted.", None, "tools[0].function.parameters"),
        ("messages.1.max_tokens: Extra inputs are not permitted", None, None),
        ("An error occurred.", None, None),
    ],
)
def test_rejected_value_or_other_field(message: str, code: str | None, param: str | None):
    assert not refuses_name(refusal(message, code, param), OLD, NEW)
