"""The proxy against its own OpenAPI document."""

import os
from collections.abc import Iterator

import pytest

from tests.fakes.server import FakeProvider
from tests.openapi.judge import Judge
from tests.processes import MASTER_KEY, RunningProxy, StartProxy
from worker.core.api.endpoints import ALL, ANTHROPIC, GOOGLE

EXAMPLES = 100
# Generating the bodies of Gemini's API takes long.
FEWER = 20
# Operations that only read have a short query at most.
READS = EXAMPLES if os.environ.get("THOROUGH") else 20
# schemathesis also sends wrong keys and expects 401 for each.
MANY_WRONG_KEYS = {"FAILED_KEYS_PER_MINUTE": "1000000"}
OPERATIONS = {endpoint.name: endpoint for endpoint in ALL}
READING = {name for name, endpoint in OPERATIONS.items() if {"GET", "HEAD"}.issuperset(endpoint.methods)}
# Which conversations are valid is not in the schema, nor which user has which e-mail address.
OPEN_ENDED = {
    "team_new",
    "team_member_add",
    *ANTHROPIC,
    *GOOGLE,
    "responses",
    "compact",
    "input_tokens",
    *(name for name, endpoint in OPERATIONS.items() if endpoint.engine),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, provider: FakeProvider) -> RunningProxy:
    at_provider = {"model": "openai/gpt-4o", "api_base": provider.openai_base, "api_key": "sk-provider"}
    return module_proxy(
        {
            "model_list": [
                {"model_name": "gpt", "litellm_params": at_provider},
                {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}},
            ],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        },
        environment=MANY_WRONG_KEYS,
    )


@pytest.fixture(scope="module")
def judge(gateway: RunningProxy) -> Judge:
    return Judge(f"{gateway.url}/v1", {"authorization": f"Bearer {MASTER_KEY}"})


@pytest.mark.parametrize("name", OPERATIONS)
def test_responses_conform_standalone(judge: Judge, gateway: RunningProxy, name: str):
    examples = FEWER if name in GOOGLE else READS if name in READING else EXAMPLES
    judge.judge(name, examples, open_ended=name in OPEN_ENDED)
    assert '"internal_error"' not in gateway.log()
