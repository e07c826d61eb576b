"""A request for a deployment: its URL, headers and body. A complete response: what is read from it."""

import orjson
import pytest

from container.engine import engine_address
from container.formats.shared import wire
from container.formats.shared.failure import from_response
from container.formats.shared.wire import Plain, excused, plain
from container.routing.health import UNHEALTHY, Outcome

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def body(d, fields=CHAT, *, model="x", ask_usage=False, leave_out=frozenset()) -> dict:
    return orjson.loads(wire.body(d, model, fields, ask_usage=ask_usage, leave_out=leave_out))


# Addresses and headers


def test_key_is_in_the_authorization_header(deployment):
    base, headers = wire.address(deployment(model="openai/x", api_key="sk-1"))
    assert base == "https://api.openai.com/v1"
    assert headers == {
        "authorization": "Bearer sk-1",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": "litellm-router",
    }


def test_azure_key_has_its_own_header(deployment):
    headers = wire.address(deployment(model="azure/x", api_key="k", api_base="https://me.example")).headers
    assert headers["api-key"] == "k"
    assert "authorization" not in headers


def test_without_a_key_there_is_no_auth_header(deployment):
    assert "authorization" not in wire.address(deployment(model="ollama/x")).headers


def test_extra_headers_take_precedence(deployment):
    d = deployment(model="openai/x", api_key="k", extra_headers={"User-Agent": "mine", "X-Team": "a"})
    headers = wire.address(d).headers
    assert (headers["user-agent"], headers["x-team"]) == ("mine", "a")


def test_engine_is_on_loopback_with_its_own_key():
    base, headers = engine_address(4711, "sk-engine")
    assert base == "http://127.0.0.1:4711/v1"
    assert headers["authorization"] == "Bearer sk-engine"


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("chat_completions", "/chat/completions"), ("completions", "/completions"), ("embeddings", "/embeddings")],
)
def test_the_path_follows_the_base(deployment, endpoint, path):
    d = deployment(model="openai/x", api_key="k", api_base="http://h/v1")
    assert wire.url(d, d.base, "x", endpoint) == "http://h/v1" + path


@pytest.mark.parametrize(
    ("base", "model", "url"),
    [
        (
            "https://me.example",
            "gpt-4o",
            "https://me.example/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://me.example/",
            "a b/c?d#e",
            "https://me.example/openai/deployments/a%20b%2Fc%3Fd%23e/chat/completions?api-version=2024-10-21",
        ),
        ("https://me.example/openai/v1", "gpt-4o", "https://me.example/openai/v1/chat/completions"),
    ],
)
def test_azure_deployment_is_in_the_path_unless_the_base_is_its_v1_api(deployment, base, model, url):
    d = deployment(model="azure/x", api_key="k", api_base=base)
    assert wire.url(d, d.base, model, "chat_completions") == url


@pytest.mark.parametrize("base", ["https://h/openai/deployments/real", "https://h/openai/deployments/real/"])
@pytest.mark.parametrize(
    ("version", "endpoint", "url"),
    [
        ("2024-10-21", "chat_completions", "https://h/openai/deployments/real/chat/completions?api-version=2024-10-21"),
        ("2025-04-01-preview", "responses", "https://h/openai/responses?api-version=2025-04-01-preview"),
        ("v1", "chat_completions", "https://h/openai/v1/chat/completions"),
    ],
)
def test_azure_deployment_in_the_address_is_not_repeated(deployment, base, version, endpoint, url):
    d = deployment(model="azure/alias", api_key="k", api_base=base, api_version=version)
    assert wire.url(d, d.base, "alias", endpoint) == url


def test_azure_version_is_url_encoded(deployment):
    d = deployment(model="azure/x", api_key="k", api_base="https://h", api_version="2025&x=1")
    assert wire.url(d, d.base, "x", "embeddings").endswith("?api-version=2025%26x%3D1")


@pytest.mark.parametrize("version", ["v1", "preview", "latest"])
@pytest.mark.parametrize("base", ["https://h", "https://h/openai", "https://h/openai/v1"])
@pytest.mark.parametrize(
    ("endpoint", "path"), [("chat_completions", "chat/completions"), ("embeddings", "embeddings"), ("responses",) * 2]
)
def test_azure_v1_api_has_openais_paths(deployment, version, base, endpoint, path):
    d = deployment(model="azure/x", api_key="k", api_base=base, api_version=version)
    assert wire.url(d, d.base, "x", endpoint) == f"https://h/openai/v1/{path}"


