"""Deployments and parsed requests of Gemini's API."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from container.config.deployment import Deployment
from container.request.client_apis import parse_generate_content
from container.request.completion import Completion
from tests.container.conftest import LoadConfig

HOME = {"openai": "http://127.0.0.1:1/v1", "hosted_vllm": "http://127.0.0.1:1/v1"}
Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(load_config: LoadConfig) -> Deploy:
    def make(model: str, **params: Any) -> Deployment:
        base = {"api_base": HOME[model.partition("/")[0]]} if model.partition("/")[0] in HOME else {}
        entry = {"model_name": "m", "litellm_params": {"model": model, "api_key": "k", **base, **params}}
        return load_config({"model_list": [entry]}).deployments[0]

    return make


def asked(body: dict[str, Any], *, stream: bool = False) -> Completion:
    endpoint = "stream_generate_content" if stream else "generate_content"
    return parse_generate_content(endpoint, orjson.dumps(body), "m", events=True)
