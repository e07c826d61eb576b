"""Which client headers are forwarded to the container."""

import pytest

from worker.core.protocol import NO_INSTANCE_HEADER, TOKEN_HEADER
from worker.edge.client_headers import dropped, is_dropped


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "x-api-key",
        "api-key",
        "cookie",
        "origin",
        "proxy-authorization",
        "x-internal-token",
        "x-internal-anything",
        "x-litellm-api-key",
        "x-litellm-tags",
        "connection",
        "transfer-encoding",
        "expect",
        TOKEN_HEADER,
        NO_INSTANCE_HEADER,
    ],
)
def test_headers_that_are_dropped(name):
    assert is_dropped(name)


@pytest.mark.parametrize(
    "name",
    ["content-type", "accept", "user-agent", "openai-beta", "anthropic-version", "x-stainless-lang", "x-request-id"],
)
def test_headers_that_are_forwarded(name):
    assert not is_dropped(name)


def test_dropped_keeps_the_original_spelling():
    assert dropped(["Authorization", "Accept", "X-Internal-Token"]) == ["Authorization", "X-Internal-Token"]
