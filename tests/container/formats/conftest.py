"""The wire formats with their default settings."""

import pytest

from container.engine import Engine
from container.formats import Formats


@pytest.fixture
def formats(load_config) -> Formats:
    entry = {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}
    config = load_config({"model_list": [entry]})
    return Formats(config.options, Engine(config, {}, start_timeout=1))