@pytest.mark.parametrize(
    ("version", "url"),
    [
        ("2025-04-01-preview", "https://h/openai/responses?api-version=2025-04-01-preview"),
        ("2025-03-01-preview", "https://h/openai/responses?api-version=2025-03-01-preview"),
        ("2024-10-21", "https://h/openai/v1/responses"),
    ],
)
def test_azure_responses_use_the_new_api_without_a_deployment(deployment, version, url):
    d = deployment(model="azure/x", api_key="k", api_base="https://h", api_version=version)
    assert wire.url(d, d.base, "x", "responses") == url


@pytest.mark.parametrize("prefix", ["", "responses/", "o_series/", "gpt5_series/"])
def test_litellm_prefix_is_not_part_of_the_azure_deployment(deployment, prefix):
    d = deployment(group="azure/*", model="azure/*", api_key="k", api_base="https://h")
    assert "/deployments/ours/" in wire.url(d, d.base, f"{prefix}ours", "chat_completions")


# The engine's names


def test_engine_knows_a_deployment_by_its_id(deployment):
    d = deployment(model="anthropic/claude", api_key="k", info={"id": "dep"})
    assert wire.engine_model(d, "claude") == "dep"


def test_engine_knows_models_of_a_wildcard_below_its_id(deployment):
    d = deployment(group="v/*", model="vertex_ai/*", vertex_credentials="x", info={"id": "dep"})
    assert wire.engine_model(d, "gemini-3") == "dep/gemini-3"
    inner = deployment(group="c-*", model="anthropic/claude-*-v1", api_key="k", info={"id": "dep"})
    assert wire.engine_model(inner, "claude-opus-v1") == "dep/opus"
    fixed = deployment(group="c-*", model="anthropic/claude", api_key="k", info={"id": "dep"})
    assert wire.engine_model(fixed, "claude") == "dep"


# The body


def test_model_is_the_deployments(deployment):
    assert body(deployment(model="openai/x", api_key="k")) == {**CHAT, "model": "x"}


def test_unknown_fields_are_sent_and_the_clients_body_is_not_modified(deployment):
    fields = {**CHAT, "guided_json": {"a": None}, "metadata": {"b": "c"}, "tags": ["d"]}
    before = orjson.dumps(fields)
    assert body(deployment(model="openai/x", api_key="k"), fields) == {**fields, "model": "x"}
    assert orjson.dumps(fields) == before


def test_client_overrides_presets(deployment):
    d = deployment(
        model="openai/x", api_key="k", temperature=0.1, max_tokens=5, extra_body={"top_k": 3, "model": "evil"}
    )
    assert body(d, {**CHAT, "temperature": 1}) == {**CHAT, "model": "x", "temperature": 1, "max_tokens": 5, "top_k": 3}


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": None}])
def test_usage_is_requested(deployment, options):
    fields = {**CHAT, "stream": True, "stream_options": options}
    assert body(deployment(model="openai/x", api_key="k"), fields, ask_usage=True)["stream_options"] == {
        "include_usage": True
    }


def test_clients_other_stream_options_are_kept(deployment):
    fields = {**CHAT, "stream": True, "stream_options": {"include_obfuscation": False}}
    sent = body(deployment(model="openai/x", api_key="k"), fields, ask_usage=True)
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert fields["stream_options"] == {"include_obfuscation": False}


def test_rejected_field_is_omitted(deployment):
    d = deployment(model="openai/x", api_key="k", temperature=0.1)
    sent = body(
        d,
        {**CHAT, "seed": 1, "stream": True},
        ask_usage=True,
        leave_out=frozenset({"stream_options", "temperature", "seed"}),
    )
    assert sent == {**CHAT, "model": "x", "stream": True}


# A request to the wrong endpoint of a model causes no cooldown.


@pytest.fixture
def rests(deployment):
    """Whether an error with this status and message counts against the deployment."""

    def judged(status: int, message: str, endpoint: str, model: str = "openai/gpt-4o") -> bool:
        d = deployment(model=model, api_key="k", api_base="http://127.0.0.1:9/v1")
        said = from_response(status, {}, orjson.dumps({"error": {"message": message}}))
        outcome = excused(said, d, d.model, endpoint)
        return outcome.kind in UNHEALTHY and not outcome.blameless

    return judged


