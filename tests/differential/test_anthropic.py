"""Claude, translated by us and by LiteLLM: hundreds of generated requests and responses, plain and streamed."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.formats.anthropic.models import traits
from tests.differential import requests as shapes
from tests.differential.oracle import PATIENT, Oracle
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy
from tests.thorough import examples

KEY = "sk-ant-provider"
# One of each kind: with efforts, with budgets, without sampling, with system turns, without forced calls, old.
MODELS = (
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
    "claude-opus-4-7",
    "claude-opus-5",
    "claude-sonnet-5-5",
    "claude-3-opus-20240229",
)
PATIENTLY = settings(max_examples=examples(250, 60), parent=PATIENT)


def _oracle(fake: FakeProvider, start: StartProxy, **options: Any) -> Oracle:
    at_fake = {"api_base": fake.url, "api_key": KEY}
    proxy = start(
        {
            "model_list": [{"model_name": "anthropic/*", "litellm_params": {"model": "anthropic/*", **at_fake}}],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "litellm_settings": options,
        }
    )
    return Oracle(fake, proxy, lambda model: {**at_fake, **options})


@pytest.fixture(scope="module")
def oracle(fake: FakeProvider, module_proxy: StartProxy) -> Iterator[Oracle]:
    oracle = _oracle(fake, module_proxy)
    yield oracle
    oracle.close()


@pytest.fixture(scope="module")
def dropping(fake: FakeProvider, module_proxy: StartProxy) -> Iterator[Oracle]:
    """The proxy with `drop_params`."""
    oracle = _oracle(fake, module_proxy, drop_params=True)
    yield oracle
    oracle.close()


# Requests

CACHE = st.sampled_from(({"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}))
THOUGHTS = st.lists(
    st.one_of(
        st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": "c2ln"}, shapes.WORDS),
        st.builds(lambda t: {"type": "thinking", "thinking": t}, shapes.WORDS),  # of another provider
        st.just({"type": "redacted_thinking", "data": "ZGF0YQ=="}),
    ),
    min_size=1,
    max_size=2,
)
TEXT = st.one_of(shapes.WORDS, st.sampled_from(("", " ", "\n")))
PART = st.one_of(
    shapes.PARTS.filter(lambda p: p["type"] != "input_audio"),
    st.builds(lambda t, c: {"type": "text", "text": t, "cache_control": c}, TEXT, CACHE),
    st.just({"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}),
    st.just({"type": "file", "file": {"file_id": "https://papers.example/a.pdf"}}),
)
USER = st.builds(
    lambda content, more: {"role": "user", "content": content, **more},
    st.one_of(TEXT, st.lists(PART, min_size=1, max_size=3)),
    shapes.optional({}, name=shapes.NAMES, cache_control=CACHE),
)
SYSTEM = st.builds(
    # LiteLLM loses the cache marker of a developer message.
    lambda role, content, more: {"role": role, "content": content, **(more if role == "system" else {})},
    st.sampled_from(("system", "developer")),
    st.one_of(
        shapes.WORDS, st.lists(st.builds(lambda t: {"type": "text", "text": t}, shapes.WORDS), min_size=1, max_size=2)
    ),
    st.one_of(st.just({}), st.builds(lambda c: {"cache_control": c}, CACHE)),
)
ASSISTANT = st.builds(
    lambda content, thoughts: {"role": "assistant", "content": content, **thoughts},
    st.one_of(
        shapes.WORDS, st.lists(st.builds(lambda t: {"type": "text", "text": t}, shapes.WORDS), min_size=1, max_size=2)
    ),
    st.one_of(st.just({}), st.builds(lambda t: {"thinking_blocks": t, "reasoning_content": "so"}, THOUGHTS)),
)
ROUND = st.one_of(USER.map(lambda m: [m]), ASSISTANT.map(lambda m: [m]), SYSTEM.map(lambda m: [m]), shapes.tool_round())
MESSAGES = st.builds(
    lambda system, history, last: [
        *system,
        *(message for number, messages in enumerate(history) for message in shapes.numbered(messages, number)),
        *last,
    ],
    st.lists(SYSTEM, max_size=2),
    st.lists(ROUND, max_size=5),
    st.one_of(USER.map(lambda m: [m]), ASSISTANT.map(lambda m: [{"role": "user", "content": "Go on"}, m])),
)


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    fields = draw(
        shapes.optional(
            {"messages": MESSAGES},
            temperature=shapes.FRACTIONS,
            top_p=shapes.FRACTIONS,
            top_k=st.integers(1, 40),
            max_tokens=st.integers(1, 9000),
            max_completion_tokens=st.integers(1, 9000),
            stop=st.one_of(shapes.WORDS, st.lists(shapes.WORDS, min_size=1, max_size=3)),
            response_format=shapes.FORMATS,
            reasoning_effort=st.one_of(shapes.EFFORTS, st.sampled_from(("xhigh", "max"))),
            thinking=st.one_of(
                st.builds(lambda n: {"type": "enabled", "budget_tokens": n}, st.integers(1024, 20000)),
                st.just({"type": "adaptive"}),
                st.just({"type": "disabled"}),
            ),
            user=st.sampled_from(("team-7", "someone@example.com", "+49 89 1234567")),
            metadata=st.just({"user_id": "u-1"}),
            parallel_tool_calls=st.booleans(),
            n=st.just(1),
            seed=st.integers(0, 9),
            logprobs=st.just(True),
            frequency_penalty=st.just(0.5),
        )
    )
    # Unsupported fields are rare. Otherwise nothing else would be tested.
    for name in ("seed", "logprobs", "frequency_penalty"):
        if draw(st.integers(0, 9)):
            fields.pop(name, None)
    if "max_tokens" in fields:
        fields.pop("max_completion_tokens", None)  # We send the lower of two limits; LiteLLM sends the later one.
    tools = draw(st.one_of(st.just({}), shapes.with_tools()))
    if not tools:
        fields.pop("parallel_tool_calls", None)  # OpenAI rejects it without tools, so it is omitted for all
    if draw(st.booleans()):
        for tool in tools.get("tools", ()):
            tool["function"]["name"] += draw(st.sampled_from(("/x", ".x", "")))
        if isinstance(tools.get("tool_choice"), dict):
            tools["tool_choice"]["function"]["name"] = tools["tools"][0]["function"]["name"]
    model = f"anthropic/{draw(st.sampled_from(MODELS))}"
    return {"model": model, **fields, **tools, **({"stream": True} if draw(st.booleans()) else {})}


@given(body=asked())
@PATIENTLY
def test_requests(oracle: Oracle, body: dict[str, Any]):
    compare(oracle, body)


@given(body=asked())
@PATIENTLY
def test_requests_with_drop_params(dropping: Oracle, body: dict[str, Any]):
    compare(dropping, body)


def compare(oracle: Oracle, body: dict[str, Any]) -> None:
    theirs, ours = oracle.both(body, Behaviour())
    if theirs.status != 200:
        assert ours.status == 400, (theirs.answer, ours.answer)
        return
    assert ours.status == 200, ours.answer
    assert ours.path == theirs.path
    assert ours.sent == _present(theirs.sent)
    assert essence(ours.answer) == essence(theirs.answer)


def _present(sent: dict[str, Any]) -> dict[str, Any]:
    """LiteLLM puts schemas where they were in the beta of structured outputs; we put them where they are now. As a
    tool's schema, it has `/$defs/` for the references of older models, which point nowhere; we keep the client's."""
    if "output_format" not in sent:
        return json.loads(json.dumps(sent).replace('"$ref": "/$defs/', '"$ref": "#/$defs/'))
    rest = {name: value for name, value in sent.items() if name != "output_format"}
    return {**rest, "output_config": {**sent.get("output_config", {}), "format": sent["output_format"]}}


# LiteLLM handles these message cases differently, so generated requests exclude them:
#
# - empty text beside tool calls becomes a placeholder that the model takes for its own words; we omit it;
# - the cache marker of a developer message is lost;
# - LiteLLM fetches `http:` images; we fetch nothing that a client names;
# - a text file is sent as base64, which Anthropic rejects; we send its text; a PDF in an `image_url` as an image;
# - a `file_id` that is not a URL reads the gateway's own file store; we reject it;
# - parts of unknown types (audio, video) are dropped silently; we reject them;
# - fields that request nothing (`logprobs: false`, `frequency_penalty: 0`) are rejected; we omit them;
# - `service_tier` is rejected; we forward it.
# Responses: LiteLLM estimates reasoning tokens from the text; we report only what Anthropic reports.


# Responses

BLOCKS = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, shapes.WORDS),
    st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": "c2ln"}, shapes.WORDS),
    st.just({"type": "redacted_thinking", "data": "ZGF0YQ=="}),
    st.builds(
        lambda n, name, given: {"type": "tool_use", "id": f"toolu_fake_{n}", "name": name, "input": given},
        st.integers(0, 99),
        shapes.NAMES,
        shapes.OBJECTS,
    ),
)
STOPS = st.sampled_from(("end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "pause_turn"))
COUNTS = shapes.optional(
    {"input_tokens": st.integers(0, 999), "output_tokens": st.integers(1, 999)},
    cache_read_input_tokens=st.integers(0, 999),
    cache_creation_input_tokens=st.integers(0, 999),
    output_tokens_details=st.builds(lambda n: {"thinking_tokens": n}, st.integers(0, 999)),
)


@given(blocks=st.lists(BLOCKS, max_size=5), stop=STOPS, counts=COUNTS, stream=st.booleans())
@PATIENTLY
def test_answers(oracle: Oracle, blocks: list[dict[str, Any]], stop: str, counts: dict[str, Any], stream: bool):
    raw = streamed(blocks, stop, counts) if stream else (orjson.dumps(message(blocks, stop, counts)),)
    body: dict[str, Any] = {"model": "anthropic/claude-sonnet-4-6", "messages": [{"role": "user", "content": "Hi"}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    theirs, ours = oracle.both(body, Behaviour(raw=raw))
    assert (theirs.status, ours.status) == (200, 200), (theirs.answer, ours.answer)
    assert essence(ours.answer) == essence(theirs.answer)
    assert cached(ours.answer) == cached(theirs.answer)
    if not stream:
        thoughts = [answer["choices"][0]["message"].get("thinking_blocks") for answer in (ours.answer, theirs.answer)]
        assert thoughts[0] == thoughts[1]


def message(blocks: list[dict[str, Any]], stop: str | None, counts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": counts,
    }


def streamed(blocks: list[dict[str, Any]], stop: str, counts: dict[str, Any]) -> tuple[bytes, ...]:
    """The same message as an Anthropic stream, each block in two parts, with pings and padding."""
    start = {name: value for name, value in counts.items() if name != "output_tokens_details"}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message([], None, {**start, "output_tokens": 1})},
        {"type": "ping"},
    ]
    for index, block in enumerate(blocks):
        opened, deltas = _opened(block)
        events.append({"type": "content_block_start", "index": index, "content_block": opened})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": counts})
    events.append({"type": "message_stop"})
    return tuple(b"event: " + e["type"].encode() + b"\ndata: " + orjson.dumps(e) + b"\n\n" for e in events)


def _opened(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "text":
        parts = [block["text"][:1], block["text"][1:]]
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": part} for part in parts]
    if block["type"] == "thinking":
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [thought, signed]
    if block["type"] == "tool_use":
        text = orjson.dumps(block["input"]).decode() if block["input"] else ""
        parts = ["", text[:3], text[3:]] if text else [""]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return block, []


def essence(answer: dict[str, Any]) -> dict[str, Any]:
    """The client's response without generated values."""
    (choice,) = answer["choices"]
    message, used = choice["message"], answer.get("usage")
    calls = [
        (call["id"].startswith("toolu_fake_"), call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls") or ()
    ]
    return {
        "content": _compact(message.get("content") or ""),
        "reasoning": message.get("reasoning_content") or "",
        "calls": calls,
        "finish": choice["finish_reason"],
        "usage": used and [used[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")],
    }


def _compact(content: str) -> str:
    """LiteLLM writes the JSON of tool inputs with spaces; we write it without."""
    try:
        value = json.loads(content)
    except ValueError:
        return content
    return json.dumps(value) if isinstance(value, dict) else content


def cached(answer: dict[str, Any]) -> list[int]:
    used = answer["usage"]
    names = ("cache_read_input_tokens", "cache_creation_input_tokens")
    return [used["prompt_tokens_details"].get("cached_tokens") or 0, *(used.get(name) or 0 for name in names)]


# Model capabilities


def test_model_capabilities_match_litellms():
    import litellm
    from litellm.llms.anthropic.common_utils import AnthropicModelInfo
    from litellm.utils import supports_mid_conversation_system

    config = litellm.AnthropicConfig
    known = [n for n, v in litellm.model_cost.items() if v.get("litellm_provider") == "anthropic" and "/" not in n]
    assert len(known) > 15
    for name in known:

        def has(flag: str, name: str = name) -> bool:
            return AnthropicModelInfo._supports_model_capability(name, f"supports_{flag}", "anthropic")

        can = traits(name)
        assert can.max_tokens == config.get_max_tokens_for_model(name), name
        assert can.json_schema == has("native_structured_output"), name
        assert can.adaptive == has("adaptive_thinking"), name
        assert can.budgets == (not has("adaptive_thinking") or has("legacy_thinking")), name
        assert can.sampling == AnthropicModelInfo._supports_sampling_params(name), name
        assert can.forced_tools != AnthropicModelInfo.forced_tool_use_unsupported(name), name
        assert can.system_turns == supports_mid_conversation_system(model=name, custom_llm_provider="anthropic"), name
        assert ("xhigh" in can.efforts) == has("xhigh_reasoning_effort"), name
        assert bool(can.efforts) == config._model_supports_effort_param(name, "anthropic"), name
        always = AnthropicModelInfo._is_always_on_thinking_model(name, "anthropic")
        assert (can.thinks, can.always_thinks) == (True, always), name
