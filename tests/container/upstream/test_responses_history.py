"""Responses API input items get IDs and names that the model's provider accepts."""

from typing import Any

import orjson
import pytest

from container.formats.client_apis.responses.passing import Fitted, fitted
from container.formats.shared.tool_identifiers import names_given_back

SIGNED = f"call_1f__thought__{'A+/' * 100}=="
LONG = "mcp__a_server_with_a_rather_long_name__a_tool_whose_name_is_long_as_well_and_longer"
FIELDS: dict[str, Any] = {
    "input": [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": SIGNED, "name": LONG, "arguments": "{}"},
        {"type": "function_call_output", "call_id": SIGNED, "output": "done"},
    ],
    "tools": [{"type": "function", "name": LONG, "parameters": {}}, {"type": "web_search"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": LONG}]},
}


@pytest.fixture
def openai(deployment):
    return deployment(model="openai/gpt-4o", api_key="k")


def test_ids_and_names_are_adapted_and_names_are_restored(openai):
    made, names, _ = fitted(openai, "gpt-4o", FIELDS)
    call, result = made["input"][1:]
    assert call["call_id"] == result["call_id"] == "call_1f"
    assert len(call["name"]) <= 64
    assert call["name"] == made["tools"][0]["name"] == made["tool_choice"]["tools"][0]["name"]
    assert made["tools"][1] == FIELDS["tools"][1]
    assert names == {call["name"]: LONG}
    assert FIELDS["input"][1]["name"] == LONG
    answer = orjson.dumps({"output": [{"type": "function_call", "name": call["name"], "arguments": "{}"}]})
    assert LONG.encode() in names_given_back(answer, names)


def test_valid_items_are_unchanged(openai):
    usual = {"input": [{"type": "function_call", "call_id": "c" * 64, "name": "f", "arguments": ""}]}
    assert fitted(openai, "gpt-4o", usual) == Fitted()
    assert fitted(openai, "gpt-4o", {"input": "Hi"}) == Fitted()


LABELS = {
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "top_logprobs": 0,
}


@pytest.mark.parametrize("model", ["hosted_vllm/x", "fireworks_ai/llama-3.3-70b"])
def test_openai_labels_are_not_sent_where_rejected(deployment, model):
    d = deployment(model=model, api_key="k", api_base="http://127.0.0.1:1/v1")
    assert fitted(d, d.model, {"input": "Hi", "user": "ada", **LABELS}).dropped == LABELS.keys()
    assert fitted(d, d.model, {"input": "Hi", "top_logprobs": 3}).dropped == set()


def test_openai_gets_its_labels(openai):
    assert fitted(openai, "gpt-4o", {"input": "Hi", **LABELS}) == Fitted()


REASONING = [
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAA"},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": None},
]


@pytest.mark.parametrize("item", REASONING)
def test_non_reasoning_model_gets_no_reasoning_of_another(openai, deployment, item):
    said = [{"role": "user", "content": "Hi"}, item, {"role": "assistant", "content": "Hello"}]
    assert fitted(openai, "gpt-4o", {"input": said}).fields == {"input": [said[0], said[2]]}
    thinks = deployment(model="openai/gpt-5.4", api_key="k")
    assert fitted(thinks, "gpt-5.4", {"input": said}) == Fitted()