@pytest.mark.parametrize(
    ("status", "message", "endpoint"),
    [
        (403, "You are not allowed to generate embeddings from this model", "embeddings"),
        (403, "You are not allowed to sample from this model", "chat_completions"),
        (404, "This is a chat model and not supported in the v1/completions endpoint. Did you mean …?", "completions"),
        (
            404,
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint.",
            "chat_completions",
        ),
        (404, "This model is only supported in v1/responses and not in v1/chat/completions.", "chat_completions"),
        (404, "The model `whisper-large-v3` does not support chat completions", "chat_completions"),
        (404, "invalid model for endpoint", "embeddings"),
        (404, "models/gpt-4o is not found for API version v1beta, or is not supported for embedContent.", "embeddings"),
        (501, "This server does not support embeddings. Start it with `--embeddings`", "embeddings"),
        (404, "404 page not found", "responses"),
        (404, "Not Found", "rerank"),
        (404, "Invalid URL (POST /v1/rerank)", "rerank"),
        (405, "Method Not Allowed", "responses"),
        (
            500,
            "litellm.APIConnectionError: APIConnectionError: OpenAIException - Unsupported provider: openai",
            "rerank",
        ),
        (500, "litellm.APIConnectionError: 'int' object is not iterable", "responses"),
        (500, "'str' object has no attribute 'get'", "image_generation"),
        (500, "litellm.APIConnectionError: 'type'", "responses"),
        (500, "litellm.APIConnectionError: Invalid content type: <class 'int'>", "responses"),
        (401, "Something", "speech"),
    ],
)
def test_wrong_endpoint_causes_no_cooldown(rests, status, message, endpoint):
    assert not rests(status, message, endpoint)


@pytest.mark.parametrize(
    ("status", "message", "endpoint"),
    [
        (401, "Incorrect API key provided", "chat_completions"),
        (403, "Project `proj_x` does not have access to model `gpt-4o`", "chat_completions"),
        (404, "The model `gpt-4o` does not exist or you do not have access to it.", "chat_completions"),
        (404, "404 page not found", "chat_completions"),
        (500, "The server had an error while processing your request.", "chat_completions"),
        (500, "litellm.InternalServerError: OpenAIException - Internal Server Error", "responses"),
        (503, "Overloaded", "completions"),
        (
            404,
            "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.",
            "messages",
        ),
    ],
)
def test_deployment_that_cannot_serve_its_own_endpoint_cools_down(rests, status, message, endpoint):
    assert rests(status, message, endpoint)


def test_embedding_model_with_an_invalid_key_cools_down(rests):
    assert rests(401, "Incorrect API key provided", "embeddings", "openai/text-embedding-3-small")
    assert rests(404, "The model `mine` does not exist.", "embeddings", "hosted_vllm/mine")


def test_missing_response_counts_against_the_deployment(deployment):
    d = deployment(model="openai/gpt-4o", api_key="k")
    lost = Outcome("connection", 0, "The connection broke off.")
    assert excused(lost, d, d.model, "embeddings") is lost


def test_engine_traceback_is_not_exposed():
    message = (
        "litellm.APIConnectionError: 'str' object has no attribute 'get'\nTraceback (most recent call last):\n  File …"
    )
    outcome = from_response(500, {}, orjson.dumps({"error": {"message": message}}))
    assert "Traceback" not in outcome.message
    assert "File" not in outcome.message


CHOICE = {"index": 0, "message": {}, "finish_reason": "stop"}


def answer(**fields) -> bytes:
    return orjson.dumps({"id": "x", "model": "theirs-2026", "choices": [CHOICE], **fields})


def read(raw: bytes, name: str = "ours") -> Plain:
    found = plain(raw, name)
    assert isinstance(found, Plain)
    return found


def test_model_name_is_replaced_and_other_bytes_are_kept():
    message = b'{"content":"theirs \\u00fc"}'
    choices = b'[{"message":%s,"finish_reason":"stop"}]' % message
    raw = b'{ "id":"x",\n "model": "theirs",\t"choices":%s, "n":1.50 }' % choices
    assert read(raw).body == raw.replace(b'"model": "theirs"', b'"model": "ours"')


@pytest.mark.parametrize("name", ["ours", 'a "b" \\ ü/x', "theirs-2026"])
def test_new_name_is_written_as_json(name):
    body = orjson.loads(read(answer(), name).body)
    assert body == {"id": "x", "model": name, "choices": [CHOICE]}


@pytest.mark.parametrize("theirs", [None, "", 5, "ü 🙂", 'with "quotes"'])
def test_any_name_is_replaced(theirs):
    assert orjson.loads(read(answer(model=theirs)).body)["model"] == "ours"
    escaped = b'{"model": "\\u00fc", "choices": [{"text": "a", "finish_reason": "stop"}]}'
    assert orjson.loads(read(escaped).body)["model"] == "ours"


def test_response_without_a_model_gets_one():
    assert orjson.loads(read(orjson.dumps({"choices": [CHOICE]})).body) == {"choices": [CHOICE], "model": "ours"}


