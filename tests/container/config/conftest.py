"""Fixtures for the settings of a config with a few models."""

import pytest

from container.config.load import Options

MODELS = [
    {"model_name": name, "litellm_params": {"model": "openai/x", "mock_response": "hi"}}
    for name in ("a", "b", "c", "free/*")
]


@pytest.fixture
def options(load_config):
    def read(section: str = "router_settings", environment=None, **settings) -> Options:
        return load_config({"model_list": MODELS, section: settings}, environment).options

    return read


@pytest.fixture
def warning(warned):
    def said(section: str = "router_settings", **settings) -> str:
        [line] = warned({"model_list": MODELS, section: settings})
        return line

    return said


@pytest.fixture
def refusal(complaints):
    def said(section: str = "router_settings", **settings) -> str:
        [line] = complaints({"model_list": MODELS, section: settings})
        return line

    return said
