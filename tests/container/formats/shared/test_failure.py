"""Classification of provider errors, and their messages."""

import email.utils
from collections.abc import Mapping

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from container.formats.shared.failure import (
    error_fields,
    fields_of,
    from_error_event,
    from_response,
    retry_after,
    says_error,
    words,
)

NOW = 1_800_000_000.0


def outcome(status: int, body: object = None, headers: Mapping[str, str] | None = None):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return from_response(status, headers or {}, raw, NOW)


def openai(message: str = "It broke.", code: str | None = None, type: str | None = None, param: str | None = None):
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "caller"),
        (409, "caller"),
        (413, "context_window"),
        (415, "caller"),
        (422, "caller"),
        (401, "authentication"),
        (403, "authentication"),
        (407, "authentication"),
        (404, "not_found"),
        (408, "timeout"),
        (504, "timeout"),
        (429, "rate_limit"),
        (500, "server"),
        (502, "server"),
        (503, "server"),
        (529, "server"),
        (402, "server"),
        (301, "server"),
        (204, "server"),
        (406, "caller"),
        (414, "caller"),
        (431, "caller"),
        (410, "not_found"),
        (498, "rate_limit"),
        (451, "content_policy"),
    ],
)
def test_status_determines_the_kind(status, kind):
    found = outcome(status, openai())
    assert (found.kind, found.status) == (kind, status)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (openai(code="context_length_exceeded"), "context_window"),
        (openai("This model's maximum context length is 8192 tokens."), "context_window"),
        (openai("prompt is too long: 210000 tokens > 200000 maximum"), "context_window"),
        (openai(code="content_filter"), "content_policy"),
        (openai(code="ResponsibleAIPolicyViolation"), "content_policy"),
        (openai("… triggered Azure OpenAI's content management policy."), "content_policy"),
        (openai("Incorrect API key provided: xa***rr."), "authentication"),
        (openai("API key not valid. Please pass a valid API key."), "authentication"),
        (openai(code="invalid_api_key"), "authentication"),
        (openai("Unknown name."), "caller"),
        (openai(code="unsupported_parameter", param="temperature"), "unsupported"),
        (openai("litellm.UnsupportedParamsError: gemini does not support parameters: ['x']"), "unsupported"),
    ],
)
def test_message_of_a_400_refines_the_kind(body, kind):
    assert outcome(400, body).kind == kind


def test_server_error_may_be_a_rate_limit():
    assert outcome(500, openai(code="rate_limit_exceeded")).kind == "rate_limit"
    assert outcome(503, openai(type="rate_limit_error")).kind == "rate_limit"


def test_content_filter_with_403_is_not_an_invalid_key():
    assert outcome(403, openai(code="content_filter")).kind == "content_policy"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (openai("It broke."), "It broke."),
        ({"error": "It broke."}, "It broke."),
        ({"message": "It broke."}, "It broke."),
        ({"detail": "It broke."}, "It broke."),
        ({"object": "error", "message": "It broke.", "code": 400}, "It broke."),
        ([{"error": {"code": 400, "message": "It broke.", "status": "INVALID_ARGUMENT"}}], "It broke."),
        ({"error": {"detail": "It broke."}}, "It broke."),
        (b"<html>Bad Gateway</html>", "The provider answered with status 500."),
        (b"", "The provider answered with status 500."),
        (b"\xff\xfe", "The provider answered with status 500."),
        (None, "The provider answered with status 500."),
        ([], "The provider answered with status 500."),
        ({"error": None}, "The provider answered with status 500."),
        ({"error": {"message": {"a": 1}}}, '{"a":1}'),
        ({"detail": [{"loc": ["body"], "msg": "x"}]}, "body: x"),
    ],
)
def test_message_is_found_in_every_shape(body, message):
    assert outcome(500, body).message == message


def test_code_and_param_are_text():
    found = outcome(400, {"error": {"message": "x", "code": 400, "param": "temperature"}})
    assert (found.code, found.param) == ("400", "temperature")
    assert outcome(400, {"error": {"message": "x", "code": {}, "param": ["a"]}}).param is None


def test_long_message_is_truncated():
    assert len(outcome(500, openai("too long " * 10_000)).message) == 500


@pytest.mark.parametrize("status", [401, 403])
def test_provider_message_about_our_key_is_not_repeated(status):
    found = outcome(status, openai("Incorrect API key provided: sk-abcdef."))
    assert found.message == f"The provider refused this gateway's credentials (status {status})."
    assert "sk-abcdef" not in repr(found)