def test_nested_model_field_is_not_replaced():
    message = {"tool": {"model": "theirs"}, "content": '"model":"theirs"'}
    inner = {"choices": [{"message": message, "finish_reason": "stop"}]}
    raw = orjson.dumps({**inner, "model": "theirs"})
    assert orjson.loads(read(raw).body) == {**inner, "model": "ours"}
    spaced = b'{"choices":[{"message":{"model":"theirs"},"finish_reason":"stop"}],"model" : "theirs"}'
    found = orjson.loads(read(spaced).body)
    assert (found["choices"][0]["message"], found["model"]) == ({"model": "theirs"}, "ours")


@pytest.mark.parametrize(("usage", "noticed"), [({"total_tokens": 3}, {"total_tokens": 3}), (None, None), ("x", None)])
def test_usage_is_extracted(usage, noticed):
    assert read(answer(usage=usage)).usage == noticed


def test_embeddings_are_a_valid_response():
    raw = b'{"object":"list","data":[{"embedding":[0.1]}],"model":"theirs"}'
    assert read(raw).body == raw.replace(b"theirs", b"ours")


def test_response_may_contain_an_empty_error():
    assert read(answer(error=None)).usage is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The provider's answer is not valid JSON."),
        (b"<html>", "The provider's answer is not valid JSON."),
        (b'{"choices": [', "The provider's answer is not valid JSON."),
        (b"[]", "The provider's answer is not a JSON object."),
        (b"null", "The provider's answer is not a JSON object."),
        (b"{}", "The provider's answer holds neither choices nor data."),
        (b'{"error": "It broke."}', "It broke."),
        (b'{"error": {"message": "It broke."}}', "It broke."),
        (b'{"error": {"code": 5}}', "The provider answered with an error."),
        (b'[{"error": {"message": "It broke."}}]', "It broke."),
        (b'{"choices": [null]}', "The provider's answer holds neither choices nor data."),
        (b'{"choices": [{}]}', "The provider's answer holds neither choices nor data."),
        (b'{"choices": "x"}', "The provider's answer holds neither choices nor data."),
        (
            b'{"choices": [{"message": null, "finish_reason": "stop"}]}',
            "The provider's answer holds neither choices nor data.",
        ),
    ],
)
def test_other_body_is_a_failure(raw, message):
    found = plain(raw, "ours")
    assert isinstance(found, Outcome)
    assert (found.kind, found.status, found.message) == ("server", 0, message)


def test_error_with_status_200_keeps_its_meaning():
    found = plain(b'{"error": {"message": "Slow down.", "code": 429}}', "ours")
    assert isinstance(found, Outcome)
    assert (found.kind, found.status) == ("rate_limit", 429)


def test_response_nested_too_deeply_is_a_failure():
    raw = b'{"choices":' + b"[" * 400 + b"]" * 400 + b"}"
    found = plain(raw, "ours")
    assert isinstance(found, Outcome)
    assert found.kind == "server"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "x"}}, "server", 402),
        ({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "x"}}, "rate_limit", 429),
        ({"choices": [{"message": {}}], "base_resp": {"status_code": 1027, "status_msg": "x"}}, "content_policy", 400),
        ({"choices": [], "error": {"message": "x"}}, "server", 0),
        ({"choices": [{"message": {}, "finish_reason": "error"}], "error": {"code": 429}}, "rate_limit", 429),
        ({"choices": [{"message": {"content": "x"}, "finish_reason": "error"}]}, "server", 0),
        ({"choices": [{"message": {}, "error": {"code": 502, "message": "x"}}]}, "server", 502),
        ({"object": "error", "message": "x", "type": "BadRequestError", "code": 400}, "caller", 400),
        ({"object": "error", "message": "maximum context length", "code": 400}, "context_window", 400),
        ({"detail": "x"}, "server", 0),
        ({"detail": [{"loc": ["body"], "msg": "x"}]}, "server", 0),
        ({"code": 401, "msg": "x"}, "authentication", 401),
        ({"errors": [{"message": "x"}]}, "server", 0),
        ({"error": ["x"]}, "server", 0),
        ({"choices": []}, "server", 0),
        ({"choices": None, "data": None}, "server", 0),
    ],
)  # fmt: skip
def test_failure_with_status_200_is_a_failure(body, kind, status):
    found = plain(orjson.dumps({"id": "x", "model": "m", **body}), "ours")
    assert isinstance(found, Outcome)
    assert (found.kind, found.status) == (kind, status)


def mended(message: dict, finish: str = "stop") -> dict:
    raw = orjson.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish}], "model": "theirs"})
    return orjson.loads(read(raw).body)["choices"][0]


