"""Gemini, translated by us and by LiteLLM: hundreds of generated requests and responses, plain and streamed."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.differential import requests as shapes
from tests.differential.google import canonical
from tests.differential.oracle import PATIENT, Oracle
from tests.fakes.behaviour import Behaviour
from tests.fakes.environment import service_account
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy
from tests.thorough import examples

KEY = "AIza-provider"
KINDS = ("gemini", "vertex_ai")
MODELS = ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro", "gemini-3.1-pro-preview", "gemini-3.5-flash")
PATIENTLY = settings(max_examples=examples(200, 60), parent=PATIENT)


@pytest.fixture(scope="module")
def oracle(fake: FakeProvider, module_proxy: StartProxy) -> Iterator[Oracle]:
    studio = {"api_base": fake.gemini_base, "api_key": KEY}
    vertex = {"api_base": fake.url, "vertex_credentials": service_account(fake), "vertex_location": "europe-west4"}
    proxy = module_proxy(
        {
            "model_list": [
                {"model_name": "gemini/*", "litellm_params": {"model": "gemini/*", **studio}},
                {"model_name": "vertex_ai/*", "litellm_params": {"model": "vertex_ai/*", **vertex}},
            ],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        }
    )
    oracle = Oracle(fake, proxy, lambda model: studio if model.startswith("gemini/") else vertex)
    yield oracle
    oracle.close()


# Requests


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    kind, model = draw(st.sampled_from(KINDS)), draw(st.sampled_from(MODELS))
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
    return {"model": f"{kind}/{model}", **fields, **tools, **({"stream": True} if draw(st.booleans()) else {})}


@given(body=asked())
@PATIENTLY
def test_requests(oracle: Oracle, body: dict[str, Any]):
    theirs, ours = oracle.both(body, Behaviour())
    assert (theirs.status, ours.status) == (200, 200), (theirs.answer, ours.answer)
    assert ours.path == theirs.path
    assert canonical(ours.sent) == accepted(body, canonical(theirs.sent))


Difference = Callable[[dict[str, Any], dict[str, Any]], None]


def _default_temperature(body: dict[str, Any], sent: dict[str, Any]) -> None:
    """LiteLLM writes Gemini 3's default temperature, 1.0, explicitly."""
    if "/gemini-3" in body["model"] and "temperature" not in body:
        assert sent["generationConfig"].pop("temperature") == 1.0


def _nothing_to_say(body: dict[str, Any], sent: dict[str, Any]) -> None:
    """LiteLLM sends a `generationConfig` with only the default temperature."""
    if sent.get("generationConfig") == {}:
        del sent["generationConfig"]


ACCEPTED: tuple[Difference, ...] = (_default_temperature, _nothing_to_say)


def accepted(body: dict[str, Any], sent: Any) -> Any:
    """LiteLLM's body without the accepted differences."""
    changed = copy.deepcopy(sent)
    for difference in ACCEPTED:
        difference(body, changed)
    return changed


# Responses


TEXT_PARTS = shapes.optional({"text": shapes.WORDS}, thought=st.just(True))
CALL_PARTS = st.builds(
    lambda name, args, id, signature: {
        "functionCall": {"name": name, "args": args, **({"id": id} if id else {})},
        **({"thoughtSignature": signature} if signature else {}),
    },
    shapes.NAMES,
    shapes.OBJECTS,
    st.sampled_from(("", "fc-1", "fc-2")),
    st.sampled_from(("", "c2lnbmF0dXJl")),
)
# A malformed call is a failure here, and an empty `stop` in LiteLLM.
FINISHES = st.sampled_from(("STOP", "STOP", "MAX_TOKENS", "LANGUAGE", "OTHER"))
COUNTS = st.integers(1, 1000)


@st.composite
def said(draw: st.DrawFn) -> tuple[list[list[dict[str, Any]]], str, dict[str, Any]]:
    """The parts of each event, the finish reason and the usage."""
    parts = draw(st.lists(st.one_of(TEXT_PARTS, TEXT_PARTS, CALL_PARTS), min_size=1, max_size=5))
    calls = any("functionCall" in part for part in parts)
    finish = "STOP" if calls else draw(FINISHES)
    counts = {"promptTokenCount": draw(COUNTS), "candidatesTokenCount": draw(COUNTS)}
    total = sum(counts.values())
    # Without reported thoughts, LiteLLM estimates them from the text of a stream. Google always reports them.
    if any("thought" in part for part in parts) or draw(st.booleans()):
        counts["thoughtsTokenCount"] = draw(COUNTS)
        total += counts["thoughtsTokenCount"]
    if draw(st.booleans()):
        counts["cachedContentTokenCount"] = draw(st.integers(1, counts["promptTokenCount"]))
    if draw(st.booleans()):
        counts["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": counts["promptTokenCount"]}]
    return [[part] for part in parts], finish, {**counts, "totalTokenCount": total}


def response(parts: list[dict[str, Any]], finish: str | None, counts: dict[str, Any]) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "gemini-x", "responseId": "r-1"}


@given(answer=said(), stream=st.booleans())
@PATIENTLY
def test_answers(oracle: Oracle, answer: tuple[list[list[dict[str, Any]]], str, dict[str, Any]], stream: bool):
    events, finish, counts = answer
    if stream:
        raw = tuple(
            b"data: " + orjson.dumps(response(parts, finish if last else None, counts)) + b"\r\n\r\n"
            for parts, last in zip(events, [False] * (len(events) - 1) + [True], strict=True)
        )
    else:
        raw = (orjson.dumps(response([part for parts in events for part in parts], finish, counts)),)
    body: dict[str, Any] = {"model": "gemini/gemini-2.5-flash", "messages": [{"role": "user", "content": "Hi"}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    theirs, ours = oracle.both(body, Behaviour(raw=raw))
    assert (theirs.status, ours.status) == (200, 200), (theirs.answer, ours.answer)
    assert essence(ours.answer) == essence(theirs.answer)


def essence(answer: dict[str, Any]) -> dict[str, Any]:
    """The client's view of a response. LiteLLM generates random IDs for calls without one."""
    usage = answer.get("usage") or {}
    asked, made = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return {
        "choices": [
            {
                "content": choice["message"].get("content") or None,
                "reasoning": choice["message"].get("reasoning_content") or None,
                "finish": choice.get("finish_reason"),
                "calls": [_call(call) for call in choice["message"].get("tool_calls") or ()],
            }
            for choice in answer["choices"]
        ],
        "tokens": [usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")],
        "cached": asked.get("cached_tokens") or 0,
        "reasoned": made.get("reasoning_tokens") or 0,
    }


def _call(call: dict[str, Any]) -> dict[str, Any]:
    id, mark, signature = call["id"].partition("__thought__")
    return {
        "id": id if id.startswith("fc-") else id[:5],
        "signature": (mark, signature, call.get("provider_specific_fields")),
        "name": call["function"]["name"],
        "arguments": json.loads(call["function"]["arguments"]),
    }
