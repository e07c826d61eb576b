"""The proxy against its own OpenAPI document."""

import os
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.server import FakeProvider
from tests.openapi.bounds import Bodies
from tests.openapi.judge import Judge
from tests.processes import MASTER_KEY, RunningProxy, StartProxy
from worker.core import openapi
from worker.core.api.endpoints import ALL, ANTHROPIC, GOOGLE
from worker.core.openapi_schemas import COUNT

# How many calls are generated of each operation. The bounds of bodies do not depend on them, see below.
THOROUGH = bool(os.environ.get("THOROUGH"))
EXAMPLES = 100 if THOROUGH else 16
# Operations that only read have a short query at most.
READS = 100 if THOROUGH else 8
# Generating the bodies of Gemini's API takes long.
FEWER = 20 if THOROUGH else 8
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
BODIES = Bodies(openapi.document())
BODIES_WITH_NEW_FIELDS = BODIES.with_new_fields()
# Its vectors have 16,384 dimensions at most.
MOST_OF_THE_MOCK = ("dimensions", COUNT["maximum"])
_TEXT = [{"text": "hello"}]
# What a body needs beside the field in question, made from a new id.
REQUIRED: dict[str, Any] = {
    "model": lambda _: "mock",
    "messages": lambda _: [{"role": "user", "content": "hello"}],
    "prompt": lambda _: "hello",
    "input": lambda _: "hello",
    "max_tokens": lambda _: 5,
    "contents": lambda _: [{"role": "user", "parts": _TEXT}],
    "content": lambda _: {"parts": _TEXT},
    "requests": lambda _: [{"model": "models/mock", "content": {"parts": _TEXT}}],
    "member": lambda id: {"user_id": id, "role": "user"},
    "role": lambda _: "user",
    "budgets": lambda id: [id],
    "names": lambda id: [id],
    "user_ids": lambda id: [id],
    "team_ids": lambda id: [id],
    **dict.fromkeys(("key", "name", "id", "team_id", "user_id", "budget_id"), lambda id: id),
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


@pytest.mark.parametrize("name", BODIES_WITH_NEW_FIELDS)
def test_the_gateway_has_the_bounds_of_the_schema(gateway: RunningProxy, name: str):
    """Each field of a body in turn: at, below and above each of its bounds, and of each other type."""
    path, schema, fields = BODIES_WITH_NEW_FIELDS[name]
    url = (gateway.url if name in GOOGLE else f"{gateway.url}/v1") + path.replace("{id}", "mock")
    wrong = []
    with httpx.Client(headers={"authorization": f"Bearer {MASTER_KEY}"}, timeout=30) as client:
        for field, value in ((field, value) for field, one in fields.items() for value in BODIES.candidates(one)):
            body = {each: REQUIRED[each](uuid.uuid4().hex) for each in schema.get("required", ())} | {field: value}
            answer = client.post(url, json=body)
            if not BODIES.fits(body, schema):
                right = 400 <= answer.status_code < 500
            elif name in OPEN_ENDED or b" already" in answer.content or (field, value) == MOST_OF_THE_MOCK:
                right = answer.status_code < 500
            else:
                right = answer.status_code < 500 and answer.status_code not in (400, 422)
            if not right:
                wrong.append((answer.status_code, field, str(value)[:80], answer.text[:200]))
    assert not wrong
