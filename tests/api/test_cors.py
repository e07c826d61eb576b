"""Cross-origin access."""

import pytest

from worker.core.api.cors import EXPOSED, is_preflight, parse_origins, preflight_headers, response_headers

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


def test_without_allowed_origins_nothing_is_said():
    assert response_headers(APP, ()) == []
    assert preflight_headers(APP, None, ()) == []


def test_an_allowed_origin_is_named():
    assert response_headers(APP, [APP]) == [
        ("access-control-allow-origin", APP),
        ("access-control-expose-headers", EXPOSED),
        ("vary", "Origin"),
    ]


@pytest.mark.parametrize(
    "origin", [None, "https://evil.example", "null", "http://app.example", "https://app.example.evil", f"{APP}:444", ""]
)
def test_a_stranger_is_not_but_caches_are_told(origin):
    assert response_headers(origin, [APP]) == [("vary", "Origin")]


@pytest.mark.parametrize("origin", [None, APP, "null"])
def test_a_star_allows_everybody(origin):
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
def test_what_a_preflight_is(method, origin, requested, preflight):
    assert is_preflight(method, origin, requested) is preflight


def test_a_preflight_of_an_allowed_origin_allows():
    headers = dict(preflight_headers(APP, "authorization, x-stainless-os", [APP]))
    assert headers["access-control-allow-origin"] == APP
    assert headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert int(headers["access-control-max-age"]) > 0


def test_a_preflight_that_asks_for_no_headers_gets_the_usual_ones():
    assert dict(preflight_headers(APP, None, [APP]))["access-control-allow-headers"] == "authorization, content-type"


def test_a_preflight_of_a_stranger_allows_nothing():
    assert preflight_headers("https://evil.example", "authorization", [APP]) == [("vary", "Origin")]


def test_the_headers_a_page_may_read_are_those_that_are_sent():
    assert {"x-request-id", "x-litellm-model-group", "retry-after"} <= set(EXPOSED.split(", "))