@pytest.mark.parametrize("status", [400, 404, 429, 500])
@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF0123456789abcDEF0123456789",
        "sk-ant-api03-abcDEF0123456789",
        "gsk_abcDEF0123456789abcDEF0123456789",
        "AIzaSyA0123456789abcDEF0123456789abcDEF",
        "xai-abcDEF0123456789abcDEF0123456789",
        "0123456789abcdef0123456789abcdef",
        "sk-abcd********************wxyz",
    ],
)
def test_key_in_any_message_is_masked(status, secret):
    found = outcome(status, openai(f"The key '{secret}' has no quota left for gpt-4o-2024-11-20."))
    assert secret not in found.message
    assert found.message.endswith("has no quota left for gpt-4o-2024-11-20.") or found.kind == "authentication"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("No answer from http://me:hunter2@host.example:8080/v1.", "No answer from http://***@host.example:8080/v1."),
        ("Cannot connect to https://hunter2@host/v1", "Cannot connect to https://***@host/v1"),
        ("GET https://host/v1?api-version=1&api_key=hunter2&x=1", "GET https://host/v1?api-version=1&api_key=***&x=1"),
        ("at https://host/v1?X-Amz-Signature=hunter2", "at https://host/v1?X-Amz-Signature=***"),
        ("write to a@b.example, see https://host/a?b=c", "write to a@b.example, see https://host/a?b=c"),
    ],
)
def test_credentials_in_a_url_are_masked(said, shown):
    assert outcome(500, openai(said)).message == shown


def test_words_that_are_not_keys_are_kept():
    text = (
        "task-oriented sk-1 accounts/fireworks/models/llama-v4-maverick-instruct-basic req_0123 at 2026-11-17T10:00:00Z"
    )
    assert outcome(500, openai(text)).message == text


def test_only_relevant_messages_are_forwarded():
    found = outcome(
        429,
        openai(),
        CIMultiDict(
            {
                "Retry-After": "7",
                "X-RateLimit-Remaining-Requests": "0",
                "Set-Cookie": "a=b",
                "openai-organization": "org-1",
                "x-request-id": "theirs",
            }
        ),
    )
    assert found.headers == (("retry-after", "7"), ("x-ratelimit-remaining-requests", "0"))
    assert found.retry_after == 7.0


def test_engine_additions_are_removed():
    found = outcome(
        429,
        openai("Slow down.. Received Model Group=0123456789abcdef\nAvailable Model Group Fallbacks=None"),
        {
            "llm_provider-retry-after": "7",
            "llm_provider-x-ratelimit-remaining-tokens": "0",
            "llm_provider-x-other": "1",
        },
    )
    assert found.message == "Slow down"
    assert found.headers == (("retry-after", "7"), ("x-ratelimit-remaining-tokens", "0"))
    assert found.retry_after == 7.0


# Retry-After


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "7"}, 7.0),
        ({"retry-after": email.utils.formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": email.utils.formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after": "Mon, 01 Jan 99999 00:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_milliseconds_or_a_date(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40) | st.dates().map(lambda d: f"{d:%a, %d %b %Y} 00:00:00 GMT"))
def test_any_retry_after_is_a_delay_or_none(text):
    found = retry_after({"retry-after": text}, NOW)
    assert found is None or found >= 0


# Errors as the first event of a stream


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"message": "x", "code": 429}, "rate_limit", 429),
        ({"message": "x", "code": "429"}, "rate_limit", 429),
        ({"message": "x", "type": "rate_limit_error"}, "rate_limit", 0),
        ({"message": "x", "code": "rate_limit_exceeded"}, "rate_limit", 0),
        ({"message": "x", "code": 400, "type": "invalid_request_error"}, "caller", 400),
        ({"message": "x", "code": 502}, "server", 502),
        ({"message": "Overloaded", "type": "overloaded_error"}, "server", 0),
        ({"message": "x", "code": 200}, "server", 0),
        ({"message": "x", "code": "502"}, "server", 502),
        ({"message": "x", "code": "50²"}, "server", 0),
        ({"message": "x", "code": "9" * 5000}, "server", 0),
        ({"message": "x", "code": True}, "server", 0),
        ({}, "server", 0),
    ],
)
def test_error_event_is_an_outcome(error, kind, status):
    found = from_error_event(error)
    assert (found.kind, found.status) == (kind, status)
    assert found.message


def test_error_event_does_not_repeat_our_key():
    key = "sk-proj-abcDEF0123456789abcDEF0123456789"
    assert key not in repr(from_error_event({"message": f"Incorrect API key provided: {key}", "code": 401}))


@given(
    st.integers(100, 599),
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.integers(-5, 500) | st.text(max_size=5) | st.booleans(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "param", "detail"]), inner)
        ),
    ).map(orjson.dumps),
)
def test_any_response_is_an_outcome(status, raw):
    found = from_response(status, {}, raw, NOW)
    assert found.kind != "ok"
    assert 0 < len(found.message) <= 500


# The error message is kept, whatever the shape of the error.

