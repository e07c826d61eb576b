"""Gemini, translated by us and by LiteLLM: hundreds of generated requests and answers, plain and streamed."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential import requests as shapes
from tests.differential.oracle import Oracle
from tests.fakes import Behaviour, FakeProvider
from tests.processes import StartProxy

KEY = "AIza-provider"
MODELS = ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro", "gemini-3.1-pro-preview", "gemini-3.5-flash")
THOROUGH = settings(
    max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def oracle(fake: FakeProvider, module_proxy: StartProxy) -> Iterator[Oracle]:
    at_fake = {"api_base": fake.gemini_base, "api_key": KEY}
    proxy = module_proxy(
        {
            "model_list": [{"model_name": "gemini/*", "litellm_params": {"model": "gemini/*", **at_fake}}],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        }
    )
    oracle = Oracle(fake, proxy, lambda model: at_fake)
    yield oracle
    oracle.close()


# Requests


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    model = draw(st.sampled_from(MODELS))
    penalties = dict.fromkeys(("presence_penalty", "frequency_penalty"), shapes.FRACTIONS)
    fields = draw(
        shapes.optional(
            {"messages": shapes.MESSAGES},
            temperature=shapes.FRACTIONS,
            top_p=shapes.FRACTIONS,
            top_k=st.integers(1, 40),
            max_tokens=st.integers(1, 100),
            seed=st.integers(0, 2**31 - 1),
            n=st.integers(1, 3),
            stop=st.one_of(shapes.WORDS, st.lists(shapes.WORDS, min_size=1, max_size=3)),
            logprobs=st.booleans(),
            response_format=shapes.FORMATS,
            reasoning_effort=shapes.EFFORTS,
            user=shapes.NAMES,
            parallel_tool_calls=st.just(True),
            safety_settings=st.just([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
            **({} if model.startswith("gemini-3") else penalties),
        )
    )
    tools = draw(st.one_of(st.just({}), shapes.with_tools()))
    return {"model": f"gemini/{model}", **fields, **tools, **({"stream": True} if draw(st.booleans()) else {})}


@given(body=asked())
@THOROUGH
def test_requests(oracle: Oracle, body: dict[str, Any]):
    theirs, ours = oracle.both(body, Behaviour())
    assert (theirs.status, ours.status) == (200, 200), (theirs.answer, ours.answer)
    assert ours.path.partition(":")[2] == theirs.path.partition(":")[2]
    assert canonical(ours.sent) == accepted(body, canonical(theirs.sent))


CAMEL = {
    "system_instruction": "systemInstruction",
    "inline_data": "inlineData",
    "mime_type": "mimeType",
    "file_data": "fileData",
    "file_uri": "fileUri",
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "function_declarations": "functionDeclarations",
    "allowed_function_names": "allowedFunctionNames",
    "media_resolution": "mediaResolution",
    "max_output_tokens": "maxOutputTokens",
    "stop_sequences": "stopSequences",
    "candidate_count": "candidateCount",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "response_mime_type": "responseMimeType",
    "response_json_schema": "responseJsonSchema",
}


def canonical(value: Any) -> Any:
    """Google reads `mime_type` and `mimeType` alike: LiteLLM writes both, we what Google's reference has."""
    if isinstance(value, dict):
        return {CAMEL.get(name, name): canonical(inner) for name, inner in value.items()}
    return [canonical(inner) for inner in value] if isinstance(value, list) else value


Difference = Callable[[dict[str, Any], dict[str, Any]], None]


def _default_temperature(body: dict[str, Any], sent: dict[str, Any]) -> None:
    """LiteLLM spells out Gemini 3's own default, 1.0."""
    if body["model"].startswith("gemini/gemini-3") and "temperature" not in body:
        assert sent["generationConfig"].pop("temperature") == 1.0


def _nothing_to_say(body: dict[str, Any], sent: dict[str, Any]) -> None:
    """LiteLLM sends a `generationConfig` that held nothing but the default temperature."""
    if sent.get("generationConfig") == {}:
        del sent["generationConfig"]


ACCEPTED: tuple[Difference, ...] = (_default_temperature, _nothing_to_say)


def accepted(body: dict[str, Any], sent: Any) -> Any:
    """What LiteLLM sent, as it would be without the accepted differences."""
    changed = copy.deepcopy(sent)
    for difference in ACCEPTED:
        difference(body, changed)
    return changed
