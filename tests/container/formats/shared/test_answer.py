"""A provider's whole response is parsed and renamed."""

import orjson
import pytest

from container.formats.shared.answer import Plain, plain
from container.routing.health import Outcome

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