EXTRA = {"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted", "input": 1}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "It broke."}}, "It broke."),
        ({"error": {"error": {"message": "It broke."}}}, "It broke."),
        ({"error": {"msg": "It broke."}}, "It broke."),
        ({"error": ["It broke.", {"message": "Twice."}]}, "It broke.; Twice."),
        ({"errors": [{"message": "It broke."}, {"message": "Twice."}]}, "It broke.; Twice."),
        ({"code": 1210, "msg": "It broke."}, "It broke."),
        ({"error_message": "It broke."}, "It broke."),
        ({"Message": "It broke."}, "It broke."),
        ({"title": "Bad Request", "detail": "It broke."}, "It broke."),
        ({"message": '{"error":{"message":"It broke."}}'}, "It broke."),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "insufficient balance"),
        ({"object": "error", "message": {"detail": [EXTRA]}}, "body.logprobs: Extra inputs are not permitted"),
        ({"detail": [EXTRA, {"loc": ["body", "n"], "msg": "Too many"}]},
         "body.logprobs: Extra inputs are not permitted; body.n: Too many"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"message":"It broke."}'}}},
         "Provider returned error: It broke."),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "It broke."}}},
         "Provider returned error: It broke."),
        ({"code": "Some sentence.", "error": "It broke."}, "It broke."),
        ({"error": {"details": [{"description": "It broke."}]}}, "It broke."),
        ({"fault": {"faultstring": "It broke."}}, "It broke."),
        ({"Error": {"Code": "X", "Message": "It broke."}}, "It broke."),
        ({"error": "invalid_request", "error_description": "It broke."}, "invalid_request: It broke."),
        ({"error": {"code": "x", "innererror": {"message": "It broke."}}}, "It broke."),
        ({"message": "Unprocessable Entity", "errors": [{"message": "It broke."}]}, "Unprocessable Entity: It broke."),
        ({"error": {"message": "Bad Request", "details": [{"fieldViolations": [{"description": "It broke."}]}]}},
         "Bad Request: It broke."),
        ("It broke.", "It broke."),
    ],
)  # fmt: skip
def test_message_is_found(body, said):
    assert fields_of(body)["message"] == said
    assert from_response(422, {}, orjson.dumps(body)).message == said


@pytest.mark.parametrize(
    "body",
    [
        {"status": {"problem": "It broke."}},
        {"result": {"info": ["It broke."]}},
        {"error": {"text": "It broke."}},
        [{"info": "It broke."}],
    ],
)
def test_message_in_an_unknown_field_is_shown_with_its_context(body):
    assert from_response(422, {}, orjson.dumps(body)).message == orjson.dumps(body).decode()


def test_message_in_an_unknown_field_is_masked_and_does_not_affect_routing():
    found = from_response(422, {}, orjson.dumps({"info": "sk-proj-abcDEF0123456789abcDEF0123456789 context length"}))
    assert "0123456789" not in found.message
    assert found.kind == "caller"


@pytest.mark.parametrize("body", [{}, [], {"error": None}, {"error": {"message": ""}}, {"error": {"code": 7}}, 5])
def test_body_without_a_message_leaves_the_status(body):
    assert "422" in from_response(422, {}, orjson.dumps(body)).message


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"Failed to deserialize the JSON body:\n messages[0].role: unknown variant `developer`",
         "Failed to deserialize the JSON body: messages[0].role: unknown variant `developer`"),
        (b"<html>\r\n<head><title>413 Request Entity Too Large</title></head><body>secret</body></html>",
         "413 Request Entity Too Large"),
        (b"<!DOCTYPE html><html><body><h1>Bad <b>Gateway</b></h1><script>x()</script></body></html>", "Bad Gateway"),
        (b'<?xml version="1.0"?><Error><Code>X</Code><Message>It broke.</Message></Error>', "It broke."),
        ("Größe überschritten".encode(), "Größe überschritten"),
    ],
)  # fmt: skip
def test_plain_text_and_html_are_trimmed(raw, said):
    assert " ".join(error_fields(raw)["message"].split()) == said


def test_long_text_is_cut_between_characters_and_masked():
    found = from_response(400, {}, b"key sk-proj-abcDEF0123456789abcDEF0123456789 " + "ü".encode() * 9000)
    assert len(found.message) == 500
    assert "0123456789" not in found.message


def test_field_forbidden_by_fastapi_is_named():
    found = from_response(422, {}, orjson.dumps({"detail": [EXTRA]}))
    assert (found.kind, found.code, found.param) == ("unsupported", "unknown_parameter", "logprobs")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": {"message": "x"}, "choices": [{"delta": {"content": ""}}]}, True),
        ({"error": "x", "choices": None}, True),
        ({"error": ["x"]}, True),
        ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "x"}}, True),
        ({"object": "error", "message": "x"}, True),
        ({"type": "error", "error": None}, True),
        ({"choices": [], "base_resp": {"status_code": 0, "status_msg": ""}}, False),
        ({"choices": [], "error": None}, False),
        ({"choices": [], "error": {"message": None, "code": None}}, False),
        ({"choices": [], "error": ""}, False),
        ({"choices": []}, False),
        ({"error": {"message": None, "code": None}}, True),
        ({"error": {}}, True),
    ],
)
def test_response_that_reports_an_error(body, error):
    assert says_error(body) is error


JSON = st.recursive(
    st.none() | st.integers(-5, 500) | st.text(max_size=6) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("error errors message msg detail loc code base_resp status_code metadata raw".split()),
            inner,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_shape_can_be_read(body):
    assert isinstance(fields_of(body).get("message", ""), str)
    assert isinstance(words(body), str)


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(raw):
    assert isinstance(error_fields(raw).get("message", ""), str)
