"""The parts of a client's request that reach Claude through the Messages API: fields, thinking, and limits of Vertex
AI."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_params

from container.config.deployment import Deployment
from container.formats.client_apis.messages import BETAS, ToClaude, ToVertexClaude
from container.formats.client_apis.messages.request import ANTHROPIC, VERTEX
from container.formats.shared.wire import Unsupported
from container.formats.vertex import Vertex
from container.request.client_apis import parse_messages

HELLO = [{"role": "user", "content": "Hi"}]
D = Deployment(id="d", group="m", provider="anthropic", model="*", kind="direct", needs=(), off=(), format="anthropic")
SONNET, HAIKU, NEWEST = "claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-7"


def sent(model: str = SONNET, *, vertex: bool = False, betas: str = "", drop_params: bool = False, **fields: Any):
    body = {"model": "m", "max_tokens": 4096, "messages": HELLO, **fields}
    request = parse_messages("messages", orjson.dumps(body), betas)
    made = (
        ToVertexClaude(Vertex(drop_params=drop_params), drop_params=drop_params)
        if vertex
        else ToClaude(drop_params=drop_params)
    )
    return made.request(D, model, request)


def received(model: str = SONNET, **fields: Any) -> dict[str, Any]:
    return orjson.loads(sent(model, **fields).body)


# Fields


@pytest.mark.parametrize("vertex", [False, True])
@pytest.mark.parametrize("field", [{"client_metadata": {"turn": "1"}}, {"temperature": None}, {"system": None}])
def test_client_specific_fields_and_nulls_do_not_reach_claude(vertex, field):
    assert not received(vertex=vertex, **field).keys() & field.keys()


def test_known_fields_match_anthropics_sdk():
    known = set(message_create_params.MessageCreateParamsBase.__annotations__)
    known |= set(beta_params.MessageCreateParamsBase.__annotations__)
    # `betas` is a header. The fields on the right are from earlier versions of the SDK.
    assert known - {"betas"} | {"stream"} == ANTHROPIC - {
        "temperature",
        "top_k",
        "top_p",
        "output_format",
        "safeguards",
    }


# Vertex AI


def test_vertex_ai_gets_the_version_instead_of_the_model():
    body = received(vertex=True)
    assert body == {"anthropic_version": "vertex-2023-10-16", "max_tokens": 4096, "messages": HELLO}


def test_cache_markers_thinking_and_efforts_reach_vertex_ai():
    marker = {"type": "ephemeral", "ttl": "1h"}
    fields: dict[str, Any] = {
        "system": [{"type": "text", "text": "S", "cache_control": marker}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": marker}]}],
        "tools": [{"name": "t", "input_schema": {"type": "object"}, "cache_control": marker, "strict": True}],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
    }
    body = received(vertex=True, **fields)
    assert {name: body[name] for name in fields} == fields


def test_cache_scope_is_sent_only_to_anthropic():
    marker = {"type": "ephemeral", "scope": "global"}
    block = {"type": "text", "text": "S", "cache_control": marker}
    body = received(vertex=True, system=[block], messages=[{"role": "user", "content": [block]}])
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert received(system=[block])["system"] == [block]


def test_system_turn_in_the_middle_becomes_a_user_turn():
    messages = [*HELLO, {"role": "system", "content": "Be brief."}, *HELLO]
    sent = received(vertex=True, messages=messages)["messages"]
    assert [message["role"] for message in sent] == ["user", "user", "user"]
    assert sent[1]["content"][-1] == {"type": "text", "text": "Be brief."}
    assert received(messages=messages)["messages"] == messages


@pytest.mark.parametrize("name", ["container", "mcp_servers", "thread"])
def test_significant_field_unsupported_by_vertex_ai_is_a_400(name):
    with pytest.raises(Unsupported) as raised:
        sent(vertex=True, **{name: {"id": "x"}})
    assert raised.value.param == name
    assert name not in orjson.loads(sent(vertex=True, drop_params=True, **{name: {"id": "x"}}).body)


def test_service_tier_is_omitted_for_vertex_ai():
    assert "service_tier" not in received(vertex=True, service_tier="auto")
    assert received(service_tier="auto")["service_tier"] == "auto"


def test_url_is_rejected_for_vertex_ai():
    picture = {"type": "image", "source": {"type": "url", "url": "https://p.example/a.png"}}
    with pytest.raises(Unsupported) as raised:
        sent(vertex=True, messages=[{"role": "user", "content": [picture]}])
    assert raised.value.param == "messages"


def test_betas_supported_by_vertex_ai_are_sent():
    made = sent(vertex=True, betas="claude-code-20250219,interleaved-thinking-2025-05-14,advanced-tool-use-2025-11-20")
    assert made.headers == {"anthropic-beta": "interleaved-thinking-2025-05-14,tool-search-tool-2025-10-19"}


def test_betas_unsupported_by_vertex_ai_are_omitted():
    assert not sent(vertex=True, betas="claude-code-20250219").headers


def test_betas_match_litellms():
    litellm = importlib.util.find_spec("litellm")  # importing it takes seconds
    assert litellm is not None
    assert litellm.origin is not None
    listed = Path(litellm.origin).with_name("anthropic_beta_headers_config.json").read_text()
    known = json.loads(listed)["vertex_ai"]
    assert {name: there for name, there in known.items() if there} == BETAS


def test_fields_of_vertex_ai_are_a_subset_of_anthropics():
    assert VERTEX < ANTHROPIC


# Thinking


def test_newest_thinking_fields_reach_the_newest_models():
    fields: dict[str, Any] = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}
    body = received(SONNET, **fields)
    assert {name: body[name] for name in fields} == fields


def test_older_model_gets_a_budget_for_an_effort():
    body = received(HAIKU, thinking={"type": "adaptive"}, output_config={"effort": "low"}, max_tokens=32_000)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert "output_config" not in body


def test_budget_leaves_part_of_the_limit_to_the_response():
    body = received(HAIKU, thinking={"type": "adaptive"}, output_config={"effort": "max"}, max_tokens=2000)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1999}


def test_older_model_does_not_think_with_a_small_limit():
    body = received(HAIKU, thinking={"type": "adaptive"}, output_config={"effort": "low"}, max_tokens=1)
    assert "thinking" not in body


def test_schema_is_kept_when_an_effort_is_removed():
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    body = received(HAIKU, output_config={"effort": "low", "format": schema})
    assert body["output_config"] == {"format": schema}


def test_model_without_budgets_gets_an_effort():
    body = received(NEWEST, thinking={"type": "enabled", "budget_tokens": 4096})
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"] == {"effort": "high"}


def test_clients_effort_takes_precedence_over_its_budget():
    body = received(
        NEWEST, thinking={"type": "enabled", "budget_tokens": 4096}, output_config={"effort": "low"}, max_tokens=8000
    )
    assert body["output_config"] == {"effort": "low"}


def test_temperature_is_removed_when_an_older_model_thinks():
    assert "temperature" not in received(HAIKU, thinking={"type": "enabled", "budget_tokens": 1024}, temperature=0)
    assert received(HAIKU, temperature=0)["temperature"] == 0


@pytest.mark.parametrize(
    "odd", [{"thinking": {"type": "later"}}, {"output_config": "low"}, {"output_config": {"effort": 1}}]
)
def test_invalid_thinking_is_left_to_anthropic(odd):
    body = received(SONNET, **odd)
    assert {name: body[name] for name in odd} == odd


def test_nothing_is_assumed_of_anthropic_compatible_servers():
    fields: dict[str, Any] = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}
    body = received("kimi-k2", **fields)
    assert {name: body[name] for name in fields} == fields
