"""Models served only through the Responses API, called by us and by LiteLLM: generated requests and responses."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.differential import requests as shapes
from tests.differential.oracle import PATIENT, Oracle
from tests.fakes.behaviour import Behaviour
from tests.fakes.formats.responses import streamed
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy
from tests.thorough import examples

MODELS = ("gpt-5-pro", "gpt-5.1-codex", "o3-pro")  # the first does not support streaming
PATIENTLY = settings(max_examples=examples(40, 20), parent=PATIENT)


@pytest.fixture(scope="module")
def oracle(fake: FakeProvider, module_proxy: StartProxy) -> Iterator[Oracle]:
    at_fake = {"api_base": fake.openai_base, "api_key": "sk-provider"}
    proxy = module_proxy(
        {
            "model_list": [{"model_name": "openai/*", "litellm_params": {"model": "openai/*", **at_fake}}],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        }
    )
    oracle = Oracle(fake, proxy, lambda model: at_fake)
    yield oracle
    oracle.close()


# Requests


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    fields = draw(
        shapes.optional(
            {"messages": shapes.MESSAGES},
            max_tokens=st.integers(1, 9000),
            response_format=shapes.FORMATS,
            reasoning_effort=st.sampled_from(("high", {"effort": "high", "summary": "auto"})),
            user=st.sampled_from(("team-7", "u" * 70)),
            parallel_tool_calls=st.booleans(),
            service_tier=st.sampled_from(("auto", "default")),
        )
    )
    tools = draw(st.one_of(st.just({}), shapes.with_tools()))
    model = f"openai/{draw(st.sampled_from(MODELS))}"
    if not tools or model == "openai/o3-pro":  # LiteLLM does not send the field to these
        fields.pop("parallel_tool_calls", None)
    # LiteLLM makes up the stream of a model without one, and repeats the arguments of calls in it.
    streamed = draw(st.booleans()) and not (tools and model == "openai/gpt-5-pro")
    return {"model": model, **fields, **tools, **({"stream": True} if streamed else {})}


@given(body=asked())
@PATIENTLY
def test_requests(oracle: Oracle, body: dict[str, Any]):
    theirs, ours = oracle.both(body, Behaviour())
    assert (theirs.status, ours.status) == (200, 200), (theirs.answer, ours.answer)
    assert ours.path == theirs.path
    assert accepted(ours.sent) == accepted(theirs.sent)
    answers = essence(ours.answer), essence(theirs.answer)
    for answer in answers:
        del answer["tokens"]  # the fake numbers messages, and we send fewer
        answer["calls"] = [said for _, *said in answer["calls"]]  # and it numbers calls
    assert answers[0] == answers[1]


def accepted(sent: dict[str, Any]) -> dict[str, Any]:
    """Both bodies in the same form, where they are equivalent or the difference is intended:

    - nothing is stored, as with chat completions, so reasoning is requested in the response;
    - several system messages are joined by a blank line (LiteLLM uses a space), and those in parts are instructions;
    - a tool result that is text is sent as text;
    - a function is not strict unless it says so, as in chat. LiteLLM sends null, which the API treats as strict.
    """
    made = copy.deepcopy(sent)
    made.pop("store", None)
    if made.get("include") == ["reasoning.encrypted_content"]:
        del made["include"]
    leading = [made.pop("instructions", None) or ""]
    items = made["input"]
    while items and items[0].get("role") == "system":
        leading += [part["text"] for part in items.pop(0)["content"]]
    made["system"] = sorted(" ".join(leading).split())
    for item in items:
        if item["type"] == "function_call_output" and not isinstance(item["output"], str):
            item["output"] = "".join(part["text"] for part in item["output"])
    for tool in made.get("tools") or ():
        tool["strict"] = bool(tool.get("strict"))
        tool["description"] = tool.get("description") or None
        tool["parameters"] = tool.get("parameters") or {"type": "object", "properties": {}}
    return made


# Responses

PARTS = st.one_of(
    st.builds(lambda t: {"type": "output_text", "text": t, "annotations": [], "logprobs": []}, shapes.WORDS),
)
ITEMS = st.one_of(
    st.builds(
        lambda n, parts: {
            "id": f"msg_{n}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": parts,
        },
        st.integers(0, 99),
        st.lists(PARTS, min_size=1, max_size=2),
    ),
    st.builds(
        lambda n, name, given: {
            "id": f"fc_{n}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_x{n}",
            "name": name,
            "arguments": json.dumps(given),
        },
        st.integers(0, 99),
        shapes.NAMES,
        shapes.OBJECTS,
    ),
)
THOUGHTS = st.builds(
    lambda texts: {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": t} for t in texts]},
    st.lists(shapes.WORDS, max_size=1),
)
ENDS = st.sampled_from((None, None, None, "max_output_tokens", "content_filter"))
COUNTS = st.integers(1, 999)


@st.composite
def responses(draw: st.DrawFn) -> dict[str, Any]:
    output = draw(st.lists(ITEMS, min_size=1, max_size=4, unique_by=lambda item: item["id"]))
    if draw(st.booleans()):
        output = [draw(THOUGHTS), *output]
    reason = draw(ENDS)
    into, out = draw(COUNTS), draw(COUNTS)
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": "incomplete" if reason else "completed",
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "metadata": {},
        "model": "gpt-5-pro",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": into,
            "input_tokens_details": {"cached_tokens": draw(st.integers(0, into))},
            "output_tokens": out,
            "output_tokens_details": {"reasoning_tokens": draw(st.integers(0, out))},
            "total_tokens": into + out,
        },
    }


@given(response=responses(), stream=st.booleans(), chunks=st.integers(1, 4))
@PATIENTLY
def test_answers(oracle: Oracle, response: dict[str, Any], stream: bool, chunks: int):
    body: dict[str, Any] = {"model": "openai/o3-pro", "messages": [{"role": "user", "content": "Hi"}]}
    raw = (orjson.dumps(response),)
    if stream:
        events = streamed(response, chunks)
        raw = (*events.head, *events.content, *events.tail)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    theirs, ours = oracle.both(body, Behaviour(raw=raw))
    assert (theirs.status, ours.status) == (200, 200), (theirs.answer, ours.answer)
    assert essence(ours.answer) == essence(theirs.answer)


def essence(answer: dict[str, Any]) -> dict[str, Any]:
    """The client's view of a response."""
    assert answer.get("choices"), answer
    choice = answer["choices"][0]
    message, used = choice["message"], answer.get("usage") or {}
    return {
        "content": message.get("content") or None,
        "reasoning": message.get("reasoning_content") or None,
        "calls": [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or ()
        ],
        "finish": choice["finish_reason"],
        "tokens": [used.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")],
        "cached": (used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        "reasoned": (used.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    }
