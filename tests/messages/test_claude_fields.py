"""What of a client's request reaches Claude over the Messages API: fields, thinking, and what Vertex AI lacks."""

import json
from pathlib import Path
from typing import Any

import litellm
import orjson
import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_params

from container.config.deployment import Deployment
from container.formats.messages import ToClaude
from container.formats.messages.request import ANTHROPIC, VERTEX
from container.formats.messages.vertex_claude import BETAS, ToVertexClaude
from container.formats.shared.format import Unsupported
from container.formats.vertex import Vertex
from container.request.messages import parse_messages

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
def test_claude_is_shown_neither_fields_of_the_clients_own_nor_nulls(vertex, field):
    assert not received(vertex=vertex, **field).keys() & field.keys()


def test_the_fields_are_those_of_anthropics_sdk():
    known = set(message_create_params.MessageCreateParamsBase.__annotations__)
    known |= set(beta_params.MessageCreateParamsBase.__annotations__)
    # In the headers of a request; in earlier versions of the SDK.
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


def test_cache_markers_thoughts_and_efforts_reach_vertex_ai():
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


def test_the_scope_of_a_cache_is_anthropics_own():
    marker = {"type": "ephemeral", "scope": "global"}
    block = {"type": "text", "text": "S", "cache_control": marker}
    body = received(vertex=True, system=[block], messages=[{"role": "user", "content": [block]}])
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert received(system=[block])["system"] == [block]


def test_an_instruction_in_the_middle_is_the_users_there():
    messages = [*HELLO, {"role": "system", "content": "Be brief."}, *HELLO]
    sent = received(vertex=True, messages=messages)["messages"]
    assert [message["role"] for message in sent] == ["user", "user", "user"]
    assert sent[1]["content"][-1] == {"type": "text", "text": "Be brief."}
    assert received(messages=messages)["messages"] == messages


@pytest.mark.parametrize("name", ["container", "mcp_servers", "thread"])
def test_what_vertex_ai_lacks_and_a_client_would_miss_is_a_400(name):
    with pytest.raises(Unsupported) as raised:
        sent(vertex=True, **{name: {"id": "x"}})
    assert raised.value.param == name
    assert name not in orjson.loads(sent(vertex=True, drop_params=True, **{name: {"id": "x"}}).body)


def test_a_service_tier_of_anthropics_is_left_out_there():
    assert "service_tier" not in received(vertex=True, service_tier="auto")
    assert received(service_tier="auto")["service_tier"] == "auto"


def test_vertex_ai_fetches_no_addresses():
    picture = {"type": "image", "source": {"type": "url", "url": "https://p.example/a.png"}}
    with pytest.raises(Unsupported) as raised:
        sent(vertex=True, messages=[{"role": "user", "content": [picture]}])
    assert raised.value.param == "messages"


def test_vertex_ai_is_told_the_features_that_it_has():
    made = sent(vertex=True, betas="claude-code-20250219,interleaved-thinking-2025-05-14,advanced-tool-use-2025-11-20")
    assert made.headers == {"anthropic-beta": "interleaved-thinking-2025-05-14,tool-search-tool-2025-10-19"}


def test_of_features_that_vertex_ai_has_not_it_is_told_none():
    assert not sent(vertex=True, betas="claude-code-20250219").headers


def test_the_features_are_those_that_litellm_knows():
    listed = Path(litellm.__file__).with_name("anthropic_beta_headers_config.json").read_text()
    known = json.loads(listed)["vertex_ai"]
    assert {name: there for name, there in known.items() if there} == BETAS


def test_vertex_ai_knows_no_field_that_anthropic_does_not():
    assert VERTEX < ANTHROPIC


# Thinking


def test_what_the_newest_models_take_reaches_them():
    fields: dict[str, Any] = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}
    body = received(SONNET, **fields)
    assert {name: body[name] for name in fields} == fields


def test_an_older_model_gets_a_budget_for_an_effort():
    body = received(HAIKU, thinking={"type": "adaptive"}, output_config={"effort": "low"}, max_tokens=32_000)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert "output_config" not in body


def test_a_budget_leaves_some_of_the_limit_to_the_answer():
    body = received(HAIKU, thinking={"type": "adaptive"}, output_config={"effort": "max"}, max_tokens=2000)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1999}


def test_where_there_is_no_room_an_older_model_does_not_think():
    body = received(HAIKU, thinking={"type": "adaptive"}, output_config={"effort": "low"}, max_tokens=1)
    assert "thinking" not in body


def test_a_schema_stays_when_an_effort_goes():
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    body = received(HAIKU, output_config={"effort": "low", "format": schema})
    assert body["output_config"] == {"format": schema}


def test_a_model_without_budgets_gets_an_effort():
    body = received(NEWEST, thinking={"type": "enabled", "budget_tokens": 4096})
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"] == {"effort": "high"}


def test_the_clients_own_effort_goes_before_its_budgets():
    body = received(
        NEWEST, thinking={"type": "enabled", "budget_tokens": 4096}, output_config={"effort": "low"}, max_tokens=8000
    )
    assert body["output_config"] == {"effort": "low"}


def test_a_temperature_does_not_go_with_an_older_models_thoughts():
    assert "temperature" not in received(HAIKU, thinking={"type": "enabled", "budget_tokens": 1024}, temperature=0)
    assert received(HAIKU, temperature=0)["temperature"] == 0


@pytest.mark.parametrize(
    "odd", [{"thinking": {"type": "later"}}, {"output_config": "low"}, {"output_config": {"effort": 1}}]
)
def test_what_cannot_be_read_is_anthropics_to_refuse(odd):
    body = received(SONNET, **odd)
    assert {name: body[name] for name in odd} == odd


def test_of_servers_that_speak_like_anthropic_nothing_is_assumed():
    fields: dict[str, Any] = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}
    body = received("kimi-k2", **fields)
    assert {name: body[name] for name in fields} == fields
