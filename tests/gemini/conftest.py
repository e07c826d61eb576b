"""Gemini called directly: one proxy in front of one fake for all tests in this folder."""

from typing import Any

import pytest
from openai import OpenAI

from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy, StartProxy

KEY = "AIza-provider"


@pytest.fixture(scope="session")
def config(providers: FakeProvider) -> dict[str, Any]:
    at_fake = {"api_base": providers.gemini_base, "api_key": KEY}
    openai = {"model": "openai/gpt-4o", "api_base": providers.openai_base, "api_key": "sk-provider"}
    return {
        "model_list": [
            {"model_name": "gemini", "litellm_params": {"model": "gemini/gemini-2.5-flash", **at_fake}},
            {"model_name": "gemini-3", "litellm_params": {"model": "gemini/gemini-3.5-flash", **at_fake}},
            {"model_name": "gemini/*", "litellm_params": {"model": "gemini/*", **at_fake}},
            {"model_name": "hasty", "litellm_params": {"model": "gemini/gemini-slow", "timeout": 0.5, **at_fake}},
            {"model_name": "frail", "litellm_params": {"model": "gemini/gemini-frail", **at_fake}},
            {"model_name": "gpt", "litellm_params": openai},
        ],
        "router_settings": {
            "num_retries": 0,
            "disable_cooldowns": True,
            "fallbacks": [{"frail": ["gpt"]}],
            "content_policy_fallbacks": [{"frail": ["gpt"]}],
        },
    }


@pytest.fixture(scope="session")
def gemini_proxy(session_proxy: StartProxy, config: dict[str, Any]) -> RunningProxy:
    return session_proxy(config, environment={"STREAM_KEEPALIVE": "1"})


@pytest.fixture
def client(gemini_proxy: RunningProxy) -> OpenAI:
    return gemini_proxy.client()
