"""Values of `general_settings.request_logging`."""

import pytest

from container.config.document import ConfigError
from container.config.observability import RequestLogging

MODEL = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hi"}}


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (True, RequestLogging()),
        ("true", RequestLogging()),
        (False, None),
        (None, None),
        ({}, RequestLogging()),
        ({"contents": True}, RequestLogging(contents=True)),
        ({"redact": False}, RequestLogging(contents=True)),
        ({"redact": True, "max_bytes": 10}, RequestLogging(max_bytes=10)),
        ({"file": "/tmp/requests"}, RequestLogging(file="/tmp/requests")),
    ],
)
def test_valid_values(load_config, value, meaning):
    config = load_config({"model_list": [MODEL], "general_settings": {"request_logging": value}})
    assert config.options.request_logging == meaning


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("yes please", "true or false"),
        ({"content": True}, "Did you mean `contents`"),
        ({"contents": True, "redact": True}, "contradicts"),
        ({"file": 3}, "path"),
        ({"max_bytes": 0}, "whole number"),
        ({"max_bytes": True}, "whole number"),
    ],
)
def test_invalid_values(load_config, value, wrong):
    with pytest.raises(ConfigError, match=wrong):
        load_config({"model_list": [MODEL], "general_settings": {"request_logging": value}})


def test_logging_contents_causes_a_warning(load_config):
    config = load_config({"model_list": [MODEL], "general_settings": {"request_logging": {"contents": True}}})
    assert any(p.level == "warning" and "request_logging" in str(p) for p in config.problems)
