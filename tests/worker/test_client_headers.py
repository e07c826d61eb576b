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
def test_stays_outside(name):
    assert is_dropped(name)


@pytest.mark.parametrize(
    "name",
    ["content-type", "accept", "user-agent", "openai-beta", "anthropic-version", "x-stainless-lang", "x-request-id"],
)
def test_goes_along(name):
    assert not is_dropped(name)


def test_dropped_keeps_the_names_as_they_were():
    assert dropped(["Authorization", "Accept", "X-Internal-Token"]) == ["Authorization", "X-Internal-Token"]
