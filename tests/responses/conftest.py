"""One gateway with models served through the Responses API: always, only with tools, by an unusual server, on Azure."""

from typing import Any

import pytest
from openai import OpenAI

from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy, StartProxy

PRICE = {"input_cost_per_token": 0.0001, "output_cost_per_token": 0.001, "cache_read_input_token_cost": 0.00001}


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, providers: FakeProvider) -> RunningProxy:
    at_fake = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    azure = {"api_base": providers.url, "api_key": "az-provider"}

    def model(name: str, upstream: str, params: dict[str, Any], **info: Any) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": upstream, **params}, "model_info": info}

    return module_proxy(
        {
            "model_list": [
                model("pro", "openai/gpt-5-pro", at_fake),
                model("five", "openai/gpt-5.4", at_fake),
                model("prefixed", "openai/responses/gpt-4.1", at_fake),
                model("azure", "azure/ours", azure, base_model="azure/gpt-5.4"),
                model("codex", "openai/gpt-5.1-codex", at_fake),
                model("frail", "openai/gpt-5-codex", at_fake),
                model("learner/*", "openai/house-model-*", at_fake),
                model("secretive", "openai/gpt-5-codex", at_fake),
                model("stubborn", "openai/other-model", at_fake),
                model("priced", "openai/gpt-5.1-codex", at_fake, **PRICE),
                model("priced/*", "openai/house-model-*", at_fake, **PRICE),
                model("spare", "openai/gpt-4o", at_fake),
            ],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"frail": ["spare"]}]},
        }
    )


@pytest.fixture
def client(gateway: RunningProxy) -> OpenAI:
    return gateway.client()
