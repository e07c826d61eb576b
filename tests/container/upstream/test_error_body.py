"""The provider's error message is kept, whatever the shape of the error."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared.failure import error_fields, fields_of, from_response, says_error, words

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
