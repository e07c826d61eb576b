"""The error format of the API."""

import json

import pytest

from worker.core.api import errors
from worker.core.api.errors import ApiError


def test_the_body_has_four_fields():
    error = ApiError(418, "teapot", "Short and stout.", code="c", param="p", headers=[("a", "b")])
    assert json.loads(error.body()) == {
        "error": {"message": "Short and stout.", "type": "teapot", "param": "p", "code": "c"}
    }
    assert (error.status, error.headers, str(error)) == (418, [("a", "b")], "Short and stout.")


def test_missing_fields_are_null():
    assert ApiError(400, "t", "m").fields() == {"error": {"message": "m", "type": "t", "param": None, "code": None}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropic_clients_get_their_own_format(status, kind):
    body = json.loads(ApiError(status, "t", "m", code="c").body("anthropic"))
    assert body == {"type": "error", "error": {"type": kind, "message": "m", "param": None, "code": "c"}}


def test_errors_share_no_headers():
    one, two = errors.service_unavailable("x"), errors.service_unavailable("x")
    one.headers.append(("a", "b"))
    assert ("a", "b") not in two.headers


@pytest.mark.parametrize(
    ("error", "status", "type", "code"),
    [
        (errors.unauthenticated(), 401, "authentication_error", "invalid_api_key"),
        (errors.forbidden("No."), 403, "permission_error", None),
        (errors.invalid_request("No.", param="n"), 400, "invalid_request_error", None),
        (errors.model_not_found("x", ["a"]), 404, "invalid_request_error", "model_not_found"),
        (errors.unknown_path("/x"), 404, "invalid_request_error", "unknown_url"),
        (errors.wrong_method("PUT", "/x", ["GET"]), 405, "invalid_request_error", "method_not_allowed"),
        (errors.body_too_large(32), 413, "invalid_request_error", "body_too_large"),
        (errors.service_unavailable("Later."), 503, "service_unavailable", "service_unavailable"),
        (errors.timed_out("Late."), 504, "timeout_error", "timeout"),
        (errors.upstream_failed(502, "Broken."), 502, "upstream_error", "upstream_error"),
        (errors.internal_error("id-1"), 500, "server_error", "internal_error"),
    ],
)
def test_status_codes_and_types(error, status, type, code):
    assert (error.status, error.type, error.code) == (status, type, code)
    assert error.message


def test_the_available_models_are_named():
    assert errors.model_not_found("x", ["a", "b/*"]).message == "The model 'x' does not exist here. Models: a, b/*."
    assert errors.model_not_found("x", []).message.endswith("Models: none.")


def test_the_allowed_methods_are_named():
    error = errors.wrong_method("PUT", "/v1/models", ("GET", "HEAD"))
    assert error.headers == [("allow", "GET, HEAD")]
    assert error.message == "/v1/models takes GET, HEAD, not PUT."


@pytest.mark.parametrize(("limit", "shown"), [(32, "32 MB"), (32.0, "32 MB"), (0.5, "0.5 MB")])
def test_the_limit_is_named(limit, shown):
    assert shown in errors.body_too_large(limit).message


@pytest.mark.parametrize(("seconds", "shown"), [(5, "5"), (0, "1"), (-3, "1"), (60, "60")])
def test_retry_after_is_at_least_one_second(seconds, shown):
    assert errors.service_unavailable("x", seconds).headers == [("retry-after", shown)]


def test_an_internal_error_names_the_request_id():
    assert "id-1" in errors.internal_error("id-1").message


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "a\u2028b", "a\x1b[31mb", "a\u202eb"])
def test_client_input_is_shown_printable(text):
    for error in (errors.unknown_path(text), errors.model_not_found(text, []), errors.wrong_method(text, "/", ["GET"])):
        assert "a?" in error.message
        assert error.message.isprintable()


def test_client_input_is_truncated():
    assert len(errors.unknown_path("/" + "x" * 10_000).message) < 300
    assert "…" in errors.model_not_found("x" * 201, []).message
    assert "…" not in errors.model_not_found("x" * 200, []).message


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (errors.unauthenticated(), True),
        (errors.forbidden("No."), True),
        (errors.model_not_found("x", ["a"]), True),
        (errors.refused({"status": 401, "type": "t", "message": "m", "code": "c", "param": None, "headers": []}), True),
        (
            errors.refused({"status": 429, "type": "t", "message": "m", "code": "c", "param": None, "headers": []}),
            False,
        ),
        (errors.service_unavailable("Later."), False),
        (errors.upstream_failed(502, "Broken."), False),
    ],
)
def test_permanent_errors_tell_clients_not_to_retry(error, final):
    assert (("x-should-retry", "false") in error.headers) is final
