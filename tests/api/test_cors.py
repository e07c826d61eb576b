"""Cross-origin requests."""

import pytest

from worker.core.api.headers import EXPOSED, is_preflight, parse_origins, preflight_headers, response_headers

APP = "https://app.example"


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        (None, ()),
        ("", ()),
        (" , ", ()),
        ("*", ("*",)),
        (f"{APP}/, https://b.example:8080 ,", (APP, "https://b.example:8080")),
    ],
)
def test_origins_are_parsed(text, origins):
    assert parse_origins(text) == origins


def test_without_allowed_origins_there_are_no_cors_headers():
    assert response_headers(APP, ()) == []
    assert preflight_headers(APP, None, ()) == []


def test_an_allowed_origin_gets_cors_headers():
    assert response_headers(APP, [APP]) == [
        ("access-control-allow-origin", APP),
        ("access-control-expose-headers", EXPOSED),
        ("vary", "Origin"),
    ]


@pytest.mark.parametrize(
    "origin", [None, "https://evil.example", "null", "http://app.example", "https://app.example.evil", f"{APP}:444", ""]
)
def test_an_unknown_origin_gets_only_vary(origin):
    assert response_headers(origin, [APP]) == [("vary", "Origin")]


@pytest.mark.parametrize("origin", [None, APP, "null"])
def test_a_star_allows_every_origin(origin):
    assert dict(response_headers(origin, ["*"]))["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in dict(response_headers(origin, ["*"]))


@pytest.mark.parametrize(
    ("method", "origin", "requested", "preflight"),
    [
        ("OPTIONS", APP, "POST", True),
        ("OPTIONS", APP, None, False),
        ("OPTIONS", None, "POST", False),
        ("POST", APP, "POST", False),
    ],
)
def test_preflight_requests_are_recognized(method, origin, requested, preflight):
    assert is_preflight(method, origin, requested) is preflight


def test_a_preflight_from_an_allowed_origin_is_allowed():
    headers = dict(preflight_headers(APP, "authorization, x-stainless-os", [APP]))
    assert headers["access-control-allow-origin"] == APP
    assert headers["access-control-allow-methods"] == "GET, POST, DELETE, OPTIONS"
    assert headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert int(headers["access-control-max-age"]) > 0


def test_a_preflight_without_requested_headers_gets_the_default_ones():
    assert dict(preflight_headers(APP, None, [APP]))["access-control-allow-headers"] == "authorization, content-type"


def test_a_preflight_from_an_unknown_origin_allows_nothing():
    assert preflight_headers("https://evil.example", "authorization", [APP]) == [("vary", "Origin")]


def test_exposed_headers_are_the_response_headers():
    assert {"x-request-id", "x-litellm-model-group", "retry-after"} <= set(EXPOSED.split(", "))