@pytest.mark.parametrize(
    ("message", "content", "thought"),
    [
        ({"content": "Hi", "reasoning": "hm"}, "Hi", "hm"),
        ({"content": "Hi", "reasoning": "hm", "reasoning_content": "hm"}, "Hi", "hm"),
        ({"content": "Hi", "reasoning_details": [{"type": "reasoning.text", "text": "h"},
                                                 {"type": "reasoning.summary", "summary": "m"}]}, "Hi", "hm"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]},
                      {"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}, "Hi", "hm"),
        ({"content": [{"type": "text", "text": "Hi"}]}, "Hi", None),
        ({"content": "<think>hm</think>Hi"}, "Hi", "hm"),
        ({"content": "Say <think>hm</think>"}, "Say <think>hm</think>", None),
        ({"content": "<think>hm"}, "<think>hm", None),
        ({"content": "Hi", "reasoning": None}, "Hi", None),
        ({"content": "Hi", "reasoning": {"content": "hm"}}, "Hi", "hm"),
        ({"content": "Hi", "reasoning": [{"type": "text", "text": "h"}, "m"]}, "Hi", "hm"),
        ({"content": "Hi", "reasoning_content": [{"type": "text", "text": "hm"}]}, "Hi", "hm"),
        ({"content": {"type": "text", "text": "Hi"}}, "Hi", None),
    ],
)  # fmt: skip
def test_reasoning_has_one_shape(message, content, thought):
    found = mended({"role": "assistant", **message})["message"]
    assert (found["content"], found.get("reasoning_content")) == (content, thought)
    assert not found.get("reasoning")


@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a":1}'])
@pytest.mark.parametrize("id", [{}, {"id": None}, {"id": ""}])
def test_calls_are_in_openais_format(arguments, id):
    call = {**id, "function": {"name": "f", "arguments": arguments}}
    choice = mended({"role": "assistant", "content": None, "tool_calls": [call, call]})
    first, second = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert first["id"].startswith("call_")
    assert first["id"] != second["id"]
    assert {c["type"] for c in (first, second)} == {"function"}
    assert {c["function"]["arguments"] for c in (first, second)} == {'{"a":1}'}


@pytest.mark.parametrize("arguments", [None, "", {}, " "])
def test_missing_arguments_become_an_empty_object(arguments):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    assert mended({"tool_calls": [call]})["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_legacy_function_call_is_kept_with_text_arguments():
    choice = mended({"role": "assistant", "function_call": {"name": "f", "arguments": {"a": 1}}})
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "stop"), ("length", "length"), (None, "stop"), ("", "stop"), ("unknown", "stop"), ("eos", "stop"),
        ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("refusal", "content_filter"),
        ("model_length", "length"),
    ],
)  # fmt: skip
def test_finish_reasons_are_openais(said, reason):
    assert mended({"role": "assistant", "content": "Hi"}, said)["finish_reason"] == reason


def test_malformed_call_is_charged_and_causes_no_cooldown():
    choice = {"message": {"content": ""}, "finish_reason": "function_call_filter: MALFORMED_FUNCTION_CALL"}
    found = plain(orjson.dumps({"choices": [choice]}), "ours")
    assert isinstance(found, Outcome)
    assert (found.kind, found.unread, found.blameless) == ("server", True, True)


def test_ordinary_response_with_calls_is_unchanged():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    raw = orjson.dumps({"model": "ours", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    assert read(b" " + raw).body == b" " + raw


def test_cached_tokens_are_reported_in_the_standard_field():
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_cache_hit_tokens": 3}
    found = read(answer(usage=usage))
    assert found.usage == {**usage, "prompt_tokens_details": {"cached_tokens": 3}}
    assert orjson.loads(found.body)["usage"] == found.usage


def test_stream_instead_of_a_response_is_joined():
    custom = {"index": 10**9, "id": "c", "type": "custom", "custom": {"name": "run", "input": "a"}}
    function = {"index": "5", "id": "f", "function": {"name": "g", "arguments": "{}"}}
    deltas = [
        {"tool_calls": [custom]},
        {"tool_calls": [{"index": 10**9, "custom": {"input": "b"}}]},
        {"tool_calls": [function], "content": "Hi"},
    ]
    events = [{"id": "x", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    raw = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    [choice] = orjson.loads(read(raw).body)["choices"]
    first, second = choice["message"]["tool_calls"]
    assert first == {"id": "c", "type": "custom", "custom": {"name": "run", "input": "ab"}}
    assert second == {"id": "f", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hi", "tool_calls")
